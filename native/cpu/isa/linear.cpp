// y = W x for every packed format (formats.h), one row or many, with one arithmetic for all row counts:
//
// int8 formats: K goes by in blocks of 32 columns (16 where a format has a scale for 16). A block's dot product is an
// exact integer; then acc = fma(float(dot), scale_w · scale_x, acc), and where the format has a minimum
// acc = fma(min_w, scale_x · Σx, acc), blocks in rising order.
// float formats: one chain acc = fma(w, x, acc) over k.
// At the end + bias, + residual.
//
// Every output has its own chain in its own lane, so neither the number of rows nor the range of groups can change its
// bits. What differs is only how often a weight is unpacked. Up to three rows (four of floats): once for all of them,
// straight from memory, in several streams; limit: memory bandwidth. More rows: a block is unpacked once and multiplied
// with tiles of rows of a panel, which holds the activations in the order of use, 64 bytes a block and row; limit: the
// integer or FMA units.
//
// Measured by bench/kernels, AVX2 on a Zen 3 at 3.25 GHz (two virtual processors, other work beside), 2048 x 2048,
// weights beyond the caches; % of probed read bandwidth (27 GB/s one thread, 54 two), % of the bare instructions' peak
// (166 GMAC/s a thread for codes up to 6 bits, 82 for 8 bits, 52 for FMA):
//
//              one row, 1 / 2 threads    8 rows, × one row    512 rows, one thread
//   Q4_0             86 / 88 %                3.7                113 GMAC/s  68 %
//   Q4_1             81 / 85 %                3.2                103 GMAC/s  62 %
//   Q8_0             92 / 91 %                3.7                 57 GMAC/s  69 %
//   Q4_K             81 / 79 %                3.6                104 GMAC/s  63 %
//   Q5_K             71 / 68 %                2.9                 99 GMAC/s  60 %
//   Q6_K             72 / 70 %                3.2                 70 GMAC/s  42 %
//   F16             101 / 101 %               2.6                 45 GMAC/s  87 %
//   F32             100 / 101 %               2.1                 40 GMAC/s  77 %
//
// A Q4 block of 32 columns and 8 lanes takes 20 vector operations (8 multiplications, 7 additions, and to finish:
// widen, offset, convert, scale, scale, accumulate), of which this processor does 3.2 a cycle: 133 GMAC/s is what this
// arithmetic allows, and 8 rows against one can't come below 2.7 where memory is this fast.
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

// 32 columns of so many parts (of kLanes rows), unpacked.
template <int Scales, int Parts>
struct Weights {
  Bytes codes[8][Parts];
  F32 scale[Scales][Parts];
  F32 min[Scales][Parts];
};

// --- Formats: what a block is and how it is unpacked --------------------------------------------------------------
// kBits: of a code (8: signed). kOffset: taken off a code. kScales: 1, or 2 for a scale per 16 columns. unpack: block b
// of `part` into slot p.

template <int Parts>
MILLRACE_VEC void unpackNibbles(const uint8_t* codes, int p, Bytes (*out)[Parts]) {
  for (int j = 0; j < 4; j++) {
    const Bytes both = loadBytes(codes + 64 * j);
    out[j][p] = bits<0, 15>(both);
    out[4 + j][p] = bits<4, 15>(both);
  }
}
template <int Parts>
MILLRACE_VEC void unpackBytes(const uint8_t* codes, int p, Bytes (*out)[Parts]) {
  for (int j = 0; j < 8; j++) out[j][p] = signedCodes(loadBytes(codes + 64 * j));
}

