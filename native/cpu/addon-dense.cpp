// Linear algebra as functions of the addon: products of matrices, and the factor of a Gram matrix that methods with
// error feedback need. The arrays belong to a call until it has ended.
#include <algorithm>
#include <cmath>
#include <new>
#include <vector>

#include "addon.h"
#include "dense.h"

namespace millrace {

namespace {

struct DenseJob : AsyncJob {
  const Dense* dense = nullptr;
  std::vector<float> scratch;  // kTileScratch floats a thread

  float* scratchOf(int thread) { return scratch.data() + kTileScratch * static_cast<size_t>(thread); }
};

struct ProductJob final : DenseJob {
  MatrixView a{}, b{};
  int rows = 0, cols = 0, terms = 0;
  bool upper = false, begun = false;
  float* c = nullptr;

  int tilesAcross() const { return (cols + kTileCols - 1) / kTileCols; }
  int next() override {
    if (begun) return 0;
    begun = true;
    return (rows + kTileRows - 1) / kTileRows * tilesAcross();
  }
  void work(int chunk, int thread) override {
    const int i = chunk / tilesAcross() * kTileRows, j = chunk % tilesAcross() * kTileCols;
    const int n = std::min(kTileCols, cols - j);
    // Nothing of the tile lies on or above the diagonal.
    if (upper && j + n <= i) return;
    const auto row = static_cast<size_t>(i), col = static_cast<size_t>(j), ld = static_cast<size_t>(cols);
    dense->product(a.from(row, 0), b.from(0, col), std::min(kTileRows, rows - i), n, terms, 1, c + row * ld + col, ld,
                   scratchOf(thread));
  }
};

// H = U Uᵀ with U upper triangular, in place of H's upper triangle, from the last columns to the first: a block of
// columns is factored, the rows above it are solved for, and what they explain is taken off the rest.
struct FactorJob final : DenseJob {
  static constexpr int kBlock = 64;
  float* h = nullptr;
  int n = 0;
  int begin = 0, end = 0;  // the block
  enum Stage { Start, Solve, Update } stage = Start;

  float* at(int i, int j) { return h + static_cast<size_t>(i) * n + j; }

  int next() override {
    if (stage == Solve && begin > 0) {
      stage = Update;
      return updateTiles();
    }
    // A block begins: behind the last one, or where the one before began.
    end = stage == Start ? n : begin;
    if (end == 0) return 0;
    begin = std::max(0, end - kBlock);
    if (!factorBlock()) {
      error = "the matrix isn't positive definite";
      return 0;
    }
    stage = Solve;
    return begin > 0 ? (begin + kTileRows - 1) / kTileRows : 1;
  }

  void work(int chunk, int thread) override {
    if (stage == Solve) solveRows(chunk * kTileRows, std::min(begin, (chunk + 1) * kTileRows));
    else updateTile(chunk, thread);
  }

 private:
  bool factorBlock() {
    for (int k = end - 1; k >= begin; k--) {
      double pivot = *at(k, k);
      for (int m = k + 1; m < end; m++) pivot -= static_cast<double>(*at(k, m)) * *at(k, m);
      if (!(pivot > 0)) return false;
      const auto root = static_cast<float>(std::sqrt(pivot));
      *at(k, k) = root;
      for (int i = begin; i < k; i++) {
        double value = *at(i, k);
        for (int m = k + 1; m < end; m++) value -= static_cast<double>(*at(i, m)) * *at(k, m);
        *at(i, k) = static_cast<float>(value / root);
      }
    }
    return true;
  }

  void solveRows(int from, int to) {
    for (int i = from; i < to; i++) {
      for (int k = end - 1; k >= begin; k--) {
        float value = *at(i, k);
        for (int m = k + 1; m < end; m++) value -= *at(i, m) * *at(k, m);
        *at(i, k) = value / *at(k, k);
      }
    }
  }

  int updateTiles() const { return ((begin + kTileRows - 1) / kTileRows) * ((begin + kTileCols - 1) / kTileCols); }
  void updateTile(int chunk, int thread) {
    const int across = (begin + kTileCols - 1) / kTileCols;
    const int i = chunk / across * kTileRows, j = chunk % across * kTileCols;
    const int cols = std::min(kTileCols, begin - j);
    if (j + cols <= i) return;
    const auto ld = static_cast<size_t>(n);
    const MatrixView left{at(i, begin), ld, 1}, right{at(j, begin), 1, ld};
    dense->product(left, right, std::min(kTileRows, begin - i), cols, end - begin, -1, at(i, j), ld, scratchOf(thread));
  }
};

// The inverse V of a unit upper triangular matrix M, a tile of columns a chunk: from the last rows to the first, a
// block of rows of V is that of the identity, less what M takes of the rows below, less what it takes within the block.
struct InvertJob final : DenseJob {
  const float* m = nullptr;
  float* v = nullptr;
  int n = 0;
  bool begun = false;

