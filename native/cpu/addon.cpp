// The Node-API addon: the functions that src/backend/cpu/native.ts describes. This file: teams; weights,
// pools, programs and steps have files of their own (addon-*.cpp). Nothing here computes.
#include "addon.h"

#include "os.h"
#include "pool.h"
#include "program.h"
#include "sabotage.h"

namespace millrace {

namespace {

napi_value isas(napi_env env, napi_callback_info info) {
  Call call(env, info);
  napi_value list = call.makeArray(0);
  uint32_t i = 0;
  for (const char* const* name = availableKernels(); *name; name++) call.set(list, i++, call.make(*name));
  return list;
}

napi_value cores(napi_env env, napi_callback_info info) {
  Call call(env, info);
  return call.make(os::availableCores());
}

napi_value availableMemory(napi_env env, napi_callback_info info) {
  Call call(env, info);
  return call.make(static_cast<double>(os::availableMemory()));
}

// (threads, isa | undefined) → handle
napi_value createTeam(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto threads = static_cast<int>(call.integer(call.at(0), 1, Team::kMaxThreads));
  std::string isa = call.isUndefined(call.at(1)) ? "" : call.string(call.at(1));
  if (call.failed) return nullptr;
#ifdef MILLRACE_SABOTAGE
  if (!chooseFault()) {
    call.fail(kNativeError, "MILLRACE_SABOTAGE names no fault");
    return nullptr;
  }
#endif
  auto computer = std::make_shared<Computer>();
  computer->kernels = selectKernels(isa.empty() ? nullptr : isa.c_str());
  if (!computer->kernels) {
    call.fail(kNativeError, "this processor or build has no kernels named " + isa);
    return nullptr;
  }
  computer->queue = EffectQueue::create(threads);
  if (!computer->queue) {
    call.fail(kNativeError, "the system refuses to start " + std::to_string(threads) + " threads");
    return nullptr;
  }
  computer->counters = std::make_shared<Counters>();
  auto& queues = Instance::of(env)->queues;
  std::erase_if(queues, [](const std::weak_ptr<EffectQueue>& weak) { return weak.expired(); });
  queues.push_back(computer->queue);
  return makeHandle(call, Kind::Team, computer);
}

// (team) → name of its kernels
napi_value teamIsa(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto computer = handle<Computer>(call, call.at(0), Kind::Team);
  return computer ? call.make(computer->kernels->name) : nullptr;
}

// (team) → seconds in which it had nothing to run, since its first step or pool transfer ended
napi_value idleSeconds(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto computer = handle<Computer>(call, call.at(0), Kind::Team);
  return computer ? call.make(static_cast<double>(computer->queue->idleNanoseconds()) * 1e-9) : nullptr;
}

napi_value stopTeam(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto computer = handle<Computer>(call, call.at(0), Kind::Team);
  if (computer) computer->queue->stop();
  return nullptr;
}

// (team, reset) → { linear: [class][format] rows, attend: [kind][kv type], lora: rows }
napi_value counters(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto computer = handle<Computer>(call, call.at(0), Kind::Team);
  bool reset = call.boolean(call.at(1));
  if (call.failed) return nullptr;
  auto take = [&](std::atomic<uint64_t>& counter) {
    return call.make(static_cast<double>(reset ? counter.exchange(0) : counter.load()));
  };
  napi_value linear = call.makeArray(0), attend = call.makeArray(0);
  uint32_t i = 0;
  for (auto& list : computer->counters->linear) {
    for (auto& counter : list) call.set(linear, i++, take(counter));
  }
  i = 0;
  for (auto& list : computer->counters->attend) {
    for (auto& counter : list) call.set(attend, i++, take(counter));
  }
  napi_value result = nullptr;
  if (!call.ok(napi_create_object(env, &result))) return nullptr;
  call.set(result, "lora", take(computer->counters->lora));
  call.set(result, "linear", linear);
  call.set(result, "attend", attend);
  return result;
}

// (handle): gives up the share of what it owns
napi_value close(napi_env env, napi_callback_info info) {
  Call call(env, info);
  if (Box* found = anyBox(call, call.at(0))) found->pointer.reset();
  return nullptr;
}

}  // namespace

}  // namespace millrace

NAPI_MODULE_INIT() {
  using namespace millrace;
  if (!Instance::create(env)) {
    napi_throw_error(env, kNativeError, "the addon can't be initialised");
    return nullptr;
  }
  Call call(env);
  struct Entry {
    const char* name;
    napi_callback function;
  };
  const Entry entries[] = {
      {"isas", isas},
      {"cores", cores},
      {"availableMemory", availableMemory},
      {"createTeam", createTeam},
      {"teamIsa", teamIsa},
      {"stopTeam", stopTeam},
      {"idleSeconds", idleSeconds},
      {"counters", counters},
      {"formats", formats},
      {"probe", probe},
      {"quantizeRows", quantizeRows},
      {"addProduct", addProduct},
      {"factor", factor},
      {"invertUnit", invertUnit},
      {"solveRows", solveRows},
      {"matrixLayout", matrixLayout},
      {"createWeights", createWeights},
      {"addMatrix", addMatrix},
      {"addVector", addVector},
      {"load", load},
      {"packFingerprint", fingerprint},
      {"mapWeights", mapWeights},
      {"checkWeights", checkWeights},
      {"saveWeights", saveWeights},
      {"kvBytes", kvBytes},
      {"createPool", createPool},
      {"moveBlocks", moveBlocks},
      {"compile", compileProgram},
      {"setAdapter", setAdapter},
      {"run", runStep},
      {"mask", deliverMask},
      {"cancel", cancelStep},
      {"timings", programTimings},
      {"close", close},
  };
  for (const Entry& entry : entries) {
    napi_value function = nullptr;
    if (!call.ok(napi_create_function(env, entry.name, NAPI_AUTO_LENGTH, entry.function, nullptr, &function))) break;
    call.set(exports, entry.name, function);
  }
  return exports;
}