struct Q4_0 {
  using Block = BlockQ4_0;
  static constexpr int kBits = 4, kOffset = 8, kScales = 1;
  static constexpr bool kMin = false;
  template <int Parts>
  MILLRACE_VEC void unpack(const uint8_t* group, int b, int part, int p, Weights<1, Parts>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b];
    unpackNibbles(block.codes + 4 * kLanes * part, p, w.codes);
    w.scale[0][p] = loadHalf(block.scale + kLanes * part);
  }
};
struct Q4_1 {
  using Block = BlockQ4_1;
  static constexpr int kBits = 4, kOffset = 0, kScales = 1;
  static constexpr bool kMin = true;
  template <int Parts>
  MILLRACE_VEC void unpack(const uint8_t* group, int b, int part, int p, Weights<1, Parts>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b];
    unpackNibbles(block.codes + 4 * kLanes * part, p, w.codes);
    w.scale[0][p] = loadHalf(block.scale + kLanes * part);
    w.min[0][p] = loadHalf(block.min + kLanes * part);
  }
};
struct Q8_0 {
  using Block = BlockQ8_0;
  static constexpr int kBits = 8, kOffset = 0, kScales = 1;
  static constexpr bool kMin = false;
  template <int Parts>
  MILLRACE_VEC void unpack(const uint8_t* group, int b, int part, int p, Weights<1, Parts>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b];
    unpackBytes(block.codes + 4 * kLanes * part, p, w.codes);
    w.scale[0][p] = loadHalf(block.scale + kLanes * part);
  }
};
struct Q4_K {
  using Block = BlockQ4_K;
  static constexpr int kBits = 4, kOffset = 0, kScales = 1;
  static constexpr bool kMin = true;
  template <int Parts>
  MILLRACE_VEC void unpack(const uint8_t* group, int b, int part, int p, Weights<1, Parts>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b / 8];
    const Block::Sub& sub = block.sub[b % 8];
    unpackNibbles(sub.codes + 4 * kLanes * part, p, w.codes);
    w.scale[0][p] = mul(loadHalf(block.d + kLanes * part), loadInt8(sub.scale + kLanes * part));
    w.min[0][p] = mul(loadHalf(block.dmin + kLanes * part), loadInt8(sub.min + kLanes * part));
  }
};
struct Q5_K {
  using Block = BlockQ5_K;
  static constexpr int kBits = 5, kOffset = 0, kScales = 1;
  static constexpr bool kMin = true;
  template <int Parts>
  MILLRACE_VEC void unpack(const uint8_t* group, int b, int part, int p, Weights<1, Parts>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b / 8];
    const Block::Sub& sub = block.sub[b % 8];
    unpackNibbles(sub.codes + 4 * kLanes * part, p, w.codes);
    const Bytes high = loadBytes(sub.high + 4 * kLanes * part);
    w.codes[0][p] = join(w.codes[0][p], bits<-4, 16>(high));
    w.codes[1][p] = join(w.codes[1][p], bits<-3, 16>(high));
    w.codes[2][p] = join(w.codes[2][p], bits<-2, 16>(high));
    w.codes[3][p] = join(w.codes[3][p], bits<-1, 16>(high));
    w.codes[4][p] = join(w.codes[4][p], bits<0, 16>(high));
    w.codes[5][p] = join(w.codes[5][p], bits<1, 16>(high));
    w.codes[6][p] = join(w.codes[6][p], bits<2, 16>(high));
    w.codes[7][p] = join(w.codes[7][p], bits<3, 16>(high));
    w.scale[0][p] = mul(loadHalf(block.d + kLanes * part), loadInt8(sub.scale + kLanes * part));
    w.min[0][p] = mul(loadHalf(block.dmin + kLanes * part), loadInt8(sub.min + kLanes * part));
  }
};
struct Q6_K {
  using Block = BlockQ6_K;
  static constexpr int kBits = 6, kOffset = 32, kScales = 2;
  static constexpr bool kMin = false;
  template <int Parts>
  MILLRACE_VEC void unpack(const uint8_t* group, int b, int part, int p, Weights<2, Parts>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b / 8];
    const Block::Sub& sub = block.sub[b % 8];
    unpackNibbles(sub.codes + 4 * kLanes * part, p, w.codes);
    for (int h = 0; h < 2; h++) {
      const Bytes high = loadBytes(sub.high + 64 * h + 4 * kLanes * part);
      Bytes(*codes)[Parts] = w.codes + 4 * h;
      codes[0][p] = join(codes[0][p], bits<-4, 48>(high));
      codes[1][p] = join(codes[1][p], bits<-2, 48>(high));
      codes[2][p] = join(codes[2][p], bits<0, 48>(high));
      codes[3][p] = join(codes[3][p], bits<2, 48>(high));
      w.scale[h][p] = mul(loadHalf(block.d + kLanes * part), loadInt8(sub.scale[h] + kLanes * part));
    }
  }
};
template <typename B, int Scales, bool Min>
struct General {
  using Block = B;
  static constexpr int kBits = 8, kOffset = 0, kScales = Scales;
  static constexpr bool kMin = Min;
  template <int Parts>
  MILLRACE_VEC void unpack(const uint8_t* group, int b, int part, int p, Weights<Scales, Parts>& w) {
    const Block& block = reinterpret_cast<const Block*>(group)[b];
    unpackBytes(block.codes + 4 * kLanes * part, p, w.codes);
    const float* scale = reinterpret_cast<const float*>(&block);  // then, where there is one, the minimum
    for (int h = 0; h < Scales; h++) {
      w.scale[h][p] = load(scale + 16 * h + kLanes * part);
      if constexpr (Min) w.min[h][p] = load(scale + 16 * (Scales + h) + kLanes * part);
    }
  }
};

