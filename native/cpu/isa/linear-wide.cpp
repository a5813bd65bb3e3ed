// y = W x of the integer formats for more rows than kFewRows, where a machine vector holds a whole group (AVX-512); see
// linear.cpp for the arithmetic, which is that of linear-int.cpp, and so are the bits.
//
// kChunkBlocks blocks of two groups are unpacked into the first-level cache, and tiles of six rows pass over them with
// their sums in registers: 8 multiplications and 3 operations to finish for each row, block and group, 73 % of the bare
// instruction's peak. A panel of rows reads the weights once; its own chunk stays in the second-level cache for
// kSetGroups groups. Measured on a Xeon (Emerald Rapids, shared), Q4_0 2048 x 2048, % of the probed peak, before ->
// now: 64 rows 54 -> 64, 128 rows 56 -> 65, 512 rows 54 -> 63; a tile's inner loop alone does 74.
#include "isa/tiles.h"

#if defined(__AVX512VNNI__) && !MILLRACE_TILES

#include <cstring>

#include "isa/linear-chunks.h"

namespace millrace::MILLRACE_ISA {

namespace {

constexpr int kTileGroups = 2, kTileRows = 6;
static_assert(kParts == 1 && kSetGroups % kTileGroups == 0);

// What the multiplication of unpacked weights depends on.
template <int Scales, bool Min, bool Init>
struct Kind {
  static constexpr int kScales = Scales;
  static constexpr bool kMin = Min, kInit = Init;
};
// Taken off a code as it is unpacked, by way of ActTile::init.
template <typename L>
constexpr int kTaken = L::kOffset + (L::kBits == 8 ? kSignedOffset : 0);
template <typename L>
using KindOf = Kind<L::kScales, L::kMin, kTaken<L> != 0>;

// A block of 32 columns of R rows.
template <int R>
struct alignas(64) ActTile {
  int8_t codes[R][kActBlock];
  float scale[R];
  int32_t init[2][R];  // −offset · Σ, of both halves (init[0] of all 32 where a format's scale is for 32)
  float sum[2][R];     // scale · Σ, likewise
};

// Rows begin … begin + R − 1 of the call.
template <typename L, int R>
void fillTile(const LinearArgs& a, int begin, ActTile<R>* tile) {
  const int blocks = a.w->cols / kActBlock;
  for (int r = 0; r < R; r++) {
    const size_t row = static_cast<size_t>(a.rowIndex ? a.rowIndex[begin + r] : begin + r);
    const int8_t* codes = a.x8.codes + row * static_cast<size_t>(a.w->cols);
    const float* scales = a.x8.scales + row * static_cast<size_t>(blocks);
    const int32_t* sums = a.x8.sums + row * static_cast<size_t>(2 * blocks);
    for (int b = 0; b < blocks; b++) {
      ActTile<R>& out = tile[b];
      std::memcpy(out.codes[r], codes + kActBlock * b, kActBlock);
      out.scale[r] = scales[b];
      for (int h = 0; h < L::kScales; h++) {
        const int32_t sum = L::kScales == 2 ? sums[2 * b + h] : sums[2 * b] + sums[2 * b + 1];
        if constexpr (kTaken<L> != 0) out.init[h][r] = -kTaken<L> * sum;
        if constexpr (L::kMin) out.sum[h][r] = scales[b] * static_cast<float>(sum);
      }
    }
  }
}

// A block of Parts parts times the block of R rows at x, onto acc.
template <typename K, int Parts, int R>
MILLRACE_INLINE void accumulate(const Weights<K::kScales, Parts>& w, const ActTile<R>& x, F32 (*acc)[Parts]) {
  constexpr int steps = 8 / K::kScales;
  MILLRACE_UNROLL
  for (int h = 0; h < K::kScales; h++) {
    I32 sum[R][Parts];
    dot<8, steps, Parts, R, K::kInit>(w.codes + steps * h, x.codes[0] + 4 * steps * h, kActBlock, x.init[h], 1, sum);
    MILLRACE_UNROLL
    for (int r = 0; r < R; r++) {
      const F32 scale = splat(x.scale[r]);
      MILLRACE_UNROLL
      for (int p = 0; p < Parts; p++) {
        acc[r][p] = fma(toFloat(sum[r][p]), mul(w.scale[h][p], scale), acc[r][p]);
        if constexpr (K::kMin) acc[r][p] = fma(w.min[h][p], splat(x.sum[h][r]), acc[r][p]);
      }
    }
  }
}

// A tile of R rows times `blocks` unpacked blocks of Parts parts, onto acc [R][Parts · kLanes]. `next`: the tile that
// comes after this, fetched on the way.
template <typename K, int Parts, int R>
void sweep(const Weights<K::kScales, Parts>* w, int blocks, const ActTile<R>* x, const uint8_t* next, float* acc) {
  F32 sum[R][Parts];
  MILLRACE_UNROLL
  for (int r = 0; r < R; r++) {
    MILLRACE_UNROLL
    for (int p = 0; p < Parts; p++) sum[r][p] = load(acc + kLanes * (Parts * r + p));
  }
  for (int b = 0; b < blocks; b++) {
    for (size_t i = 0; i < sizeof(ActTile<R>); i += 64)
      __builtin_prefetch(next + sizeof(ActTile<R>) * static_cast<size_t>(b) + i);
    accumulate<K, Parts, R>(w[b], x[b], sum);
  }
  MILLRACE_UNROLL
  for (int r = 0; r < R; r++) {
    MILLRACE_UNROLL
    for (int p = 0; p < Parts; p++) store(acc + kLanes * (Parts * r + p), sum[r][p]);
  }
}

// All rows of a panel times a chunk of Groups groups; acc [row][Groups · 16]. After the last chunk the outputs are
// written. On the way the weights of the chunk `next` are fetched, and the lines that the outputs go to.
template <typename L, int Groups>
void multiplyChunk(const LinearArgs& a, int row, Tiling rows, Chunk chunk, Chunk next, const uint8_t* panel,
                   uint8_t* unpacked, float* acc) {
  constexpr int parts = Groups * kParts;
  using Unpacked = Weights<L::kScales, parts>;
  Unpacked* w = reinterpret_cast<Unpacked*>(unpacked);
  for (int i = 0; i < Groups; i++) {
    const uint8_t* group = groupOf(a, chunk.group + i);
    for (int b = chunk.begin; b < chunk.end; b++) {
      for (int part = 0; part < kParts; part++) L::unpack(group, b, part, kParts * i + part, w[b - chunk.begin]);
    }
  }
  const size_t blocks = static_cast<size_t>(a.w->cols / kActBlock);
  const uint8_t* start = panel;
  const bool isLast = chunk.end == static_cast<int>(blocks);
  for (int t = 0; t < rows.count(); t++) {
    const int first = rows.begin(t), last = rows.begin(t + 1);
    prefetchWeights<Groups>(a, next, t, rows.count());
    if (isLast) prefetchOutputs<Groups>(a, row + first, row + last, chunk.group);
    withRows<1, kTileRows>(last - first, [&](auto count) {
      constexpr int R = count;
      const ActTile<R>* x = reinterpret_cast<const ActTile<R>*>(panel);
      panel += sizeof(ActTile<R>) * blocks;
      const uint8_t* after = (last < rows.rows ? panel : start) + sizeof(ActTile<R>) * static_cast<size_t>(chunk.begin);
      sweep<KindOf<L>, parts, R>(w, chunk.end - chunk.begin, x + chunk.begin, after, acc + Groups * kGroupRows * first);
    });
    if (!isLast) continue;
    for (int i = 0; i < Groups; i++) {
      for (int m = first; m < last; m++) {
        finish(a, row + m, chunk.group + i, acc + kGroupRows * (Groups * m + i));
      }
    }
  }
}

// The scratch of many rows: the panel is its own, behind the other parts.
constexpr size_t kUnpackedBytes = sizeof(Weights<2, kTileGroups * kParts>) * kChunkBlocks;
constexpr size_t kAccBytes = sizeof(float) * kGroupRows * kSetGroups * kMostRows;

template <typename L>
void wideLinear(const LinearArgs& a, int g0, int g1, uint8_t* scratch) {
  const bool filled = keepPanel(a, kMostRows, scratch);
  uint8_t* unpacked = scratch + kPanelHeadBytes;
  float* acc = reinterpret_cast<float*>(unpacked + kUnpackedBytes);
  uint8_t* panel = unpacked + kUnpackedBytes + kAccBytes;
  for (int row = 0; row < a.rows; row += kMostRows) {
    const Tiling rows{std::min(kMostRows, a.rows - row), kTileRows};
    uint8_t* to = panel;
    for (int t = 0; t < rows.count() && !filled; t++) {
      withRows<1, kTileRows>(rows.begin(t + 1) - rows.begin(t), [&](auto count) {
        constexpr int R = count;
        fillTile<L, R>(a, row + rows.begin(t), reinterpret_cast<ActTile<R>*>(to));
        to += sizeof(ActTile<R>) * static_cast<size_t>(a.w->cols / kActBlock);
      });
    }
    const size_t perGroup = static_cast<size_t>(kGroupRows * rows.rows);
    eachChunk<kTileGroups>(a, g0, g1, perGroup, acc, [&](Chunk chunk, Chunk next, float* out) {
      if (chunk.group + kTileGroups <= g1) {
        multiplyChunk<L, kTileGroups>(a, row, rows, chunk, next, panel, unpacked, out);
      } else {
        multiplyChunk<L, 1>(a, row, rows, chunk, next, panel, unpacked, out);
      }
    });
  }
}

}  // namespace

void linearWide(const LinearArgs& a, int groupBegin, int groupEnd, uint8_t* scratch) {
  withFormat(a.w->format, [&](auto format) { wideLinear<decltype(format)>(a, groupBegin, groupEnd, scratch); });
}

size_t linearWideScratchBytes(const Matrix& w, int maxRows) {
  // No tile takes more bytes a row than that of a single one.
  const size_t rows = static_cast<size_t>(std::clamp(maxRows, 1, kMostRows));
  return kPanelHeadBytes + kUnpackedBytes + kAccBytes +
         sizeof(ActTile<1>) * rows * static_cast<size_t>(w.cols / kActBlock);
}

}  // namespace millrace::MILLRACE_ISA

#endif
