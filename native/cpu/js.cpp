#include "js.h"

#include <algorithm>
#include <cmath>

namespace millrace {

namespace {
constexpr uint64_t kTag = 0x6d696c6c72616365;  // "millrace"
}

Call::Call(napi_env env, napi_callback_info info) : env(env) {
  if (!ok(napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr))) count = 0;
  count = std::min(count, kMaxArguments);
}

void Call::fail(const char* code, const std::string& message) {
  failed = true;
  bool pending = false;
  if (napi_is_exception_pending(env, &pending) == napi_ok && !pending) napi_throw_error(env, code, message.c_str());
}

bool Call::ok(napi_status status) {
  if (status == napi_ok) return true;
  const napi_extended_error_info* info = nullptr;
  napi_get_last_error_info(env, &info);
  fail(kNativeError, info && info->error_message ? info->error_message : "a Node-API call failed");
  return false;
}

napi_value Call::undefined() {
  napi_value value = nullptr;
  ok(napi_get_undefined(env, &value));
  return value;
}

bool Call::isUndefined(napi_value value) {
  napi_valuetype type = napi_undefined;
  return !value || !ok(napi_typeof(env, value, &type)) || type == napi_undefined || type == napi_null;
}

double Call::number(napi_value value) {
  double result = 0;
  if (failed) return 0;
  ok(napi_get_value_double(env, value, &result));
  return result;
}

int64_t Call::integer(napi_value value, int64_t lowest, int64_t highest) {
  double result = number(value);
  if (failed) return lowest;
  if (!(result >= static_cast<double>(lowest) && result <= static_cast<double>(highest)) ||
      result != std::floor(result)) {
    fail(kNativeError, "a number is not an integer in its range: " + std::to_string(result));
    return lowest;
  }
  return static_cast<int64_t>(result);
}

bool Call::boolean(napi_value value) {
  bool result = false;
  if (!failed) ok(napi_get_value_bool(env, value, &result));
  return result;
}

std::string Call::string(napi_value value) {
  size_t size = 0;
  if (failed || !ok(napi_get_value_string_utf8(env, value, nullptr, 0, &size))) return "";
  if (size > kMaxText) {
    fail(kNativeError, "a text of " + std::to_string(size) + " bytes is no name");
    return "";
  }
  std::string text(size + 1, 0);
  ok(napi_get_value_string_utf8(env, value, text.data(), size + 1, &size));
  text.resize(size);
  return text;
}

namespace {
template <typename T>
Call::Array<T> typed(Call& call, napi_value value, napi_typedarray_type wanted, const char* name) {
  Call::Array<T> result;
  if (call.failed) return result;
  napi_typedarray_type type;
  void* data = nullptr;
  bool isTyped = false;
  if (!call.ok(napi_is_typedarray(call.env, value, &isTyped))) return result;
  if (!isTyped || napi_get_typedarray_info(call.env, value, &type, &result.size, &data, nullptr, nullptr) != napi_ok ||
      type != wanted) {
    call.fail(kNativeError, std::string("an argument is no ") + name);
    return {};
  }
  result.data = static_cast<T*>(data);
  return result;
}
}  // namespace

Call::Array<int32_t> Call::ints(napi_value value) {
  return typed<int32_t>(*this, value, napi_int32_array, "Int32Array");
}
Call::Array<float> Call::floats(napi_value value) {
  return typed<float>(*this, value, napi_float32_array, "Float32Array");
}
Call::Array<uint8_t> Call::bytes(napi_value value) {
  return typed<uint8_t>(*this, value, napi_uint8_array, "Uint8Array");
}
Call::Array<uint32_t> Call::words(napi_value value) {
  return typed<uint32_t>(*this, value, napi_uint32_array, "Uint32Array");
}

napi_value Call::property(napi_value object, const char* name) {
  napi_value value = nullptr;
  if (failed || !ok(napi_get_named_property(env, object, name, &value))) return nullptr;
  return value;
}

bool Call::has(napi_value object, const char* name) {
  napi_value value = property(object, name);
  return !failed && !isUndefined(value);
}

uint32_t Call::length(napi_value array) {
  uint32_t length = 0;
  if (!failed) ok(napi_get_array_length(env, array, &length));
  return length;
}

napi_value Call::element(napi_value array, uint32_t index) {
  napi_value value = nullptr;
  if (!failed) ok(napi_get_element(env, array, index, &value));
  return value;
}

napi_value Call::make(double value) {
  napi_value result = nullptr;
  ok(napi_create_double(env, value, &result));
  return result;
}

napi_value Call::make(const char* value) {
  napi_value result = nullptr;
  ok(napi_create_string_utf8(env, value, NAPI_AUTO_LENGTH, &result));
  return result;
}

napi_value Call::makeArray(size_t length) {
  napi_value result = nullptr;
  ok(napi_create_array_with_length(env, length, &result));
  return result;
}

void Call::set(napi_value array, uint32_t index, napi_value value) {
  if (!failed) ok(napi_set_element(env, array, index, value));
}

void Call::set(napi_value object, const char* name, napi_value value) {
  if (!failed) ok(napi_set_named_property(env, object, name, value));
}

// --- instances and jobs ---------------------------------------------------------------------------------------------

