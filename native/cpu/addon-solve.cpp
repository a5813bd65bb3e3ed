// Rounding with error feedback (GPTQ, Frantar et al. 2022): column after column of each row is rounded, and the columns
// that follow move to where, with what is rounded already, the layer's outputs err least. With the layer's Gram matrix
// H = (I + Ǔ) D (I + Ǔ)ᵀ, Ǔ strictly upper triangular, and V = (I + Ǔ)⁻¹: target_j = w_j − Σ_{k<j} (target_k − ŵ_k)
// v_kj, and (w − ŵ) H (w − ŵ)ᵀ = Σ_j d_j (target_j − ŵ_j)². Rows are independent; within a block of columns the
// feedback goes value by value, between blocks as a product.
#include <algorithm>
#include <cstring>
#include <new>
#include <vector>

#include "addon.h"
#include "dense.h"
#include "grid.h"

namespace millrace {

namespace {

constexpr int kBlockCols = 256;
constexpr int kChunkRows = 48;

struct SolveJob final : AsyncJob {
  const Fits* fits = nullptr;
  const Dense* dense = nullptr;
  Grid grid;
  int rows = 0, cols = 0;
  const float* values = nullptr;             // [rows, cols]
  const float* unit = nullptr;               // [cols, cols], in the order of `order`: row k holds ǔ_k
  const float* pivots = nullptr;             // [cols] d
  const float* importance = nullptr;         // [cols], or null
  const int32_t* order = nullptr;            // [cols]: which column comes j-th; null: as they are
  int8_t* codes = nullptr;                   // [rows, cols]
  float *scales = nullptr, *mins = nullptr;  // [rows, cols / group]
  uint8_t* blocks = nullptr;                 // the format's, or null
  float* out = nullptr;                      // [rows, cols]: what the codes stand for
  float* errors = nullptr;                   // [rows]
  bool begun = false;

  struct Scratch {
    std::vector<float> given, error, target, tile;
  };
  std::vector<Scratch> scratch;

  int next() override {
    if (begun) return 0;
    begun = true;
    return (rows + kChunkRows - 1) / kChunkRows;
  }

  void work(int chunk, int thread) override {
    const int first = chunk * kChunkRows, n = std::min(kChunkRows, rows - first);
    Scratch& s = scratch[static_cast<size_t>(thread)];
    const auto width = static_cast<size_t>(cols);
    s.given.resize(kChunkRows * width);
    s.error.assign(kChunkRows * width, 0.0f);
    s.target.resize(static_cast<size_t>(kChunkRows) * kBlockCols);
    s.tile.resize(kTileScratch);
    const float* source = values + static_cast<size_t>(first) * width;
    for (int r = 0; r < n; r++) {
      const float* from = source + static_cast<size_t>(r) * width;
      float* to = s.given.data() + static_cast<size_t>(r) * width;
      if (!order) std::memcpy(to, from, width * sizeof(float));
      else
        for (int j = 0; j < cols; j++) to[j] = from[order[j]];
      errors[first + r] = 0;
      // Scales can't follow the feedback where columns of a block come at different times.
      if (order)
        for (int b = 0; b < cols; b += grid.cols) fit(first + r, b, from + b);
    }
    for (int begin = 0; begin < cols; begin += kBlockCols) roundBlock(s, first, n, begin);
    if (!blocks) return;
    for (int r = 0; r < n; r++) {
      for (int b = 0; b < cols; b += grid.cols) grid.format->pack(codesOf(first + r) + b, blockOf(first + r, b));
    }
  }

 private:
  int8_t* codesOf(int row) { return codes + static_cast<size_t>(row) * cols; }
  uint8_t* blockOf(int row, int col) {
    if (!blocks) return nullptr;
    return blocks + (static_cast<size_t>(row) * (cols / grid.cols) + col / grid.cols) * grid.format->bytes;
  }

  void fit(int row, int col, const float* x) {
    float w[kMaxBlock];
    fits->weigh(x, importance ? importance + col : nullptr, grid.cols, w);
    const size_t at = (static_cast<size_t>(row) * cols + col) / grid.group;
    float *scale = scales + at, *min = mins + at;
    std::fill_n(min, grid.cols / grid.group, 0.0f);
    grid.fit(*fits, x, w, blockOf(row, col), scale, min);
  }

  void roundBlock(Scratch& s, int first, int n, int begin) {
    const int count = std::min(kBlockCols, cols - begin);
    const auto width = static_cast<size_t>(cols);
    for (int r = 0; r < n; r++) {
      std::memcpy(s.target.data() + r * kBlockCols, s.given.data() + r * width + begin, count * sizeof(float));
    }
    if (begin > 0 && unit) {
      dense->product({s.error.data(), width, 1}, {unit + begin, width, 1}, n, count, begin, -1, s.target.data(),
                     kBlockCols, s.tile.data());
    }
    for (int r = 0; r < n; r++) roundRow(s, first + r, r, begin, count);
  }

