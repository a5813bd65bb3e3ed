// The Node-API addon: the functions that src/backend/cpu/native.ts describes. This file: teams, weights, pools; what
// concerns programs stands in addon-program.cpp. Nothing here computes.
#include "addon.h"

#include <cstring>

#include "os.h"
#include "pack.h"
#include "pool.h"
#include "program.h"
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

napi_value sabotage(napi_env env, napi_callback_info info) {
  Call call(env, info);
  bool on = call.boolean(call.at(0));
  if (!call.failed) setSabotage(on);
  return nullptr;
}

// (threads, isa | undefined) → handle
napi_value createTeam(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto threads = static_cast<int>(call.integer(call.at(0), 1, Team::kMaxThreads));
  std::string isa = call.isUndefined(call.at(1)) ? "" : call.string(call.at(1));
  if (call.failed) return nullptr;
  auto computer = std::make_shared<Computer>();
  computer->kernels = selectKernels(isa.empty() ? nullptr : isa.c_str());
  if (!computer->kernels) {
    call.fail(kNativeError, "this processor or build has no kernels named " + isa);
    return nullptr;
  }
  computer->team = Team::create(threads);
  if (!computer->team) {
    call.fail(kNativeError, "the system refuses to start " + std::to_string(threads) + " threads");
    return nullptr;
  }
  computer->counters = std::make_shared<Program::Counters>();
  auto& teams = Instance::of(env)->teams;
  std::erase_if(teams, [](const std::weak_ptr<Team>& weak) { return weak.expired(); });
  teams.push_back(computer->team);
  return makeHandle(call, Kind::Team, computer);
}

// (team) → name of its kernels
napi_value teamIsa(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto computer = handle<Computer>(call, call.at(0), Kind::Team);
  return computer ? call.make(computer->kernels->name) : nullptr;
}

napi_value stopTeam(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto computer = handle<Computer>(call, call.at(0), Kind::Team);
  if (computer) computer->team->stop();
  return nullptr;
}

// (team, reset) → { linear: [class][format] rows, attend: [kind][kv type] }
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
  return start(call, std::move(job), computer->team);
}

// --- pools ----------------------------------------------------------------------------------------------------------

KvType kvType(Call& call, napi_value value) {
  std::string name = call.string(value);
  if (name == "f16") return KvType::F16;
  if (name == "f32") return KvType::F32;
  if (name == "q8") return KvType::Q8;
  call.fail(kNativeError, "unknown KV type " + name);
  return KvType::F16;
}

// (team, kv type, kvHeads, keyDim, valueDim) → bytes of one layer in one block
napi_value kvBytes(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto computer = handle<Computer>(call, call.at(0), Kind::Team);
  KvType type = kvType(call, call.at(1));
  int kvHeads = call.int32(call.at(2)), keyDim = call.int32(call.at(3)), valueDim = call.int32(call.at(4));
  if (call.failed) return nullptr;
  return call.make(static_cast<double>(layerBytesOf(*computer->kernels, type, kvHeads, keyDim, valueDim)));
}

// (team, kv type, [{ kvHeads, keyDim, valueDim, window, layers, blocks }]) → handle
napi_value createPool(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto computer = handle<Computer>(call, call.at(0), Kind::Team);
  auto pool = std::make_shared<Pool>();
  pool->type = kvType(call, call.at(1));
  uint32_t count = call.length(call.at(2));
  for (uint32_t i = 0; i < count && !call.failed; i++) {
    napi_value spec = call.element(call.at(2), i);
    auto group = std::make_unique<PoolGroup>();
    auto read = [&](const char* name, int64_t least) {
      return static_cast<int32_t>(call.integer(call.property(spec, name), least, INT32_MAX));
    };
    group->kvHeads = read("kvHeads", 1);
    group->keyDim = read("keyDim", 1);
    group->valueDim = read("valueDim", 1);
    group->window = read("window", 0);
    group->layers = read("layers", 1);
    group->blocks = read("blocks", 1);
    if (call.failed) return nullptr;
    group->layerBytes = layerBytesOf(*computer->kernels, pool->type, group->kvHeads, group->keyDim, group->valueDim);
    group->blockBytes = group->layerBytes * group->layers;
    if (!group->pages.allocate(group->blockBytes * group->blocks)) {
      call.fail(kMemoryError,
                "the system refuses " + std::to_string(group->blockBytes * group->blocks) + " bytes for a KV pool");
      return nullptr;
    }
    pool->groups.push_back(std::move(group));
  }
  return makeHandle(call, Kind::Pool, pool);
}

// (pool, group, block, bytes, write): copies a block's bytes out of the pool, or into it
napi_value moveBlock(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto pool = handle<Pool>(call, call.at(0), Kind::Pool);
  int64_t group = call.integer(call.at(1), 0, pool ? static_cast<int64_t>(pool->groups.size()) - 1 : 0);
  if (call.failed) return nullptr;
  auto block = static_cast<int>(call.integer(call.at(2), 0, pool->groups[group]->blocks - 1));
  auto bytes = call.bytes(call.at(3));
  bool write = call.boolean(call.at(4));
  if (!call.failed && bytes.size != pool->groups[group]->blockBytes) {
    call.fail(kNativeError, "a block has " + std::to_string(pool->groups[group]->blockBytes) + " bytes, not " +
                                std::to_string(bytes.size));
  }
  if (call.failed) return nullptr;
  uint8_t* inside = pool->block(static_cast<int>(group), block);
  if (write) {
    memcpy(inside, bytes.data, bytes.size);
  } else {
    memcpy(bytes.data, inside, bytes.size);
  }
  return nullptr;
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
      {"setSabotage", sabotage},
      {"createTeam", createTeam},
      {"teamIsa", teamIsa},
      {"stopTeam", stopTeam},
      {"counters", counters},
      {"matrixLayout", matrixLayout},
      {"createWeights", createWeights},
      {"addMatrix", addMatrix},
      {"addVector", addVector},
      {"load", load},
      {"kvBytes", kvBytes},
      {"createPool", createPool},
      {"moveBlock", moveBlock},
      {"compile", compileProgram},
      {"openSampler", openSampler},
      {"closeSampler", closeSampler},
      {"run", runProgram},
      {"results", programResults},
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
