// The tile product of dense.h. a and b are packed, kRows rows and 16 columns side by side, so that the inner loop reads
// both in order: kRows multiply-adds of 16 lanes for one load of b and kRows broadcasts of a. On AVX-512 that is bound
// by the multiply-adds (two a cycle), on AVX2 nearly so.
#include "../dense.h"

#include <algorithm>

#include "vec.h"

namespace millrace::MILLRACE_ISA {

namespace {

using namespace lanes;

// As many sums as there are registers.
constexpr int kRows = vec::kParts == 1 ? 12 : 6;
static_assert(kTileRows % kRows == 0 && kTileCols % kLanes == 0);

// Runs of `width` rows (of a) or columns (of b) interleaved: [run][term][width], zeros beyond the edge.
void pack(const float* from, size_t across, size_t along, int count, int terms, int width, float* to) {
  for (int first = 0; first < count; first += width) {
    const int n = std::min(width, count - first);
    for (int p = 0; p < terms; p++, to += width) {
      const float* at = from + static_cast<size_t>(first) * across + static_cast<size_t>(p) * along;
      for (int i = 0; i < n; i++) to[i] = at[static_cast<size_t>(i) * across];
      for (int i = n; i < width; i++) to[i] = 0;
    }
  }
}

void block(const float* a, const float* b, int terms, float sign, int rows, int cols, float* c, size_t ldc) {
  F32 sum[kRows];
  MILLRACE_UNROLL
  for (int i = 0; i < kRows; i++) sum[i] = splat(0);
  for (int p = 0; p < terms; p++, a += kRows, b += kLanes) {
    const F32 right = load(b);
    MILLRACE_UNROLL
    for (int i = 0; i < kRows; i++) sum[i] = fma(splat(a[i]), right, sum[i]);
  }
  const F32 factor = splat(sign);
  for (int i = 0; i < kRows; i++) {
    if (i >= rows) break;
    float* at = c + static_cast<size_t>(i) * ldc;
    if (cols == kLanes) store(at, fma(factor, sum[i], load(at)));
    else storeFirst(at, fma(factor, sum[i], loadFirst(at, cols)), cols);
  }
}

void product(MatrixView a, MatrixView b, int rows, int cols, int terms, float sign, float* c, size_t ldc,
             float* scratch) {
  float *left = scratch, *right = scratch + static_cast<size_t>(kTileTerms) * kTileRows;
  for (int p = 0; p < terms; p += kTileTerms) {
    const int n = std::min(kTileTerms, terms - p);
    pack(a.at(0, static_cast<size_t>(p)), a.rowStride, a.colStride, rows, n, kRows, left);
    pack(b.at(static_cast<size_t>(p), 0), b.colStride, b.rowStride, cols, n, kLanes, right);
    for (int j = 0; j < cols; j += kLanes) {
      for (int i = 0; i < rows; i += kRows) {
        block(left + static_cast<size_t>(i) * n, right + static_cast<size_t>(j) * n, n, sign, std::min(kRows, rows - i),
              std::min(kLanes, cols - j), c + static_cast<size_t>(i) * ldc + j, ldc);
      }
    }
  }
}

void addScaled(const float* x, float factor, size_t n, float* y) {
  const F32 f = splat(factor);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, fma(f, load(x + i), load(y + i)));
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    storeFirst(y + i, fma(f, loadFirst(x + i, rest), loadFirst(y + i, rest)), rest);
  }
}

}  // namespace

extern const Dense dense;
const Dense dense = {.product = product, .addScaled = addScaled};

}  // namespace millrace::MILLRACE_ISA