// --- Integer kernels ----------------------------------------------------------------------------------------------

// A block of Parts parts times the block of Rows rows at x, onto acc [Rows][16] (from this part's first lane on).
template <typename L, int Parts, int Rows>
MILLRACE_VEC void accumulate(const Weights<L::kScales, Parts>& w, const ActBlock* x, float* acc) {
  constexpr int steps = 8 / L::kScales;
  constexpr bool hasInit = L::kOffset != 0 || (L::kBits == 8 && kSignedOffset != 0);
  for (int h = 0; h < L::kScales; h++) {
    I32 sum[Rows][Parts];
    dot<L::kBits, steps, Parts, Rows, hasInit>(w.codes + steps * h, x->codes + 4 * steps * h, sizeof(ActBlock),
                                               x->init + h, sizeof(ActBlock) / sizeof(int32_t), sum);
    for (int r = 0; r < Rows; r++) {
      const F32 scale = splat(x[r].scale);
      for (int p = 0; p < Parts; p++) {
        float* out = acc + kGroupRows * r + kLanes * p;
        F32 v = fma(toFloat(sum[r][p]), mul(w.scale[h][p], scale), load(out));
        if constexpr (L::kMin) v = fma(w.min[h][p], splat(x[r].scaledSum[h]), v);
        store(out, v);
      }
    }
  }
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

// Streams of weights that are read at a time (several get more out of the memory than one), and bytes that prefetches
// run ahead of each. A stream is a run of groups, so that the prefetches at the end of one group serve the next.
constexpr int kStreams = 4;
constexpr int kAhead = 1024;
MILLRACE_VEC void prefetch(const uint8_t* p, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(p + kAhead + i);
}
template <typename L>
MILLRACE_VEC void prefetchBlock(const uint8_t* group, int b) {
  // A K format's 256 columns hold eight blocks.
  constexpr size_t bytes = sizeof(typename L::Block) > 1024 ? sizeof(typename L::Block) / 8 : sizeof(typename L::Block);
  prefetch(group + bytes * static_cast<size_t>(b), bytes);
}

// Rows rows (one, two or three) times the groups g, g + apart, … of so many streams.
template <typename L, int Groups, int Rows>
void multiplyStreams(const LinearArgs& a, int row, int g, int apart, const ActBlock* panel) {
  const int blocks = a.w->cols / kActBlock;
  alignas(64) float acc[Groups][Rows][kGroupRows] = {};
  const uint8_t* group[Groups];
  for (int i = 0; i < Groups; i++) group[i] = groupOf(a, g + apart * i);
  for (int b = 0; b < blocks; b++) {
    for (int i = 0; i < Groups; i++) {
      prefetchBlock<L>(group[i], b);
      for (int part = 0; part < kParts; part++) {
        Weights<L::kScales, 1> w;
        L::unpack(group[i], b, part, 0, w);
        accumulate<L, 1, Rows>(w, panel + Rows * b, &acc[i][0][kLanes * part]);
      }
    }
  }
  for (int i = 0; i < Groups; i++) {
    for (int r = 0; r < Rows; r++) finish(a, row + r, g + apart * i, acc[i][r]);
  }
}

template <typename L, int Rows>
void multiplyFew(const LinearArgs& a, int row, int g0, int g1, const ActBlock* panel) {
  const int each = (g1 - g0) / kStreams;
  for (int i = 0; i < each; i++) multiplyStreams<L, kStreams, Rows>(a, row, g0 + i, each, panel);
  for (int g = g0 + kStreams * each; g < g1; g++) multiplyStreams<L, 1, Rows>(a, row, g, 1, panel);
}

// Parts and rows of a tile whose sums stay in registers.
constexpr int kTileParts = kLanes == 8 ? 2 : 1;
constexpr int kTileRowsInt = 4;

// Fewer rows than a tile has.
template <typename L, int Rows>
MILLRACE_VEC void multiplyRest(const Weights<L::kScales, kTileParts>& w, const ActBlock* x, int rows, float* acc) {
  if constexpr (Rows > 0) {
    if (rows == Rows) return accumulate<L, kTileParts, Rows>(w, x, acc);
    multiplyRest<L, Rows - 1>(w, x, rows, acc);
  }
}

// One unpacked block times `rows` rows.
template <typename L>
MILLRACE_VEC void multiplyBlock(const Weights<L::kScales, kTileParts>& w, const ActBlock* x, int rows, float* acc) {
  int m = 0;
  for (; m + kTileRowsInt <= rows; m += kTileRowsInt) {
    if (kLanes < 16) reload(&w);
    accumulate<L, kTileParts, kTileRowsInt>(w, x + m, acc + kGroupRows * m);
  }
  if (kLanes < 16) reload(&w);
  multiplyRest<L, kTileRowsInt - 1>(w, x + m, rows - m, acc + kGroupRows * m);
}

// The rows rowBegin … rowEnd − 1 of a panel times `groups` groups, as many streams of weights as in gemvGroups.
template <typename L>
void multiplyGroups(const LinearArgs& a, int g, int groups, const ActBlock* panel, int panelRows, int rowBegin,
                    int rowEnd, bool backwards, float* acc) {
  const int blocks = a.w->cols / kActBlock;
  for (int i = 0; i < blocks; i++) {
    const int b = backwards ? blocks - 1 - i : i;
    const ActBlock* x = panel + static_cast<size_t>(b) * static_cast<size_t>(panelRows) + rowBegin;
    for (int j = 0; j < groups; j++) {
      const uint8_t* group = groupOf(a, g + j);
      float* out = acc + kGroupRows * (panelRows * j + rowBegin);
      prefetchBlock<L>(group, b);
      for (int part = 0; part < kParts; part += kTileParts) {
        Weights<L::kScales, kTileParts> w;
        for (int p = 0; p < kTileParts; p++) L::unpack(group, b, part + p, p, w);
        multiplyBlock<L>(w, x, rowEnd - rowBegin, out + kLanes * part);
      }
    }
  }
}

// A panel's rows; each block of weights is unpacked once for all of them.
template <typename L>
void multiplyPanel(const LinearArgs& a, int rowBegin, int rows, int g0, int g1, const ActBlock* panel, float* acc,
                   bool sabotaged) {
  for (int g = g0; g < g1; g += kStreams) {
    const int groups = std::min(kStreams, g1 - g);
    std::fill_n(acc, kGroupRows * rows * groups, 0.0f);
    if (sabotaged && rows > 3) {
      multiplyGroups<L>(a, g, groups, panel, rows, 0, 3, false, acc);
      multiplyGroups<L>(a, g, groups, panel, rows, 3, rows, true, acc);
    } else {
      multiplyGroups<L>(a, g, groups, panel, rows, 0, rows, false, acc);
    }
    for (int j = 0; j < groups; j++) {
      for (int m = 0; m < rows; m++) finish(a, rowBegin + m, g + j, acc + kGroupRows * (rows * j + m));
    }
  }
}

constexpr int kFewRows = 16;          // at most: a panel of its own, as the weights come from memory
constexpr int kMostRows = 128;        // of a panel
constexpr int kPanelBytes = 1 << 18;  // a panel stays in L2

int panelRows(int cols, int rows, int bytesPerCol) {
  const int fit = kPanelBytes / (std::max(cols, 1) * bytesPerCol) / 8 * 8;
  return std::min(rows, std::clamp(fit, kFewRows, kMostRows));
}

// What the panel in a scratch was made from; at the scratch's begin.
struct PanelKey {
  uint64_t key = 0;
  Format format = Format::Count;
};

template <typename L>
void integerLinear(const LinearArgs& a, int g0, int g1, uint8_t* scratch) {
  const int most = panelRows(a.w->cols, a.rows, 2);
  PanelKey& kept = *reinterpret_cast<PanelKey*>(scratch);
  const bool fits = a.panelKey != 0 && a.rows <= most;
  const bool filled = fits && kept.key == a.panelKey && kept.format == a.w->format;
  kept = fits ? PanelKey{a.panelKey, a.w->format} : PanelKey{};
  scratch += sizeof(ActBlock);
  float* acc = reinterpret_cast<float*>(scratch);
  ActBlock* panel =
      reinterpret_cast<ActBlock*>(scratch + sizeof(float) * kGroupRows * kStreams * static_cast<size_t>(most));
  const bool sabotaged = a.rows <= kFewRows && sabotage.load(std::memory_order_relaxed);
  for (int row = 0; row < a.rows; row += most) {
    const int rows = std::min(most, a.rows - row);
    if (!filled) fillPanel<L>(a, row, rows, panel);
    switch (rows) {
      case 1:
        multiplyFew<L, 1>(a, row, g0, g1, panel);
        break;
      case 2:
        multiplyFew<L, 2>(a, row, g0, g1, panel);
        break;
      case 3:
        multiplyFew<L, 3>(a, row, g0, g1, panel);
        break;
      default:
        multiplyPanel<L>(a, row, rows, g0, g1, panel, acc, sabotaged);
    }
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

void linear(const LinearArgs& a, int groupBegin, int groupEnd, uint8_t* scratch) {
  switch (a.w->format) {
    case Format::F32:
      return floatLinear<PlainF32>(a, groupBegin, groupEnd, scratch);
    case Format::F16:
      return floatLinear<PlainF16>(a, groupBegin, groupEnd, scratch);
    case Format::BF16:
      return floatLinear<PlainBF16>(a, groupBegin, groupEnd, scratch);
    case Format::Q4_0:
      return integerLinear<Q4_0>(a, groupBegin, groupEnd, scratch);
    case Format::Q4_1:
      return integerLinear<Q4_1>(a, groupBegin, groupEnd, scratch);
    case Format::Q8_0:
      return integerLinear<Q8_0>(a, groupBegin, groupEnd, scratch);
    case Format::Q4_K:
      return integerLinear<Q4_K>(a, groupBegin, groupEnd, scratch);
    case Format::Q5_K:
      return integerLinear<Q5_K>(a, groupBegin, groupEnd, scratch);
    case Format::Q6_K:
      return integerLinear<Q6_K>(a, groupBegin, groupEnd, scratch);
    case Format::General16:
      return integerLinear<General<BlockGeneral16, 2, false>>(a, groupBegin, groupEnd, scratch);
    case Format::General16Min:
      return integerLinear<General<BlockGeneral16Min, 2, true>>(a, groupBegin, groupEnd, scratch);
    case Format::General32:
      return integerLinear<General<BlockGeneral32, 1, false>>(a, groupBegin, groupEnd, scratch);
    case Format::General32Min:
      return integerLinear<General<BlockGeneral32Min, 1, true>>(a, groupBegin, groupEnd, scratch);
    case Format::Count:
      break;
  }
}

size_t linearScratchBytes(const Matrix& w, int maxRows) {
  const int bytesPerCol = readsInt8(w.format) ? 2 : 4;
  const size_t rows = static_cast<size_t>(panelRows(w.cols, std::max(maxRows, 1), bytesPerCol));
  const size_t acc = sizeof(float) * kGroupRows * kStreams * rows;
  if (!readsInt8(w.format)) {
    const size_t chunks = static_cast<size_t>((w.cols + kChunk - 1) / kChunk);
    return acc + sizeof(float) * kChunk * chunks * rows;
  }
  return acc + sizeof(ActBlock) + sizeof(ActBlock) * rows * static_cast<size_t>(w.cols / kActBlock);
}

}  // namespace millrace::MILLRACE_ISA
