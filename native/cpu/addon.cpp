// The Node-API addon: the functions that src/backend/cpu/native.ts describes. This file: teams and weights; pools,
// programs and steps have files of their own (addon-*.cpp). Nothing here computes.
#include "addon.h"

#include <cstring>

#include "os.h"
#include "pack.h"
#include "pool.h"
#include "program.h"
#include "sabotage.h"
#include "weights.h"

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

// --- weights --------------------------------------------------------------------------------------------------------

// (ggml type, rows, cols, experts) → { format, int8, bytes }, or undefined where no kernel reads it
napi_value matrixLayout(napi_env env, napi_callback_info info) {
  Call call(env, info);
  int type = call.int32(call.at(0));
  int rows = call.int32(call.at(1)), cols = call.int32(call.at(2)), experts = call.int32(call.at(3));
  if (call.failed) return nullptr;
  Matrix matrix;
  if (!layoutOf(type, rows, cols, experts, matrix)) return call.undefined();
  napi_value result = nullptr;
  if (!call.ok(napi_create_object(env, &result))) return nullptr;
  napi_value int8 = nullptr;
  if (!call.ok(napi_get_boolean(env, readsInt8(matrix.format), &int8))) return nullptr;
  call.set(result, "format", call.make(static_cast<double>(matrix.format)));
  call.set(result, "int8", int8);
  call.set(result, "bytes", call.make(static_cast<double>(Weights::matrixBytes(matrix))));
  return result;
}

// (bytes) → handle
napi_value createWeights(napi_env env, napi_callback_info info) {
  Call call(env, info);
  size_t bytes = call.size(call.at(0));
  if (call.failed) return nullptr;
  auto weights = std::make_shared<Weights>();
  if (!weights->allocate(bytes)) {
    call.fail(kMemoryError, "the system refuses " + std::to_string(bytes) + " bytes for weights");
    return nullptr;
  }
  return makeHandle(call, Kind::Weights, weights);
}

// (weights, ggml type, rows, cols, experts) → index
napi_value addMatrix(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto weights = handle<Weights>(call, call.at(0), Kind::Weights);
  int type = call.int32(call.at(1));
  int rows = call.int32(call.at(2)), cols = call.int32(call.at(3)), experts = call.int32(call.at(4));
  if (call.failed) return nullptr;
  Matrix matrix;
  int index = layoutOf(type, rows, cols, experts, matrix) ? weights->add(matrix) : -1;
  if (index < 0) call.fail(kNativeError, "a matrix of type " + std::to_string(type) + " doesn't fit");
  return call.make(index);
}

// (weights, length) → index
napi_value addVector(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto weights = handle<Weights>(call, call.at(0), Kind::Weights);
  size_t length = call.size(call.at(1));
  if (call.failed) return nullptr;
  int index = weights->addVector(length);
  if (index < 0) call.fail(kNativeError, "a vector doesn't fit");
  return call.make(index);
}

struct Load final : AsyncJob {
  std::shared_ptr<Weights> weights;
  LoadTask task;
  napi_ref bytes = nullptr;

  int next() override { return task.next(team->threads()); }
  void work(int chunk, int thread) override { task.work(chunk, thread); }
  void settled(napi_env env) override {
    if (bytes) napi_delete_reference(env, bytes);
    error = task.error;
    if (task.isOutOfMemory) code = kMemoryError;
  }
};

// (team, weights, { matrix | vector, type, expert, row, rows, transposed?, fileRow?, fd | bytes, offset }) → promise
napi_value load(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto computer = handle<Computer>(call, call.at(0), Kind::Team);
  auto weights = handle<Weights>(call, call.at(1), Kind::Weights);
  napi_value spec = call.at(2);
  if (call.failed) return nullptr;
  auto job = std::make_unique<Load>();
  job->weights = weights;
  LoadTask& task = job->task;
  task.type = call.int32(call.property(spec, "type"));
  bool isVector = call.has(spec, "vector");
  int index = call.int32(call.property(spec, isVector ? "vector" : "matrix"));
  task.row = call.int32(call.property(spec, "row"));
  task.rows = call.int32(call.property(spec, "rows"));
  task.offset = call.size(call.property(spec, "offset"));
  if (isVector) {
    task.vector = call.failed ? nullptr : weights->vector(index, static_cast<size_t>(task.row) + task.rows);
    if (!call.failed && !task.vector) call.fail(kNativeError, "no such vector");
  } else {
    task.matrix = call.failed ? nullptr : weights->matrix(index);
    task.expert = call.int32(call.property(spec, "expert"));
    if (call.has(spec, "transposed")) {
      task.fileRow = call.int32(call.property(spec, "fileRow"));
      task.transposed = call.int32(call.property(spec, "transposed"));
    }
    if (!call.failed && !task.matrix) call.fail(kNativeError, "no such matrix");
  }
  if (call.has(spec, "fd")) {
    task.fd = call.int32(call.property(spec, "fd"));
  } else {
    napi_value value = call.property(spec, "bytes");
    auto bytes = call.bytes(value);
    task.bytes = bytes.data;
    task.byteCount = bytes.size;
    if (!call.failed) call.ok(napi_create_reference(env, value, 1, &job->bytes));
  }
  if (!call.failed && !task.check()) call.fail(kNativeError, "a range of weights lies outside of its tensor or matrix");
  if (call.failed) {
    if (job->bytes) napi_delete_reference(env, job->bytes);
    return nullptr;
  }
  return start(call, std::move(job), computer->team());
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
      {"solveRows", solveRows},
      {"matrixLayout", matrixLayout},
      {"createWeights", createWeights},
      {"addMatrix", addMatrix},
      {"addVector", addVector},
      {"load", load},
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
