// Node-API on Windows: its functions are those of the program that loads the addon (node.exe, Electron, another),
// whatever that is called, so they are asked for by name when the library is loaded, and no import library is needed.
#if defined(_WIN32)

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#define MILLRACE_NODE_API(X)         \
  X(napi_add_env_cleanup_hook)       \
  X(napi_call_threadsafe_function)   \
  X(napi_check_object_type_tag)      \
  X(napi_create_array_with_length)   \
  X(napi_create_async_work)          \
  X(napi_create_bigint_uint64)       \
  X(napi_create_double)              \
  X(napi_create_error)               \
  X(napi_create_function)            \
  X(napi_create_object)              \
  X(napi_create_promise)             \
  X(napi_create_reference)           \
  X(napi_create_string_utf8)         \
  X(napi_create_threadsafe_function) \
  X(napi_delete_async_work)          \
  X(napi_delete_reference)           \
  X(napi_get_array_length)           \
  X(napi_get_boolean)                \
  X(napi_get_cb_info)                \
  X(napi_get_element)                \
  X(napi_get_instance_data)          \
  X(napi_get_last_error_info)        \
  X(napi_get_named_property)         \
  X(napi_get_typedarray_info)        \
  X(napi_get_undefined)              \
  X(napi_get_value_bigint_uint64)    \
  X(napi_get_value_bool)             \
  X(napi_get_value_double)           \
  X(napi_get_value_string_utf8)      \
  X(napi_is_exception_pending)       \
  X(napi_is_typedarray)              \
  X(napi_queue_async_work)           \
  X(napi_ref_threadsafe_function)    \
  X(napi_reject_deferred)            \
  X(napi_resolve_deferred)           \
  X(napi_set_element)                \
  X(napi_set_instance_data)          \
  X(napi_set_named_property)         \
  X(napi_throw_error)                \
  X(napi_type_tag_object)            \
  X(napi_typeof)                     \
  X(napi_unref_threadsafe_function)  \
  X(napi_unwrap)                     \
  X(napi_wrap)

// What a call of a function that is declared as imported goes through.
#define MILLRACE_POINTER(name) extern "C" FARPROC __imp_##name = nullptr;
MILLRACE_NODE_API(MILLRACE_POINTER)
#undef MILLRACE_POINTER

// False, and the library isn't loaded, where a function is missing.
extern "C" BOOL WINAPI DllMain(HINSTANCE, DWORD reason, void*) {
  if (reason != DLL_PROCESS_ATTACH) return TRUE;
  const HMODULE hosts[] = {GetModuleHandleW(nullptr), GetModuleHandleW(L"node.dll"), GetModuleHandleW(L"libnode.dll")};
  const auto find = [&](const char* name) -> FARPROC {
    for (HMODULE host : hosts) {
      FARPROC found = host ? GetProcAddress(host, name) : nullptr;
      if (found) return found;
    }
    return nullptr;
  };
#define MILLRACE_FIND(name) \
  if (!(__imp_##name = find(#name))) return FALSE;
  MILLRACE_NODE_API(MILLRACE_FIND)
#undef MILLRACE_FIND
  return TRUE;
}

#endif
