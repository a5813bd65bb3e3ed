// (team, ggml type, columns, values, importance | undefined, out, errors) → a promise: rows of floats as blocks of a
// file format. `errors`: the sum of squared errors of each row. The arrays belong to the call until it has ended.
#include <algorithm>
#include <new>

#include "addon.h"
#include "quantizers.h"

namespace millrace {

namespace {

struct QuantizeJob final : AsyncJob {
  const Fits* fits = nullptr;
  const BlockFormat* format = nullptr;
  const float *values = nullptr, *importance = nullptr;
  uint8_t* out = nullptr;
  float* errors = nullptr;
  int cols = 0, rows = 0, rowsAChunk = 1;
  bool begun = false;

  int next() override {
    if (begun) return 0;
    begun = true;
    return (rows + rowsAChunk - 1) / rowsAChunk;
  }

  void work(int chunk, int) override {
    const int blocks = cols / format->cols;
    for (int row = chunk * rowsAChunk; row < std::min(rows, (chunk + 1) * rowsAChunk); row++) {
      double error = 0;
      for (int b = 0; b < blocks; b++) {
        const float* x = values + static_cast<size_t>(row) * cols + b * format->cols;
        uint8_t* block = out + (static_cast<size_t>(row) * blocks + b) * format->bytes;
        error += quantizeBlock(*fits, *format, x, importance ? importance + b * format->cols : nullptr, block);
      }
      errors[row] = static_cast<float>(error);
    }
  }
};

}  // namespace

napi_value quantizeRows(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto computer = handle<Computer>(call, call.at(0), Kind::Team);
  const BlockFormat* format = blockFormat(call.int32(call.at(1)));
  const int cols = static_cast<int>(call.integer(call.at(2), 1, INT32_MAX));
  auto values = call.floats(call.at(3));
  const bool weighted = !call.isUndefined(call.at(4));
  auto importance = weighted ? call.floats(call.at(4)) : Call::Array<float>{};
  auto out = call.bytes(call.at(5));
  auto errors = call.floats(call.at(6));
  if (call.failed) return nullptr;
  const size_t rows = values.size / static_cast<size_t>(cols);
  if (!format || cols % format->cols != 0 || rows == 0 || rows * cols != values.size || rows > INT32_MAX ||
      (weighted && importance.size != static_cast<size_t>(cols)) || errors.size != rows ||
      out.size != values.size / format->cols * format->bytes) {
    call.fail(kNativeError, "rows don't fit the format, or the arrays don't fit the rows");
    return nullptr;
  }
  std::unique_ptr<QuantizeJob> job(new (std::nothrow) QuantizeJob());
  if (!job) {
    call.fail(kMemoryError, "no memory for a job");
    return nullptr;
  }
  job->fits = &fitsOf(*computer->kernels);
  job->format = format;
  job->values = values.data;
  job->importance = importance.data;
  job->out = out.data;
  job->errors = errors.data;
  job->cols = cols;
  job->rows = static_cast<int>(rows);
  job->rowsAChunk = std::max(1, 65536 / cols);
  return start(call, std::move(job), computer->team());
}

}  // namespace millrace
