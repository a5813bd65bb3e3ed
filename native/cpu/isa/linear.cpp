// y = W x for every packed format (formats.h), one row or many, with one arithmetic for all row counts:
//
// int8 formats: K goes by in blocks of 32 columns (16 where a format has a scale for 16). A block's dot product is an
// exact integer; then acc = fma(float(dot), scale_w · scale_x, acc), and where the format has a minimum
// acc = fma(min_w, scale_x · Σx, acc), blocks in rising order.
// float formats: one chain acc = fma(w, x, acc) over k.
// At the end + bias, + residual.
//
// Every output has its own chain in its own lane, so neither the number of rows nor the range of groups can change its
// bits. What differs is only how often a weight is unpacked: one row goes straight through (limit: memory bandwidth);
// for more rows a block is unpacked once into registers and multiplied with each row of the panel (limit: the integer
// or FMA units). The activations are first laid out as a panel in the order of use, 64 bytes a block and row.
#include "isa/linear.h"

#include <algorithm>

#include "isa/vec.h"
#include "sabotage.h"

namespace millrace::MILLRACE_ISA {

namespace {

using namespace vec;

// A block of 32 activations of one row, with what the weights' offset and minimum make of their sums.
struct alignas(64) ActBlock {
  int8_t codes[32];
  float scale;
  int32_t init[2];     // −offset · Σ, of both halves (init[0] of all 32 where the scale is for 32)
  float scaledSum[2];  // scale · Σ
};

// 32 columns of one part (kLanes rows), unpacked.
template <int Scales>
struct Weights {
  Bytes codes[8];
  F32 scale[Scales];
  F32 min[Scales];
};

// --- Formats: what a block is and how it is unpacked --------------------------------------------------------------
// kBits: of a code (8: signed). kOffset: taken off a code. kScales: 1, or 2 for a scale per 16 columns.

MILLRACE_VEC void unpackNibbles(const uint8_t* codes, Bytes* out) {
  for (int j = 0; j < 4; j++) {
    const Bytes both = loadBytes(codes + 64 * j);
    out[j] = bits<0, 15>(both);
    out[4 + j] = bits<4, 15>(both);
  }
}
MILLRACE_VEC void unpackBytes(const uint8_t* codes, Bytes* out) {
  for (int j = 0; j < 8; j++) out[j] = signedCodes(loadBytes(codes + 64 * j));
}

struct Q4_0 {
  using Block = BlockQ4_0;
  static constexpr int kBits = 4, kOffset = 8, kScales = 1;
  static constexpr bool kMin = false;
  MILLRACE_VEC void unpack(const uint8_t* group, int b, int part, Weights<1>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b];
    unpackNibbles(block.codes + 4 * kLanes * part, w.codes);
    w.scale[0] = loadHalf(block.scale + kLanes * part);
  }
};
struct Q4_1 {
  using Block = BlockQ4_1;
  static constexpr int kBits = 4, kOffset = 0, kScales = 1;
  static constexpr bool kMin = true;
  MILLRACE_VEC void unpack(const uint8_t* group, int b, int part, Weights<1>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b];
    unpackNibbles(block.codes + 4 * kLanes * part, w.codes);
    w.scale[0] = loadHalf(block.scale + kLanes * part);
    w.min[0] = loadHalf(block.min + kLanes * part);
  }
};
struct Q8_0 {
  using Block = BlockQ8_0;
  static constexpr int kBits = 8, kOffset = 0, kScales = 1;
  static constexpr bool kMin = false;
  MILLRACE_VEC void unpack(const uint8_t* group, int b, int part, Weights<1>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b];
    unpackBytes(block.codes + 4 * kLanes * part, w.codes);
    w.scale[0] = loadHalf(block.scale + kLanes * part);
  }
};
struct Q4_K {
  using Block = BlockQ4_K;
  static constexpr int kBits = 4, kOffset = 0, kScales = 1;
  static constexpr bool kMin = true;
  MILLRACE_VEC void unpack(const uint8_t* group, int b, int part, Weights<1>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b / 8];
    const Block::Sub& sub = block.sub[b % 8];
    unpackNibbles(sub.codes + 4 * kLanes * part, w.codes);
    w.scale[0] = mul(loadHalf(block.d + kLanes * part), loadInt8(sub.scale + kLanes * part));
    w.min[0] = mul(loadHalf(block.dmin + kLanes * part), loadInt8(sub.min + kLanes * part));
  }
};
struct Q5_K {
  using Block = BlockQ5_K;
  static constexpr int kBits = 5, kOffset = 0, kScales = 1;
  static constexpr bool kMin = true;
  MILLRACE_VEC void unpack(const uint8_t* group, int b, int part, Weights<1>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b / 8];
    const Block::Sub& sub = block.sub[b % 8];
    unpackNibbles(sub.codes + 4 * kLanes * part, w.codes);
    const Bytes high = loadBytes(sub.high + 4 * kLanes * part);
    w.codes[0] = join(w.codes[0], bits<-4, 16>(high));
    w.codes[1] = join(w.codes[1], bits<-3, 16>(high));
    w.codes[2] = join(w.codes[2], bits<-2, 16>(high));
    w.codes[3] = join(w.codes[3], bits<-1, 16>(high));
    w.codes[4] = join(w.codes[4], bits<0, 16>(high));
    w.codes[5] = join(w.codes[5], bits<1, 16>(high));
    w.codes[6] = join(w.codes[6], bits<2, 16>(high));
    w.codes[7] = join(w.codes[7], bits<3, 16>(high));
    w.scale[0] = mul(loadHalf(block.d + kLanes * part), loadInt8(sub.scale + kLanes * part));
    w.min[0] = mul(loadHalf(block.dmin + kLanes * part), loadInt8(sub.min + kLanes * part));
  }
};
struct Q6_K {
  using Block = BlockQ6_K;
  static constexpr int kBits = 6, kOffset = 32, kScales = 2;
  static constexpr bool kMin = false;
  MILLRACE_VEC void unpack(const uint8_t* group, int b, int part, Weights<2>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b / 8];
    const Block::Sub& sub = block.sub[b % 8];
    unpackNibbles(sub.codes + 4 * kLanes * part, w.codes);
    for (int h = 0; h < 2; h++) {
      const Bytes high = loadBytes(sub.high + 64 * h + 4 * kLanes * part);
      Bytes* codes = w.codes + 4 * h;
      codes[0] = join(codes[0], bits<-4, 48>(high));
      codes[1] = join(codes[1], bits<-2, 48>(high));
      codes[2] = join(codes[2], bits<0, 48>(high));
      codes[3] = join(codes[3], bits<2, 48>(high));
      w.scale[h] = mul(loadHalf(block.d + kLanes * part), loadInt8(sub.scale[h] + kLanes * part));
    }
  }
};
template <typename B, int Scales, bool Min>
struct General {
  using Block = B;
  static constexpr int kBits = 8, kOffset = 0, kScales = Scales;
  static constexpr bool kMin = Min;
  MILLRACE_VEC void unpack(const uint8_t* group, int b, int part, Weights<Scales>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b];
    unpackBytes(block.codes + 4 * kLanes * part, w.codes);
    const float* scale = reinterpret_cast<const float*>(&block);  // then, where there is one, the minimum
    for (int h = 0; h < Scales; h++) {
      w.scale[h] = load(scale + 16 * h + kLanes * part);
      if constexpr (Min) w.min[h] = load(scale + 16 * (Scales + h) + kLanes * part);
    }
  }
};

