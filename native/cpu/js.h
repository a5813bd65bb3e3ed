// Between Node-API and C++: reading arguments with checks, handles to C++ objects, promises that are settled from other
// threads. A failed read throws the JavaScript error once, marks the call as failed and gives a harmless value, so that
// callers check `failed` once, before they act.
#pragma once
#include <node_api.h>

#include <memory>
#include <string>
#include <vector>

#include "effects.h"

namespace millrace {

class Call {
 public:
  static constexpr size_t kMaxArguments = 8;
  // All that comes as text are names.
  static constexpr size_t kMaxText = 4096;
  napi_env env;
  size_t count = kMaxArguments;
  napi_value arguments[kMaxArguments];
  bool failed = false;

  Call(napi_env env, napi_callback_info info);
  explicit Call(napi_env env) : env(env), count(0) {}

  // Throws a JavaScript Error with this code, unless one is pending.
  void fail(const char* code, const std::string& message);
  // Checks what a Node-API function returned.
  bool ok(napi_status status);

  napi_value at(size_t index) { return index < count ? arguments[index] : undefined(); }
  napi_value undefined();
  bool isUndefined(napi_value value);
  double number(napi_value value);
  // An integer in lowest … highest.
  int64_t integer(napi_value value, int64_t lowest, int64_t highest);
  int32_t int32(napi_value value) { return static_cast<int32_t>(integer(value, INT32_MIN, INT32_MAX)); }
  // A size or offset: an integer from 0 to 2^53.
  size_t size(napi_value value) { return static_cast<size_t>(integer(value, 0, int64_t{1} << 53)); }
  bool boolean(napi_value value);
  std::string string(napi_value value);
  template <typename T>
  struct Array {
    T* data = nullptr;
    size_t size = 0;
  };
  Array<int32_t> ints(napi_value value);
  Array<float> floats(napi_value value);
  Array<uint8_t> bytes(napi_value value);
  Array<uint32_t> words(napi_value value);

  napi_value property(napi_value object, const char* name);
  bool has(napi_value object, const char* name);
  uint32_t length(napi_value array);
  napi_value element(napi_value array, uint32_t index);

  napi_value make(double value);
  napi_value make(const char* value);
  napi_value makeArray(size_t length);
  void set(napi_value array, uint32_t index, napi_value value);
  void set(napi_value object, const char* name, napi_value value);
};

constexpr const char* kNativeError = "ERR_NATIVE";
constexpr const char* kMemoryError = "ERR_MEMORY";

// What one environment (main thread, worker thread) holds of this addon.
struct Instance {
  napi_env env = nullptr;
  napi_threadsafe_function settle = nullptr;
  int inFlight = 0;
  std::vector<std::weak_ptr<EffectQueue>> queues;

  static Instance* of(napi_env env);
  static bool create(napi_env env);
};

// A job whose end settles a promise.
struct AsyncJob : Job {
  Instance* instance = nullptr;
  napi_deferred deferred = nullptr;
  std::shared_ptr<Team> team;
  std::string error;  // set: the promise is rejected with it
  const char* code = kNativeError;

  void done() override;
  // On the JavaScript thread, before the promise is settled.
  virtual void settled(napi_env) {}
};
// The job's promise, null where that fails. From here on the job belongs to whoever calls its done(), or `settle`.
napi_value promiseOf(Call& call, AsyncJob& job, std::shared_ptr<Team> team);
// Settles the promise and deletes the job, on the JavaScript thread.
void settle(napi_env env, AsyncJob* job);
// Rejects the promise before the job has ended, on the JavaScript thread.
void rejectNow(napi_env env, AsyncJob& job, const char* code, const std::string& message);
// Submits the job and returns its promise; deletes the job where that fails.
napi_value start(Call& call, std::unique_ptr<AsyncJob> job, std::shared_ptr<Team> team);

// A JavaScript object that owns a share of a C++ object. `Kind` makes handles of different types distinct.
enum class Kind : uint64_t { Team = 1, Weights, Pool, Program };

struct Box {
  Kind kind;
  std::shared_ptr<void> pointer;
};
napi_value makeHandle(Call& call, Kind kind, std::shared_ptr<void> pointer);
// Null (and the call failed) where the value isn't such a handle, or it is closed.
Box* box(Call& call, napi_value value, Kind kind);
Box* anyBox(Call& call, napi_value value);

template <typename T>
std::shared_ptr<T> handle(Call& call, napi_value value, Kind kind) {
  Box* found = box(call, value, kind);
  return found ? std::static_pointer_cast<T>(found->pointer) : nullptr;
}

}  // namespace millrace
