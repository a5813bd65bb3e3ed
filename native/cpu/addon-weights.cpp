// Weights, as JavaScript sees them: matrices and vectors in one range of memory, filled from files of a model. What a
// range became by that can be kept in a file, and be mapped from there: see src/backend/cpu/packed-cache.ts.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "addon.h"
#include "checksum.h"
#include "os.h"
#include "pack.h"
#include "weights.h"

namespace millrace {

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

namespace {

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

}  // namespace

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
  if (!call.failed && weights->isMapped())
    call.fail(kNativeError, "these weights are a file's and can't be loaded into");
  if (!call.failed && !task.check()) call.fail(kNativeError, "a range of weights lies outside of its tensor or matrix");
  if (call.failed) {
    if (job->bytes) napi_delete_reference(env, job->bytes);
    return nullptr;
  }
  return start(call, std::move(job), computer->team());
}

// --- packed weights in a file
// -----------------------------------------------------------------------------------------

namespace {

// Bytes under one checksum, as packed-cache.ts knows.
constexpr size_t kPiece = size_t{4} << 20;

size_t piecesOf(const Weights& weights) { return (weights.bytes() + kPiece - 1) / kPiece; }
uint64_t sumOf(const Weights& weights, size_t piece) {
  const size_t begin = kPiece * piece;
  return checksum(weights.data() + begin, std::min(kPiece, weights.bytes() - begin));
}

// Compares all pieces with what they were when they were written; on the way their pages come into memory.
struct Check final : AsyncJob {
  std::shared_ptr<Weights> weights;
  std::vector<uint64_t> expected;
  std::atomic<bool> differs{false};
  bool begun = false;

  int next() override { return begun ? 0 : (begun = true, static_cast<int>(expected.size())); }
  void work(int chunk, int) override {
    const auto piece = static_cast<size_t>(chunk);
    if (!differs.load(std::memory_order_relaxed) && sumOf(*weights, piece) != expected[piece]) differs.store(true);
  }
  void settled(napi_env) override {
    if (differs.load()) error = "packed weights differ from what was written";
  }
};

// One piece on its way into a file, on a thread of libuv: it waits for the disk.
struct Save {
  std::shared_ptr<Weights> weights;
  size_t piece = 0;
  int fd = -1;
  uint64_t offset = 0;
  uint64_t sum = 0;
  int status = 0;
  napi_async_work work = nullptr;
  napi_deferred deferred = nullptr;

  void run() {
    const size_t begin = kPiece * piece;
    sum = sumOf(*weights, piece);
    status = os::writeAt(fd, weights->data() + begin, std::min(kPiece, weights->bytes() - begin), offset + begin);
  }
  void settle(napi_env env) {
    napi_value value = nullptr;
    if (status == 0) {
      if (napi_create_bigint_uint64(env, sum, &value) == napi_ok) napi_resolve_deferred(env, deferred, value);
    } else {
      napi_value text = nullptr;
      napi_create_string_utf8(env, strerror(status), NAPI_AUTO_LENGTH, &text);
      if (napi_create_error(env, nullptr, text, &value) == napi_ok) napi_reject_deferred(env, deferred, value);
    }
    napi_delete_async_work(env, work);
  }
};

}  // namespace

// () → a number that changes with the packed layouts
napi_value fingerprint(napi_env env, napi_callback_info) {
  napi_value value = nullptr;
  return napi_create_bigint_uint64(env, packFingerprint(), &value) == napi_ok ? value : nullptr;
}

// (fd, offset, bytes) → handle
napi_value mapWeights(napi_env env, napi_callback_info info) {
  Call call(env, info);
  int fd = call.int32(call.at(0));
  size_t offset = call.size(call.at(1)), bytes = call.size(call.at(2));
  if (call.failed) return nullptr;
  auto weights = std::make_shared<Weights>();
  if (offset % os::Pages::kMapAlign != 0 || !weights->map(fd, offset, bytes)) {
    call.fail(kNativeError, "the system refuses to map " + std::to_string(bytes) + " bytes of packed weights");
    return nullptr;
  }
  return makeHandle(call, Kind::Weights, weights);
}

// (team, weights, sums: Uint8Array of 8 bytes for every 4 MiB) → promise, rejected where one differs
napi_value checkWeights(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto computer = handle<Computer>(call, call.at(0), Kind::Team);
  auto weights = handle<Weights>(call, call.at(1), Kind::Weights);
  auto sums = call.bytes(call.at(2));
  if (call.failed) return nullptr;
  auto job = std::make_unique<Check>();
  job->weights = weights;
  if (sums.size != piecesOf(*weights) * sizeof(uint64_t)) {
    call.fail(kNativeError, "packed weights and their checksums don't fit together");
    return nullptr;
  }
  job->expected.resize(piecesOf(*weights));
  std::memcpy(job->expected.data(), sums.data, sums.size);
  return start(call, std::move(job), computer->team());
}

// (weights, piece, fd, offset of the first piece) → promise of the piece's checksum; undefined after the last piece
napi_value saveWeights(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto weights = handle<Weights>(call, call.at(0), Kind::Weights);
  size_t piece = call.size(call.at(1));
  int fd = call.int32(call.at(2));
  size_t offset = call.size(call.at(3));
  if (call.failed) return nullptr;
  if (piece >= piecesOf(*weights)) return call.undefined();
  auto save = std::make_unique<Save>();
  save->weights = weights;
  save->piece = piece;
  save->fd = fd;
  save->offset = offset;
  napi_value promise = nullptr;
  const auto run = [](napi_env, void* data) { static_cast<Save*>(data)->run(); };
  const auto settle = [](napi_env env, napi_status, void* data) {
    std::unique_ptr<Save> done(static_cast<Save*>(data));
    done->settle(env);
  };
  if (!call.ok(napi_create_promise(env, &save->deferred, &promise)) ||
      !call.ok(napi_create_async_work(env, nullptr, call.make("millrace"), run, settle, save.get(), &save->work)) ||
      !call.ok(napi_queue_async_work(env, save->work))) {
    return nullptr;
  }
  save.release();
  return promise;
}

}  // namespace millrace