// --- Integer kernels ----------------------------------------------------------------------------------------------

template <typename L>
MILLRACE_VEC F32 accumulate(const Weights<L::kScales>& w, const ActBlock& x, F32 acc) {
  constexpr int steps = 8 / L::kScales;
  constexpr bool hasInit = L::kOffset != 0 || (L::kBits == 8 && kSignedOffset != 0);
  for (int h = 0; h < L::kScales; h++) {
    const I32 sum = dot<L::kBits, steps>(w.codes + steps * h, x.codes + 4 * steps * h, hasInit ? x.init[h] : 0);
    acc = fma(toFloat(sum), mul(w.scale[h], splat(x.scale)), acc);
    if constexpr (L::kMin) acc = fma(w.min[h], splat(x.scaledSum[h]), acc);
  }
  return acc;
}

// Rows rowBegin … of the call as panel[block][row].
template <typename L>
void fillPanel(const LinearArgs& a, int rowBegin, int rows, ActBlock* panel) {
  const int cols = a.w->cols, blocks = cols / kActBlock;
  constexpr int offset = L::kOffset + (L::kBits == 8 ? kSignedOffset : 0);
  for (int i = 0; i < rows; i++) {
    const size_t row = static_cast<size_t>(a.rowIndex ? a.rowIndex[rowBegin + i] : rowBegin + i);
    const int8_t* codes = a.x8.codes + row * static_cast<size_t>(cols);
    const float* scales = a.x8.scales + row * static_cast<size_t>(blocks);
    const int32_t* sums = a.x8.sums + row * static_cast<size_t>(2 * blocks);
    for (int b = 0; b < blocks; b++) {
      ActBlock& out = panel[static_cast<size_t>(b) * static_cast<size_t>(rows) + static_cast<size_t>(i)];
      std::memcpy(out.codes, codes + 32 * b, 32);
      out.scale = scales[b];
      const int32_t first = L::kScales == 1 ? sums[2 * b] + sums[2 * b + 1] : sums[2 * b];
      const int32_t second = L::kScales == 1 ? 0 : sums[2 * b + 1];
      out.init[0] = -offset * first;
      out.init[1] = -offset * second;
      out.scaledSum[0] = out.scale * static_cast<float>(first);
      out.scaledSum[1] = out.scale * static_cast<float>(second);
    }
  }
}