  int next() override {
    if (begun) return 0;
    begun = true;
    return (n + kTileCols - 1) / kTileCols;
  }
  void work(int chunk, int thread) override {
    const int first = chunk * kTileCols, cols = std::min(kTileCols, n - first);
    const auto ld = static_cast<size_t>(n), col = static_cast<size_t>(first);
    for (int end = n; end > 0;) {
      const int begin = std::max(0, end - kTileRows);
      for (int i = begin; i < end; i++) {
        for (int j = 0; j < cols; j++) v[i * ld + col + j] = i == first + j ? 1.0f : 0.0f;
      }
      // V is upper triangular, too: nothing lies below the tile's last column.
      const int last = std::min(n, first + cols);
      if (end < last) {
        const MatrixView left{m + begin * ld + end, ld, 1}, right{v + end * ld + col, ld, 1};
        dense->product(left, right, end - begin, cols, last - end, -1, v + begin * ld + col, ld, scratchOf(thread));
      }
      for (int i = end - 2; i >= begin && begin < last; i--) {
        for (int k = i + 1; k < end; k++) {
          dense->addScaled(v + k * ld + col, -m[i * ld + k], static_cast<size_t>(cols), v + i * ld + col);
        }
      }
      end = begin;
    }
  }
};

template <typename J>
std::unique_ptr<J> makeJob(Call& call, const std::shared_ptr<Computer>& computer) {
  std::unique_ptr<J> job(new (std::nothrow) J());
  if (!job) {
    call.fail(kMemoryError, "no memory for a job");
    return nullptr;
  }
  job->dense = &denseOf(*computer->kernels);
  job->scratch.resize(kTileScratch * static_cast<size_t>(computer->team()->threads()));
  return job;
}

}  // namespace

// (team, a, b, c, rows, cols, terms, flags): c[rows, cols] += a · b, all row-major. A transposed a is
// stored as [terms, rows], a transposed b as [cols, terms]. `upper`: only tiles that touch the upper triangle.
napi_value addProduct(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto computer = handle<Computer>(call, call.at(0), Kind::Team);
  auto a = call.floats(call.at(1));
  auto b = call.floats(call.at(2));
  auto c = call.floats(call.at(3));
  const int rows = static_cast<int>(call.integer(call.at(4), 1, INT32_MAX));
  const int cols = static_cast<int>(call.integer(call.at(5), 1, INT32_MAX));
  const int terms = static_cast<int>(call.integer(call.at(6), 1, INT32_MAX));
  // Bit 0: a is transposed; 1: b is; 2: the upper triangle alone.
  const int64_t flags = call.integer(call.at(7), 0, 7);
  if (call.failed) return nullptr;
  const auto m = static_cast<size_t>(rows), n = static_cast<size_t>(cols), k = static_cast<size_t>(terms);
  if (a.size != m * k || b.size != k * n || c.size != m * n) {
    call.fail(kNativeError, "the matrices don't fit each other");
    return nullptr;
  }
  auto job = makeJob<ProductJob>(call, computer);
  if (!job) return nullptr;
  job->a = (flags & 1) != 0 ? MatrixView{a.data, 1, m} : MatrixView{a.data, k, 1};
  job->b = (flags & 2) != 0 ? MatrixView{b.data, 1, k} : MatrixView{b.data, n, 1};
  job->upper = (flags & 4) != 0;
  job->rows = rows;
  job->cols = cols;
  job->terms = terms;
  job->c = c.data;
  return start(call, std::move(job), computer->team());
}

// (team, h, n): the upper triangle of h [n, n] becomes U with h = U Uᵀ; rejects where h isn't positive definite.
napi_value factor(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto computer = handle<Computer>(call, call.at(0), Kind::Team);
  auto h = call.floats(call.at(1));
  const int n = static_cast<int>(call.integer(call.at(2), 1, 65536));
  if (call.failed) return nullptr;
  if (h.size != static_cast<size_t>(n) * static_cast<size_t>(n)) {
    call.fail(kNativeError, "the matrix isn't square");
    return nullptr;
  }
  auto job = makeJob<FactorJob>(call, computer);
  if (!job) return nullptr;
  job->h = h.data;
  job->n = n;
  return start(call, std::move(job), computer->team());
}

// (team, m, n, out): the inverse of a unit upper triangular matrix [n, n].
napi_value invertUnit(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto computer = handle<Computer>(call, call.at(0), Kind::Team);
  auto m = call.floats(call.at(1));
  const int n = static_cast<int>(call.integer(call.at(2), 1, 65536));
  auto out = call.floats(call.at(3));
  if (call.failed) return nullptr;
  if (m.size != static_cast<size_t>(n) * static_cast<size_t>(n) || out.size != m.size) {
    call.fail(kNativeError, "the matrices aren't square, or of other sizes");
    return nullptr;
  }
  auto job = makeJob<InvertJob>(call, computer);
  if (!job) return nullptr;
  job->m = m.data;
  job->v = out.data;
  job->n = n;
  return start(call, std::move(job), computer->team());
}

}  // namespace millrace
