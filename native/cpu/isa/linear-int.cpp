// y = W x of the integer formats; see linear.cpp. Where a machine vector holds a group, 4 to 16 rows are multiplied
// with their sums in registers: Q4_0 2048 x 2048 on a shared Xeon, before -> now, 8 rows 226 -> 191 us, 16 rows 414 ->
// 362.
#include <cstring>

#include "isa/linear-shared.h"
#include "isa/tiles.h"
#include "isa/unpack.h"
#include "sabotage.h"

namespace millrace::MILLRACE_ISA {

namespace {

// A block of 32 activations of one row, with what the weights' offset and minimum make of their sums.
struct alignas(64) ActBlock {
  int8_t codes[32];
  float scale;
  int32_t init[2];     // −offset · Σ, of both halves (init[0] of all 32 where the scale is for 32)
  float scaledSum[2];  // scale · Σ
};

// A block of Parts parts times the block of Rows rows at x, onto acc [Rows][16] (from this part's first lane on).
template <typename L, int Parts, int Rows>
MILLRACE_INLINE void accumulate(const Weights<L::kScales, Parts>& w, const ActBlock* x, float* acc) {
  constexpr int steps = 8 / L::kScales;
  constexpr bool hasInit = L::kOffset != 0 || (L::kBits == 8 && kSignedOffset != 0);
  MILLRACE_UNROLL
  for (int h = 0; h < L::kScales; h++) {
    I32 sum[Rows][Parts];
    dot<L::kBits, steps, Parts, Rows, hasInit>(w.codes + steps * h, x->codes + 4 * steps * h, sizeof(ActBlock),
                                               x->init + h, sizeof(ActBlock) / sizeof(int32_t), sum);
    MILLRACE_UNROLL
    for (int r = 0; r < Rows; r++) {
      const F32 scale = splat(x[r].scale);
      MILLRACE_UNROLL
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

template <typename L>
MILLRACE_INLINE void prefetchBlock(const uint8_t* group, int b) {
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
    MILLRACE_UNROLL
    for (int i = 0; i < Groups; i++) {
      prefetchBlock<L>(group[i], b);
      MILLRACE_UNROLL
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
// Rows whose sums stay in registers beside a block's codes, where a machine vector holds a group; bytes that prefetches
// run ahead of it, as its weights are one stream.
constexpr int kRegisterRows = 8;
constexpr size_t kFarAhead = 3072;

// Fewer rows than a tile has.
template <typename L, int Rows>
MILLRACE_INLINE void multiplyRest(const Weights<L::kScales, kTileParts>& w, const ActBlock* x, int rows, float* acc) {
  if constexpr (Rows > 0) {
    if (rows == Rows) return accumulate<L, kTileParts, Rows>(w, x, acc);
    multiplyRest<L, Rows - 1>(w, x, rows, acc);
  }
}

// One unpacked block times `rows` rows.
template <typename L>
MILLRACE_INLINE void multiplyBlock(const Weights<L::kScales, kTileParts>& w, const ActBlock* x, int rows, float* acc) {
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
                   bool backwards) {
  for (int g = g0; g < g1; g += kStreams) {
    const int groups = std::min(kStreams, g1 - g);
    std::fill_n(acc, kGroupRows * rows * groups, 0.0f);
    if (backwards && rows > 3) {
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

// Rows rows of a panel times a group, their sums in registers all along K: for the machine vector that holds a whole
// group.
template <typename L, int Rows>
void multiplyInRegisters(const LinearArgs& a, int row, int g, const ActBlock* panel, int panelRows, bool backwards) {
  constexpr int steps = 8 / L::kScales;
  constexpr bool hasInit = L::kOffset != 0 || (L::kBits == 8 && kSignedOffset != 0);
  const int blocks = a.w->cols / kActBlock;
  const uint8_t* group = groupOf(a, g);
  F32 acc[Rows];
  MILLRACE_UNROLL
  for (int r = 0; r < Rows; r++) acc[r] = zero();
  for (int i = 0; i < blocks; i++) {
    const int b = backwards ? blocks - 1 - i : i;
    prefetchBlock<L>(group + kFarAhead, b);
    const ActBlock* x = panel + static_cast<size_t>(b) * static_cast<size_t>(panelRows);
    Weights<L::kScales, 1> w;
    L::unpack(group, b, 0, 0, w);
    MILLRACE_UNROLL
    for (int h = 0; h < L::kScales; h++) {
      I32 sum[Rows][1];
      dot<L::kBits, steps, 1, Rows, hasInit>(w.codes + steps * h, x->codes + 4 * steps * h, sizeof(ActBlock),
                                             x->init + h, sizeof(ActBlock) / sizeof(int32_t), sum);
      MILLRACE_UNROLL
      for (int r = 0; r < Rows; r++) {
        acc[r] = fma(toFloat(sum[r][0]), mul(w.scale[h][0], splat(x[r].scale)), acc[r]);
        if constexpr (L::kMin) acc[r] = fma(w.min[h][0], splat(x[r].scaledSum[h]), acc[r]);
      }
    }
  }
  for (int r = 0; r < Rows; r++) {
    alignas(64) float out[kGroupRows];
    store(out, acc[r]);
    finish(a, row + r, g, out);
  }
}

// Few rows: a group's blocks come from memory for the first tile of rows, from a cache for the second.
template <typename L>
void multiplyFlat(const LinearArgs& a, int rowBegin, int rows, int g0, int g1, const ActBlock* panel, bool backwards) {
  const Tiling tiles{rows, kRegisterRows};
  for (int g = g0; g < g1; g++) {
    for (int t = 0; t < tiles.count(); t++) {
      const int first = tiles.begin(t);
      withRows<kRegisterRows / 2, kRegisterRows>(tiles.begin(t + 1) - first, [&](auto count) {
        multiplyInRegisters<L, count>(a, rowBegin + first, g, panel + first, rows, backwards);
      });
    }
  }
}

template <typename L>
void integerLinear(const LinearArgs& a, int g0, int g1, uint8_t* scratch) {
  const int most = panelRows(a.w->cols, a.rows, 2);
  const bool filled = keepPanel(a, most, scratch);
  scratch += kPanelHeadBytes;
  float* acc = reinterpret_cast<float*>(scratch);
  ActBlock* panel =
      reinterpret_cast<ActBlock*>(scratch + sizeof(float) * kGroupRows * kStreams * static_cast<size_t>(most));
  const bool backwards = a.rows <= kFewRows && sabotaged(Fault::Linear);
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
        // Where a machine vector holds a group, more rows than few have a kernel of their own (linearInt below).
        if constexpr (kParts == 1) multiplyFlat<L>(a, row, rows, g0, g1, panel, backwards);
        else multiplyPanel<L>(a, row, rows, g0, g1, panel, acc, backwards);
    }
  }
}

}  // namespace

void linearInt(const LinearArgs& a, int groupBegin, int groupEnd, uint8_t* scratch) {
#if MILLRACE_TILES
  if (a.rows > kFewRows) return linearTiles(a, groupBegin, groupEnd, scratch);
#elif defined(__AVX512VNNI__)
  if (a.rows > kFewRows) return linearWide(a, groupBegin, groupEnd, scratch);
#endif
  withFormat(a.w->format, [&](auto format) { integerLinear<decltype(format)>(a, groupBegin, groupEnd, scratch); });
}

size_t linearIntScratchBytes(const Matrix& w, int maxRows) {
  const size_t rows = static_cast<size_t>(panelRows(w.cols, std::max(maxRows, 1), 2));
  const size_t acc = sizeof(float) * kGroupRows * kStreams * rows;
  const size_t bytes = kPanelHeadBytes + acc + sizeof(ActBlock) * rows * static_cast<size_t>(w.cols / kActBlock);
#if MILLRACE_TILES
  return std::max(bytes, linearTilesScratchBytes(w, maxRows));
#elif defined(__AVX512VNNI__)
  return std::max(bytes, linearWideScratchBytes(w, maxRows));
#else
  return bytes;
#endif
}

}  // namespace millrace::MILLRACE_ISA