// Output row i, group g from the accumulators.
MILLRACE_VEC void finish(const LinearArgs& a, int i, int g, const float* acc) {
  const int n = g * kGroupRows;
  float* y = a.y + static_cast<size_t>(i) * a.ldy + n;
  const float* bias = a.bias ? a.bias + n : nullptr;
  const float* residual = a.residual ? a.residual + static_cast<size_t>(i) * a.ldr + n : nullptr;
  if (n + kGroupRows <= a.w->rows) {
    for (int part = 0; part < kParts; part++) {
      F32 v = load(acc + kLanes * part);
      if (bias) v = add(v, load(bias + kLanes * part));
      if (residual) v = add(v, load(residual + kLanes * part));
      store(y + kLanes * part, v);
    }
    return;
  }
  for (int r = 0; n + r < a.w->rows; r++) {
    float v = acc[r];
    if (bias) v += bias[r];
    if (residual) v += residual[r];
    y[r] = v;
  }
}

MILLRACE_VEC const uint8_t* groupOf(const LinearArgs& a, int g) {
  return a.w->data + static_cast<size_t>(a.expert) * a.w->expertBytes + static_cast<size_t>(g) * a.w->groupBytes;
}

// Bytes that a kernel runs ahead of itself with prefetches.
constexpr int kAhead = 4096;
MILLRACE_VEC void prefetch(const uint8_t* p, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(p + kAhead + i);
}
template <typename L>
MILLRACE_VEC void prefetchBlock(const uint8_t* group, int b) {
  // A K format's 256 columns hold eight blocks.
  constexpr size_t bytes = sizeof(typename L::Block) > 1024 ? sizeof(typename L::Block) / 8 : sizeof(typename L::Block);
  prefetch(group + bytes * static_cast<size_t>(b), bytes);
}

