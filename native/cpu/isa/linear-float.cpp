// y = W x of the plain formats; see linear.cpp.
#include <cstring>

#include "isa/linear-shared.h"

namespace millrace::MILLRACE_ISA {

namespace {

struct PlainF32 {
  using Value = float;
  MILLRACE_INLINE F32 at(const float* p) { return load(p); }
};
struct PlainF16 {
  using Value = uint16_t;
  MILLRACE_INLINE F32 at(const uint16_t* p) { return loadHalf(p); }
};
struct PlainBF16 {
  using Value = uint16_t;
  MILLRACE_INLINE F32 at(const uint16_t* p) { return loadBrain(p); }
};

const float* rowOf(const LinearArgs& a, int i) {
  return a.x + static_cast<size_t>(a.rowIndex ? a.rowIndex[i] : i) * a.ldx;
}

// The groups g, g + apart, … of so many streams: as many chains as hide the latency of an FMA.
template <typename L, int Groups, int Rows>
void floatStreams(const LinearArgs& a, int row, int g, int apart) {
  using Value = typename L::Value;
  const int cols = a.w->cols;
  const float* x[Rows];
  const Value* w[Groups];
  F32 acc[Groups][Rows][kParts];
  for (int r = 0; r < Rows; r++) x[r] = rowOf(a, row + r);
  for (int i = 0; i < Groups; i++) {
    w[i] = reinterpret_cast<const Value*>(groupOf(a, g + apart * i));
    for (int r = 0; r < Rows; r++) {
      for (int part = 0; part < kParts; part++) acc[i][r][part] = zero();
    }
  }
  constexpr int valuesPerLine = 64 / static_cast<int>(sizeof(Value));
  for (int k = 0; k < cols; k++) {
    const int at = kGroupRows * k;
    MILLRACE_UNROLL
    for (int i = 0; i < Groups; i++) {
      if (at % valuesPerLine == 0) __builtin_prefetch(w[i] + at + kAhead / static_cast<int>(sizeof(Value)));
      MILLRACE_UNROLL
      for (int part = 0; part < kParts; part++) {
        const F32 weights = L::at(w[i] + at + kLanes * part);
        MILLRACE_UNROLL
        for (int r = 0; r < Rows; r++) acc[i][r][part] = fma(weights, splat(x[r][k]), acc[i][r][part]);
      }
    }
  }
  for (int i = 0; i < Groups; i++) {
    for (int r = 0; r < Rows; r++) {
      alignas(64) float out[kGroupRows];
      for (int part = 0; part < kParts; part++) store(out + kLanes * part, acc[i][r][part]);
      finish(a, row + r, g + apart * i, out);
    }
  }
}

template <typename L, int Rows>
void floatFew(const LinearArgs& a, int row, int g0, int g1) {
  constexpr int chains = 8 / (kParts * Rows), groups = chains > 1 ? chains : 1;
  const int each = (g1 - g0) / groups;
  for (int i = 0; i < each; i++) floatStreams<L, groups, Rows>(a, row, g0 + i, each);
  for (int g = g0 + groups * each; g < g1; g++) floatStreams<L, 1, Rows>(a, row, g, 1);
}

constexpr int kTileRows = kLanes == 16 ? 12 : 6;
constexpr int kChunk = 256;  // columns of a panel that stay in the first-level cache

// Rows × one group over `cols` columns: w [cols, 16], x [Rows, kChunk], acc [Rows, 16]. Weights are widened once for
// each tile, by units that the multiplications leave free. `next`: what will be wanted after this, fetched on the way.
template <typename L, int Rows>
void floatTile(const typename L::Value* w, const typename L::Value* next, const float* x, int cols, float* acc) {
  F32 sum[Rows][kParts];
  for (int m = 0; m < Rows; m++) {
    for (int part = 0; part < kParts; part++) sum[m][part] = load(acc + kGroupRows * m + kLanes * part);
  }
  for (int k = 0; k < cols; k++) {
    F32 weights[kParts];
    __builtin_prefetch(next + kGroupRows * k);
    for (int part = 0; part < kParts; part++) weights[part] = L::at(w + kGroupRows * k + kLanes * part);
    for (int m = 0; m < Rows; m++) {
      const F32 xs = splat(x[kChunk * m + k]);
      for (int part = 0; part < kParts; part++) sum[m][part] = fma(weights[part], xs, sum[m][part]);
    }
  }
  for (int m = 0; m < Rows; m++) {
    for (int part = 0; part < kParts; part++) store(acc + kGroupRows * m + kLanes * part, sum[m][part]);
  }
}

template <typename L, int Rows>
void floatTileOf(int rows, const typename L::Value* w, const typename L::Value* next, const float* x, int cols,
                 float* acc) {
  if (rows == Rows) return floatTile<L, Rows>(w, next, x, cols, acc);
  if constexpr (Rows > 1) floatTileOf<L, Rows - 1>(rows, w, next, x, cols, acc);
}

// Rows rowBegin … of the call as panel[chunk][row][kChunk], the last chunk shorter than its place.
void fillFloatPanel(const LinearArgs& a, int rowBegin, int rows, float* panel) {
  for (int k = 0; k < a.w->cols; k += kChunk) {
    const size_t n = static_cast<size_t>(std::min(kChunk, a.w->cols - k));
    for (int i = 0; i < rows; i++, panel += kChunk) std::memcpy(panel, rowOf(a, rowBegin + i) + k, n * sizeof(float));
  }
}

// Several groups share a chunk of the panel while it lies in the first-level cache.
template <typename L>
void floatPanel(const LinearArgs& a, int rowBegin, int rows, int g0, int g1, const float* panel, float* acc) {
  using Value = typename L::Value;
  const int cols = a.w->cols;
  const int tiles = (rows + kTileRows - 1) / kTileRows;
  for (int g = g0; g < g1; g += kStreams) {
    const int groups = std::min(kStreams, g1 - g);
    std::fill_n(acc, kGroupRows * rows * groups, 0.0f);
    for (int k = 0; k < cols; k += kChunk) {
      const int n = std::min(kChunk, cols - k);
      for (int j = 0; j < groups; j++) {
        const Value* w = reinterpret_cast<const Value*>(groupOf(a, g + j)) + kGroupRows * static_cast<size_t>(k);
        const Value* next =
            j + 1 < groups
                ? reinterpret_cast<const Value*>(groupOf(a, g + j + 1)) + kGroupRows * static_cast<size_t>(k)
                : reinterpret_cast<const Value*>(groupOf(a, g)) + kGroupRows * static_cast<size_t>(k + kChunk);
        // Tiles of nearly the same size: a small one would leave the FMA units waiting.
        for (int t = 0; t < tiles; t++) {
          const int m = rows * t / tiles, end = rows * (t + 1) / tiles;
          const float* x = panel + static_cast<size_t>(k) * static_cast<size_t>(rows) + kChunk * m;
          floatTileOf<L, kTileRows>(end - m, w, t == 0 ? next : w, x, n, acc + kGroupRows * (rows * j + m));
        }
      }
    }
    for (int j = 0; j < groups; j++) {
      for (int m = 0; m < rows; m++) finish(a, rowBegin + m, g + j, acc + kGroupRows * (rows * j + m));
    }
  }
}

template <typename L>
void floatLinear(const LinearArgs& a, int g0, int g1, uint8_t* scratch) {
  const int most = panelRows(a.w->cols, a.rows, 4);
  float* acc = reinterpret_cast<float*>(scratch);
  float* panel = acc + kGroupRows * kStreams * most;
  for (int row = 0; row < a.rows; row += most) {
    const int rows = std::min(most, a.rows - row);
    switch (rows) {
      case 1:
        floatFew<L, 1>(a, row, g0, g1);
        break;
      case 2:
        floatFew<L, 2>(a, row, g0, g1);
        break;
      case 3:
        floatFew<L, 3>(a, row, g0, g1);
        break;
      case 4:
        floatFew<L, 4>(a, row, g0, g1);
        break;
      default:
        fillFloatPanel(a, row, rows, panel);
        floatPanel<L>(a, row, rows, g0, g1, panel, acc);
    }
  }
}

}  // namespace

void linearFloat(const LinearArgs& a, int groupBegin, int groupEnd, uint8_t* scratch) {
  switch (a.w->format) {
#define MILLRACE_CASE(name, cols) \
  case Format::name:              \
    return floatLinear<Plain##name>(a, groupBegin, groupEnd, scratch);
    MILLRACE_PLAIN_FORMATS(MILLRACE_CASE)
#undef MILLRACE_CASE
    default:
      break;
  }
}

size_t linearFloatScratchBytes(const Matrix& w, int maxRows) {
  const size_t rows = static_cast<size_t>(panelRows(w.cols, std::max(maxRows, 1), 4));
  const size_t chunks = static_cast<size_t>((w.cols + kChunk - 1) / kChunk);
  return sizeof(float) * rows * (kGroupRows * kStreams + kChunk * chunks);
}

}  // namespace millrace::MILLRACE_ISA