namespace {

void reject(napi_env env, napi_deferred deferred, const char* codeText, const std::string& text) {
  napi_value message = nullptr, code = nullptr, error = nullptr;
  napi_create_string_utf8(env, text.c_str(), text.size(), &message);
  napi_create_string_utf8(env, codeText, NAPI_AUTO_LENGTH, &code);
  if (napi_create_error(env, code, message, &error) == napi_ok) napi_reject_deferred(env, deferred, error);
}

void settleJob(napi_env env, napi_value, void*, void* data) { settle(env, static_cast<AsyncJob*>(data)); }

// The environment ends: no thread of ours may go on. Steps in flight are cancelled.
void stopTeams(void* data) {
  auto* instance = static_cast<Instance*>(data);
  for (auto& weak : instance->queues) {
    if (auto queue = weak.lock()) queue->stop();
  }
}

}  // namespace

Instance* Instance::of(napi_env env) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  return static_cast<Instance*>(data);
}

bool Instance::create(napi_env env) {
  auto instance = std::make_unique<Instance>();
  instance->env = env;
  napi_value name = nullptr;
  if (napi_create_string_utf8(env, "millrace", NAPI_AUTO_LENGTH, &name) != napi_ok) return false;
  if (napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, nullptr, settleJob,
                                      &instance->settle) != napi_ok) {
    return false;
  }
  // An idle addon doesn't keep the process alive.
  napi_unref_threadsafe_function(env, instance->settle);
  Instance* raw = instance.get();
  auto destroy = [](napi_env, void* data, void*) { delete static_cast<Instance*>(data); };
  if (napi_set_instance_data(env, instance.release(), destroy, nullptr) != napi_ok) return false;
  return napi_add_env_cleanup_hook(env, stopTeams, raw) == napi_ok;
}

void AsyncJob::done() {
  // The queue has no limit, so this fails only where the environment ends.
  if (napi_call_threadsafe_function(instance->settle, this, napi_tsfn_nonblocking) != napi_ok) delete this;
}

void settle(napi_env env, AsyncJob* raw) {
  std::unique_ptr<AsyncJob> job(raw);
  // Without an environment there is nobody left to tell.
  if (!env) return;
  Instance* instance = job->instance;
  if (--instance->inFlight == 0) napi_unref_threadsafe_function(env, instance->settle);
  job->settled(env);
  if (!job->deferred) return;
  if (!job->error.empty()) {
    reject(env, job->deferred, job->code, job->error);
    return;
  }
  napi_value value = nullptr;
  if (napi_get_undefined(env, &value) == napi_ok) napi_resolve_deferred(env, job->deferred, value);
}

void rejectNow(napi_env env, AsyncJob& job, const char* code, const std::string& message) {
  if (job.deferred) reject(env, job.deferred, code, message);
  job.deferred = nullptr;
}

napi_value promiseOf(Call& call, AsyncJob& job, std::shared_ptr<Team> team) {
  napi_value promise = nullptr;
  Instance* instance = Instance::of(call.env);
  if (call.failed || !instance || !call.ok(napi_create_promise(call.env, &job.deferred, &promise))) return nullptr;
  job.instance = instance;
  job.team = std::move(team);
  if (instance->inFlight++ == 0) napi_ref_threadsafe_function(call.env, instance->settle);
  return promise;
}

napi_value start(Call& call, std::unique_ptr<AsyncJob> job, std::shared_ptr<Team> team) {
  napi_value promise = promiseOf(call, *job, team);
  if (!promise) return nullptr;
  AsyncJob* raw = job.release();
  if (team->submit(raw)) return promise;
  raw->error = "the backend is closed";
  settle(call.env, raw);
  return promise;
}

// --- handles --------------------------------------------------------------------------------------------------------

napi_value makeHandle(Call& call, Kind kind, std::shared_ptr<void> pointer) {
  napi_value object = nullptr;
  if (call.failed || !call.ok(napi_create_object(call.env, &object))) return nullptr;
  napi_type_tag tag{kTag, static_cast<uint64_t>(kind)};
  if (!call.ok(napi_type_tag_object(call.env, object, &tag))) return nullptr;
  auto owned = std::make_unique<Box>(Box{kind, std::move(pointer)});
  auto destroy = [](napi_env, void* data, void*) { delete static_cast<Box*>(data); };
  if (!call.ok(napi_wrap(call.env, object, owned.get(), destroy, nullptr, nullptr))) return nullptr;
  owned.release();
  return object;
}

Box* anyBox(Call& call, napi_value value) {
  if (call.failed) return nullptr;
  napi_valuetype type = napi_undefined;
  void* data = nullptr;
  if (value && napi_typeof(call.env, value, &type) == napi_ok && type == napi_object) {
    for (uint64_t kind = 1; kind <= static_cast<uint64_t>(Kind::Program); kind++) {
      napi_type_tag tag{kTag, kind};
      bool match = false;
      if (napi_check_object_type_tag(call.env, value, &tag, &match) != napi_ok || !match) continue;
      if (napi_unwrap(call.env, value, &data) == napi_ok) return static_cast<Box*>(data);
    }
  }
  call.fail(kNativeError, "an argument is no handle of this addon");
  return nullptr;
}

Box* box(Call& call, napi_value value, Kind kind) {
  Box* found = anyBox(call, value);
  if (!found) return nullptr;
  if (found->kind == kind && found->pointer) return found;
  call.fail(kNativeError, found->kind == kind ? "it is closed already" : "a handle is of another kind");
  return nullptr;
}

}  // namespace millrace