// One row.
template <typename L>
void gemv(const LinearArgs& a, int row, int g0, int g1, const ActBlock* panel) {
  const int blocks = a.w->cols / kActBlock;
  for (int g = g0; g < g1; g++) {
    const uint8_t* group = groupOf(a, g);
    F32 acc[kParts];
    for (int part = 0; part < kParts; part++) acc[part] = zero();
    for (int b = 0; b < blocks; b++) {
      prefetchBlock<L>(group, b);
      for (int part = 0; part < kParts; part++) {
        Weights<L::kScales> w;
        L::unpack(group, b, part, w);
        acc[part] = accumulate<L>(w, panel[b], acc[part]);
      }
    }
    alignas(64) float out[kGroupRows];
    for (int part = 0; part < kParts; part++) store(out + kLanes * part, acc[part]);
    finish(a, row, g, out);
  }
}

// Rows rowBegin … of the panel, in blocks from `first` on in steps of `step`.
template <typename L>
MILLRACE_VEC void multiplyGroup(const uint8_t* group, int blocks, const ActBlock* panel, int panelRows, int rowBegin,
                                int rowEnd, bool backwards, float* acc) {
  for (int i = 0; i < blocks; i++) {
    const int b = backwards ? blocks - 1 - i : i;
    prefetchBlock<L>(group, b);
    const ActBlock* x = panel + static_cast<size_t>(b) * static_cast<size_t>(panelRows);
    for (int part = 0; part < kParts; part++) {
      Weights<L::kScales> w;
      L::unpack(group, b, part, w);
      for (int m = rowBegin; m < rowEnd; m++) {
        float* out = acc + kGroupRows * m + kLanes * part;
        store(out, accumulate<L>(w, x[m], load(out)));
      }
    }
  }
}

// A panel's rows; each block of weights is unpacked once for all of them.
template <typename L>
void multiplyPanel(const LinearArgs& a, int rowBegin, int rows, int g0, int g1, const ActBlock* panel, float* acc,
                   bool sabotaged) {
  const int blocks = a.w->cols / kActBlock;
  for (int g = g0; g < g1; g++) {
    const uint8_t* group = groupOf(a, g);
    std::fill_n(acc, kGroupRows * rows, 0.0f);
    if (sabotaged && rows > 3) {
      multiplyGroup<L>(group, blocks, panel, rows, 0, 3, false, acc);
      multiplyGroup<L>(group, blocks, panel, rows, 3, rows, true, acc);
    } else {
      multiplyGroup<L>(group, blocks, panel, rows, 0, rows, false, acc);
    }
    for (int m = 0; m < rows; m++) finish(a, rowBegin + m, g, acc + kGroupRows * m);
  }
}

constexpr int kFewRows = 16;       // at most: a panel of its own, as the weights come from memory
constexpr int kMostRows = 128;     // of a panel
constexpr int kPanelBytes = 1 << 18;  // a panel stays in L2

int panelRows(int cols, int rows, int bytesPerCol) {
  const int fit = kPanelBytes / (std::max(cols, 1) * bytesPerCol) / 8 * 8;
  return std::min(rows, std::clamp(fit, kFewRows, kMostRows));
}

template <typename L>
void integerLinear(const LinearArgs& a, int g0, int g1, uint8_t* scratch) {
  const int most = panelRows(a.w->cols, a.rows, 2);
  float* acc = reinterpret_cast<float*>(scratch);
  ActBlock* panel = reinterpret_cast<ActBlock*>(scratch + sizeof(float) * kGroupRows * static_cast<size_t>(most));
  const bool sabotaged = a.rows <= kFewRows && sabotage.load(std::memory_order_relaxed);
  for (int row = 0; row < a.rows; row += most) {
    const int rows = std::min(most, a.rows - row);
    fillPanel<L>(a, row, rows, panel);
    if (rows == 1) gemv<L>(a, row, g0, g1, panel);
    else multiplyPanel<L>(a, row, rows, g0, g1, panel, acc, sabotaged);
  }
}

// --- Float kernels ------------------------------------------------------------------------------------------------

