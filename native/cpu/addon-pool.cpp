// The part of the addon that makes pools, and reads and writes their blocks as bytes.
#include <cstring>

#include "addon.h"

namespace millrace {

namespace {

KvType kvType(Call& call, napi_value value) {
  std::string name = call.string(value);
  if (name == "f16") return KvType::F16;
  if (name == "f32") return KvType::F32;
  if (name == "q8") return KvType::Q8;
  call.fail(kNativeError, "unknown KV type " + name);
  return KvType::F16;
}

// One phase, a chunk for each block. The bytes are the caller's array, which the job keeps alive.
struct MoveBlocks final : AsyncJob {
  std::shared_ptr<Pool> pool;
  int group = 0;
  List<int32_t> blocks;
  uint8_t* bytes = nullptr;
  bool write = false, begun = false;
  napi_ref array = nullptr;

  int next() override {
    if (pool->queue->stopping()) error = "the backend was closed";
    if (begun || !error.empty()) return 0;
    begun = true;
    return static_cast<int>(blocks.size());
  }
  void work(int chunk, int) override {
    size_t size = pool->groups[group]->blockBytes;
    uint8_t* inside = pool->block(group, blocks[static_cast<size_t>(chunk)]);
    uint8_t* outside = bytes + size * static_cast<size_t>(chunk);
    if (write) memcpy(inside, outside, size);
    else memcpy(outside, inside, size);
  }
  void settled(napi_env env) override { napi_delete_reference(env, array); }
};

}  // namespace

// (team, kv type, kvHeads, keyDim, valueDim, latent) → bytes of one layer in one block
napi_value kvBytes(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto computer = handle<Computer>(call, call.at(0), Kind::Team);
  KvType type = kvType(call, call.at(1));
  auto count = [&](size_t i, int64_t least) { return static_cast<int>(call.integer(call.at(i), least, 1 << 20)); };
  int kvHeads = count(2, 1), keyDim = count(3, 1), valueDim = count(4, 0);
  bool latent = call.boolean(call.at(5));
  if (call.failed) return nullptr;
  return call.make(static_cast<double>(layerBytesOf(*computer->kernels, type, kvHeads, keyDim, valueDim, latent)));
}

// (team, [{ type, kvHeads, keyDim, valueDim, latent, window, granules, layers, blocks }]) → handle
napi_value createPool(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto computer = handle<Computer>(call, call.at(0), Kind::Team);
  auto pool = std::make_shared<Pool>();
  uint32_t count = call.length(call.at(1));
  for (uint32_t i = 0; i < count && !call.failed; i++) {
    napi_value spec = call.element(call.at(1), i);
    auto group = std::make_unique<PoolGroup>();
    auto read = [&](const char* name, int64_t least, int64_t most = INT32_MAX) {
      return static_cast<int32_t>(call.integer(call.property(spec, name), least, most));
    };
    group->type = kvType(call, call.property(spec, "type"));
    group->kvHeads = read("kvHeads", 1, 1 << 20);
    group->keyDim = read("keyDim", 1, 1 << 20);
    group->valueDim = read("valueDim", 0, 1 << 20);
    group->latent = call.boolean(call.property(spec, "latent"));
    group->window = read("window", 0);
    group->layers = read("layers", 1, 1 << 20);
    group->blocks = read("blocks", 1);
    group->isGranules = call.boolean(call.property(spec, "granules"));
    if (!call.failed && group->isGranules && !group->isRows()) {
      call.fail(kNativeError, "a group of granules holds floats");
    }
    if (!call.failed && group->isRows() && (group->kvHeads != 1 || group->type != KvType::F32)) {
      call.fail(kNativeError, "a group of rows holds one head of floats");
    }
    bool isOneHead = group->kvHeads == 1 && group->valueDim >= 1 && group->valueDim <= group->keyDim;
    if (!call.failed && group->latent && !isOneHead) {
      call.fail(kNativeError, "a latent group holds one head, whose values are columns of its keys");
    }
    if (call.failed) return nullptr;
    group->layerBytes =
        layerBytesOf(*computer->kernels, group->type, group->kvHeads, group->keyDim, group->valueDim, group->latent);
    double total = static_cast<double>(group->layerBytes) * group->layers * group->blocks;
    group->blockBytes = group->layerBytes * static_cast<size_t>(group->layers);
    bool fits = total < static_cast<double>(SIZE_MAX / 2);
    if (!fits || !group->pages.allocate(group->blockBytes * static_cast<size_t>(group->blocks))) {
      call.fail(kMemoryError, "the system refuses " + std::to_string(total) + " bytes for a KV pool");
      return nullptr;
    }
    pool->groups.push_back(std::move(group));
  }
  if (call.failed) return nullptr;
  pool->queue = computer->queue;
  return makeHandle(call, Kind::Pool, pool);
}

// (pool, group, blocks, bytes, write) → promise
napi_value moveBlocks(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto pool = handle<Pool>(call, call.at(0), Kind::Pool);
  int64_t group = call.integer(call.at(1), 0, pool ? static_cast<int64_t>(pool->groups.size()) - 1 : 0);
  auto blocks = call.ints(call.at(2));
  auto bytes = call.bytes(call.at(3));
  bool write = call.boolean(call.at(4));
  if (call.failed) return nullptr;
  const PoolGroup& of = *pool->groups[group];
  for (size_t i = 0; i < blocks.size && !call.failed; i++) {
    if (blocks.data[i] >= 0 && blocks.data[i] < of.blocks) continue;
    call.fail(kNativeError, "there is no block " + std::to_string(blocks.data[i]) + " in the pool");
  }
  if (!call.failed && bytes.size != of.blockBytes * blocks.size) {
    call.fail(kNativeError, std::to_string(blocks.size) + " blocks have " +
                                std::to_string(of.blockBytes * blocks.size) + " bytes, not " +
                                std::to_string(bytes.size));
  }
  if (call.failed) return nullptr;
  auto job = std::make_unique<MoveBlocks>();
  job->pool = pool;
  job->group = static_cast<int>(group);
  job->bytes = bytes.data;
  job->write = write;
  if (!job->blocks.assign(blocks.data, blocks.size)) {
    call.fail(kMemoryError, "there is no memory for a list of blocks");
    return nullptr;
  }
  if (!call.ok(napi_create_reference(env, call.at(3), 1, &job->array))) return nullptr;
  std::shared_ptr<EffectQueue> queue = pool->queue;
  napi_value promise = promiseOf(call, *job, {queue, &queue->team()});
  if (!promise) {
    napi_delete_reference(env, job->array);
    return nullptr;
  }
  AsyncJob* raw = job.release();
  if (!queue->submit({raw, pool.get(), nullptr})) {
    raw->error = "the backend is closed";
    settle(env, raw);
  }
  return promise;
}

}  // namespace millrace