  void roundRow(Scratch& s, int row, int r, int begin, int count) {
    float* target = s.target.data() + r * kBlockCols;
    float* error = s.error.data() + static_cast<size_t>(r) * cols + begin;
    double loss = 0;
    for (int j = 0; j < count; j++) {
      const int col = order ? order[begin + j] : begin + j;
      if (!order && col % grid.cols == 0) fit(row, col, target + j);
      const size_t g = (static_cast<size_t>(row) * cols + col) / grid.group;
      float value;
      codesOf(row)[col] = grid.nearest(target[j], scales[g], mins[g], value);
      out[static_cast<size_t>(row) * cols + col] = value;
      const double miss = target[j] - value;
      error[j] = static_cast<float>(miss);
      loss += (pivots ? pivots[begin + j] : 1) * miss * miss;
      if (error[j] == 0 || !unit) continue;
      const float* feedback = unit + static_cast<size_t>(begin + j) * cols + begin + j + 1;
      dense->addScaled(feedback, -error[j], static_cast<size_t>(count - j - 1), target + j + 1);
    }
    errors[row] += static_cast<float>(loss);
  }
};

}  // namespace

// (team, { type | bits, group, symmetric; rows, cols; values, unit?, pivots?, importance?, order?, codes, scales, mins,
// blocks?, out, errors }) → a promise
napi_value solveRows(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto computer = handle<Computer>(call, call.at(0), Kind::Team);
  napi_value spec = call.at(1);
  if (call.failed) return nullptr;
  const auto floats = [&](const char* name) { return call.floats(call.property(spec, name)); };
  std::unique_ptr<SolveJob> job(new (std::nothrow) SolveJob());
  if (!job) {
    call.fail(kMemoryError, "no memory for a job");
    return nullptr;
  }
  if (call.has(spec, "type")) {
    const BlockFormat* format = blockFormat(call.int32(call.property(spec, "type")));
    if (!format) call.fail(kNativeError, "blocks of this type can't be made");
    else job->grid = gridOf(*format);
  } else {
    const int bits = static_cast<int>(call.integer(call.property(spec, "bits"), 1, 8));
    const int group = static_cast<int>(call.integer(call.property(spec, "group"), 16, kMaxBlock));
    const bool symmetric = call.boolean(call.property(spec, "symmetric"));
    if (bits == 8 && !symmetric)
      call.fail(kNativeError, "codes of 8 bits with a zero point don't fit a byte with a sign");
    job->grid = plainGrid(bits, group, symmetric);
  }
  job->rows = static_cast<int>(call.integer(call.property(spec, "rows"), 1, INT32_MAX));
  job->cols = static_cast<int>(call.integer(call.property(spec, "cols"), 1, 1 << 20));
  auto values = floats("values");
  const bool feedsBack = call.has(spec, "unit");
  auto unit = feedsBack ? floats("unit") : Call::Array<float>{};
  auto pivots = feedsBack ? floats("pivots") : Call::Array<float>{};
  auto scales = floats("scales"), mins = floats("mins"), out = floats("out"), errors = floats("errors");
  auto codes = call.bytes(call.property(spec, "codes"));
  auto importance = call.has(spec, "importance") ? floats("importance") : Call::Array<float>{};
  auto order = call.has(spec, "order") ? call.ints(call.property(spec, "order")) : Call::Array<int32_t>{};
  auto blocks = call.has(spec, "blocks") ? call.bytes(call.property(spec, "blocks")) : Call::Array<uint8_t>{};
  if (call.failed) return nullptr;
  const auto n = static_cast<size_t>(job->rows), k = static_cast<size_t>(job->cols);
  const Grid& grid = job->grid;
  const bool fits = grid.group % 16 == 0 && kBlockCols % grid.cols == 0 && k % static_cast<size_t>(grid.cols) == 0 &&
                    values.size == n * k && (!feedsBack || (unit.size == k * k && pivots.size == k)) &&
                    codes.size == n * k && out.size == n * k && errors.size == n && scales.size == n * k / grid.group &&
                    mins.size == scales.size && (!importance.data || importance.size == k) &&
                    (!order.data || order.size == k) &&
                    (!blocks.data || (grid.format && blocks.size == n * k / grid.cols * grid.format->bytes));
  const bool isBlockOfAll = !grid.format || blocks.data;
  bool ordered = true;
  for (size_t j = 0; j < order.size; j++) ordered = ordered && order.data[j] >= 0 && order.data[j] < job->cols;
  if (!fits || !ordered || !isBlockOfAll) {
    call.fail(kNativeError, "the arrays don't fit the rows, or the rows the grid");
    return nullptr;
  }
  job->fits = &fitsOf(*computer->kernels);
  job->dense = &denseOf(*computer->kernels);
  job->values = values.data;
  job->unit = unit.data;
  job->pivots = pivots.data;
  job->importance = importance.data;
  job->order = order.data;
  job->codes = reinterpret_cast<int8_t*>(codes.data);
  job->scales = scales.data;
  job->mins = mins.data;
  job->blocks = blocks.data;
  job->out = out.data;
  job->errors = errors.data;
  job->scratch.resize(static_cast<size_t>(computer->team()->threads()));
  return start(call, std::move(job), computer->team());
}

}  // namespace millrace