struct PlainF32 {
  using Value = float;
  MILLRACE_VEC F32 at(const float* p) { return load(p); }
};
struct PlainF16 {
  using Value = uint16_t;
  MILLRACE_VEC F32 at(const uint16_t* p) { return loadHalf(p); }
};
struct PlainBF16 {
  using Value = uint16_t;
  MILLRACE_VEC F32 at(const uint16_t* p) { return loadBrain(p); }
};

const float* rowOf(const LinearArgs& a, int i) {
  return a.x + static_cast<size_t>(a.rowIndex ? a.rowIndex[i] : i) * a.ldx;
}

// One row, Groups groups at a time: as many chains as hide the latency of an FMA.
template <typename L, int Groups>
MILLRACE_VEC void gemvGroups(const LinearArgs& a, int row, int g) {
  using Value = typename L::Value;
  const float* x = rowOf(a, row);
  const int cols = a.w->cols;
  const Value* w[Groups];
  F32 acc[Groups][kParts];
  for (int i = 0; i < Groups; i++) {
    w[i] = reinterpret_cast<const Value*>(groupOf(a, g + i));
    for (int part = 0; part < kParts; part++) acc[i][part] = zero();
  }
  constexpr int valuesPerLine = 64 / static_cast<int>(sizeof(Value));
  for (int k = 0; k < cols; k++) {
    const F32 xs = splat(x[k]);
    const int at = kGroupRows * k;
    for (int i = 0; i < Groups; i++) {
      if (at % valuesPerLine == 0) __builtin_prefetch(w[i] + at + 1024 / static_cast<int>(sizeof(Value)));
      for (int part = 0; part < kParts; part++) acc[i][part] = fma(L::at(w[i] + at + kLanes * part), xs, acc[i][part]);
    }
  }
  for (int i = 0; i < Groups; i++) {
    alignas(64) float out[kGroupRows];
    for (int part = 0; part < kParts; part++) store(out + kLanes * part, acc[i][part]);
    finish(a, row, g + i, out);
  }
}

template <typename L>
void floatGemv(const LinearArgs& a, int row, int g0, int g1) {
  int g = g0;
  for (; g + 4 <= g1; g += 4) gemvGroups<L, 4>(a, row, g);
  for (; g < g1; g++) gemvGroups<L, 1>(a, row, g);
}

// Rows × one group over `cols` columns: w [cols, 16], acc [Rows, 16].
template <int Rows>
MILLRACE_VEC void floatTile(const float* w, const float* const* x, int cols, float* acc) {
  F32 sum[Rows][kParts];
  for (int m = 0; m < Rows; m++) {
    for (int part = 0; part < kParts; part++) sum[m][part] = load(acc + kGroupRows * m + kLanes * part);
  }
  for (int k = 0; k < cols; k++) {
    F32 weights[kParts];
    for (int part = 0; part < kParts; part++) weights[part] = load(w + kGroupRows * k + kLanes * part);
    for (int m = 0; m < Rows; m++) {
      const F32 xs = splat(x[m][k]);
      for (int part = 0; part < kParts; part++) sum[m][part] = fma(weights[part], xs, sum[m][part]);
    }
  }
  for (int m = 0; m < Rows; m++) {
    for (int part = 0; part < kParts; part++) store(acc + kGroupRows * m + kLanes * part, sum[m][part]);
  }
}

constexpr int kTileRows = kLanes == 16 ? 12 : 6;
constexpr int kChunk = 128;  // columns whose weights are widened at a time

template <int Rows>
void floatTileOf(int rows, const float* w, const float* const* x, int cols, float* acc) {
  if (rows == Rows) return floatTile<Rows>(w, x, cols, acc);
  if constexpr (Rows > 1) floatTileOf<Rows - 1>(rows, w, x, cols, acc);
}

template <typename L>
void floatPanel(const LinearArgs& a, int rowBegin, int rows, int g0, int g1, float* acc, float* wide) {
  using Value = typename L::Value;
  const int cols = a.w->cols;
  for (int g = g0; g < g1; g++) {
    const Value* group = reinterpret_cast<const Value*>(groupOf(a, g));
    std::fill_n(acc, kGroupRows * rows, 0.0f);
    for (int k = 0; k < cols; k += kChunk) {
      const int n = std::min(kChunk, cols - k);
      const Value* source = group + static_cast<size_t>(kGroupRows) * static_cast<size_t>(k);
      const float* w;
      if constexpr (sizeof(Value) == sizeof(float)) {
        w = source;
      } else {
        for (int i = 0; i < kGroupRows * n; i += kLanes) store(wide + i, L::at(source + i));
        w = wide;
      }
      for (int m = 0; m < rows; m += kTileRows) {
        const int tile = std::min(kTileRows, rows - m);
        const float* x[kTileRows];
        for (int i = 0; i < tile; i++) x[i] = rowOf(a, rowBegin + m + i) + k;
        floatTileOf<kTileRows>(tile, w, x, n, acc + kGroupRows * m);
      }
    }
    for (int m = 0; m < rows; m++) finish(a, rowBegin + m, g, acc + kGroupRows * m);
  }
}

template <typename L>
void floatLinear(const LinearArgs& a, int g0, int g1, uint8_t* scratch) {
  const int most = panelRows(a.w->cols, a.rows, 4);
  float* wide = reinterpret_cast<float*>(scratch);
  float* acc = wide + kGroupRows * kChunk;
  for (int row = 0; row < a.rows; row += most) {
    const int rows = std::min(most, a.rows - row);
    if (rows == 1) floatGemv<L>(a, row, g0, g1);
    else floatPanel<L>(a, row, rows, g0, g1, acc, wide);
  }
}

}  // namespace

void linear(const LinearArgs& a, int groupBegin, int groupEnd, uint8_t* scratch) {
  switch (a.w->format) {
    case Format::F32: return floatLinear<PlainF32>(a, groupBegin, groupEnd, scratch);
    case Format::F16: return floatLinear<PlainF16>(a, groupBegin, groupEnd, scratch);
    case Format::BF16: return floatLinear<PlainBF16>(a, groupBegin, groupEnd, scratch);
    case Format::Q4_0: return integerLinear<Q4_0>(a, groupBegin, groupEnd, scratch);
    case Format::Q4_1: return integerLinear<Q4_1>(a, groupBegin, groupEnd, scratch);
    case Format::Q8_0: return integerLinear<Q8_0>(a, groupBegin, groupEnd, scratch);
    case Format::Q4_K: return integerLinear<Q4_K>(a, groupBegin, groupEnd, scratch);
    case Format::Q5_K: return integerLinear<Q5_K>(a, groupBegin, groupEnd, scratch);
    case Format::Q6_K: return integerLinear<Q6_K>(a, groupBegin, groupEnd, scratch);
    case Format::General16: return integerLinear<General<BlockGeneral16, 2, false>>(a, groupBegin, groupEnd, scratch);
    case Format::General16Min:
      return integerLinear<General<BlockGeneral16Min, 2, true>>(a, groupBegin, groupEnd, scratch);
    case Format::General32: return integerLinear<General<BlockGeneral32, 1, false>>(a, groupBegin, groupEnd, scratch);
    case Format::General32Min:
      return integerLinear<General<BlockGeneral32Min, 1, true>>(a, groupBegin, groupEnd, scratch);
    case Format::Count: break;
  }
}

size_t linearScratchBytes(const Matrix& w, int maxRows) {
  const int bytesPerCol = readsInt8(w.format) ? 2 : 4;
  const size_t rows = static_cast<size_t>(panelRows(w.cols, std::max(maxRows, 1), bytesPerCol));
  const size_t acc = sizeof(float) * kGroupRows * rows;
  if (!readsInt8(w.format)) return acc + sizeof(float) * kGroupRows * kChunk;
  return acc + sizeof(ActBlock) * rows * static_cast<size_t>(w.cols / kActBlock);
}

}  // namespace millrace::MILLRACE_ISA
