// y = W x of the integer formats for more rows than kFewRows, by the tiles of AMX; see linear.cpp for the
// arithmetic, which is that of linear-int.cpp, and so are the bits.
//
// A block of 32 columns (of 16 where a format's scale is for 16) is one product of 16 rows with a group, half a tile
// (or a quarter): its sums must leave the tile to be scaled. kChunkBlocks blocks of a group are unpacked to signed
// bytes in the first-level cache, the panel's tiles pass over them, and while a block's sums are scaled the next block
// is multiplied.
//
// What a block of 16 x 16 x 32 costs on a Xeon (Sapphire Rapids, 2.4 GHz under this load), counted in registers and the
// first-level cache: the product 6 ns, storing its sums 9, scaling them 10, and these don't overlap: 24 ns at best (340
// GMAC/s), 40 to 50 where the other hyper-thread is busy. vpdpbusd needs 26 to 36 for its multiplications alone, 40 to
// 60 with all that goes with them. Prefill of 512 tokens in the shape of Llama-3.2-1B, Q4_0, beside linear-wide.cpp,
// measured by `npm run bench -- shape`: 1.39 times as fast with one thread, 1.14 and 1.26 with 4, 1.07 and 1.18
// with 16.
#include "isa/tiles.h"

#if MILLRACE_TILES

#include <cstring>

#include "isa/linear-chunks.h"

namespace millrace::MILLRACE_ISA {

namespace {

// 32 columns of 16 rows, of which the last may be padding.
struct alignas(64) TileBlock {
  int8_t codes[kTileSide][kActBlock];
  float scale[kTileSide];
  float sum[2][kTileSide];  // scale · Σ codes, of both halves (sum[0] of all 32 where a format's scale is for 32)
};

int tilesOf(int rows) { return (rows + kTileSide - 1) / kTileSide; }

// The rows begin … begin + rows − 1 of the call, at most a tile's.
template <typename L>
void fillTiles(const LinearArgs& a, int begin, int rows, TileBlock* tile) {
  const int blocks = a.w->cols / kActBlock;
  for (int r = 0; r < rows; r++) {
    const size_t row = static_cast<size_t>(a.rowIndex ? a.rowIndex[begin + r] : begin + r);
    const int8_t* codes = a.x8.codes + row * static_cast<size_t>(a.w->cols);
    const float* scales = a.x8.scales + row * static_cast<size_t>(blocks);
    const int32_t* sums = a.x8.sums + row * static_cast<size_t>(2 * blocks);
    for (int b = 0; b < blocks; b++) {
      std::memcpy(tile[b].codes[r], codes + kActBlock * b, kActBlock);
      tile[b].scale[r] = scales[b];
      for (int h = 0; h < L::kScales && L::kMin; h++) {
        const int32_t sum = L::kScales == 2 ? sums[2 * b + h] : sums[2 * b] + sums[2 * b + 1];
        tile[b].sum[h][r] = scales[b] * static_cast<float>(sum);
      }
    }
  }
  for (int r = rows; r < kTileSide; r++) {
    for (int b = 0; b < blocks; b++) {
      std::memset(tile[b].codes[r], 0, kActBlock);
      tile[b].scale[r] = tile[b].sum[0][r] = tile[b].sum[1][r] = 0;
    }
  }
}

template <typename L>
using Unpacked = Weights<L::kScales, kParts>;

// Blocks of a group as signed bytes: what unpack.h leaves on them is taken off.
template <typename L>
void unpackSigned(const uint8_t* group, int begin, int end, Unpacked<L>* w) {
  constexpr int taken = L::kOffset + (L::kBits == 8 ? kSignedOffset : 0);
  for (int b = begin; b < end; b++, w++) {
    for (int part = 0; part < kParts; part++) L::unpack(group, b, part, part, *w);
    uint8_t* codes = reinterpret_cast<uint8_t*>(w->codes);
    for (size_t i = 0; i < sizeof w->codes && taken != 0; i++) codes[i] = static_cast<uint8_t>(codes[i] - taken);
  }
}

template <typename L, int T>
MILLRACE_INLINE void startProduct(Tiles<8 / L::kScales>& tiles, const Unpacked<L>* w, const TileBlock* x, int i) {
  constexpr int steps = 8 / L::kScales;
  const int b = i / L::kScales, h = i % L::kScales;
  tiles.template multiply<T>(x[b].codes[0] + 4 * steps * h, kActBlock,
                             reinterpret_cast<const int8_t*>(w[b].codes[steps * h]));
}

// The sums of product i, which tile T holds, onto acc; product i + 1 is begun first.
template <typename L, int T>
MILLRACE_INLINE void endProduct(Tiles<8 / L::kScales>& tiles, const Unpacked<L>* w, const TileBlock* x, int i,
                                int count, int32_t* sums, lanes::F32* acc) {
  using namespace lanes;
  if (i + 1 < count) startProduct<L, 1 - T>(tiles, w, x, i + 1);
  tiles.template store<T>(sums);
  const int b = i / L::kScales, h = i % L::kScales;
  const lanes::F32 scale = lanes::load(reinterpret_cast<const float*>(w[b].scale[h]));
  MILLRACE_UNROLL
  for (int r = 0; r < kTileSide; r++) {
    const lanes::F32 sum = lanes::toFloat(lanes::loadInt(sums + kTileSide * r));
    acc[r] = lanes::fma(sum, scale * lanes::splat(x[b].scale[r]), acc[r]);
    if constexpr (L::kMin) {
      const lanes::F32 min = lanes::load(reinterpret_cast<const float*>(w[b].min[h]));
      acc[r] = lanes::fma(min, lanes::splat(x[b].sum[h][r]), acc[r]);
    }
  }
}

// A tile's rows times `blocks` unpacked blocks of a group, onto acc [16][16]. `next`: the tile that comes after this,
// fetched on the way.
template <typename L>
void sweepTiles(Tiles<8 / L::kScales>& tiles, const Unpacked<L>* w, int blocks, const TileBlock* x,
                const TileBlock* next, float* acc) {
  alignas(64) int32_t sums[2][kTileSide * kTileSide];
  lanes::F32 total[kTileSide];
  MILLRACE_UNROLL
  for (int r = 0; r < kTileSide; r++) total[r] = lanes::load(acc + kGroupRows * r);
  const int count = blocks * L::kScales;
  startProduct<L, 0>(tiles, w, x, 0);
  for (int i = 0; i < count; i += 2) {
    const uint8_t* ahead = reinterpret_cast<const uint8_t*>(next + i / L::kScales);
    for (size_t at = 0; at < 2 * sizeof(TileBlock) / L::kScales; at += 64) __builtin_prefetch(ahead + at);
    endProduct<L, 0>(tiles, w, x, i, count, sums[0], total);
    if (i + 1 < count) endProduct<L, 1>(tiles, w, x, i + 1, count, sums[1], total);
  }
  MILLRACE_UNROLL
  for (int r = 0; r < kTileSide; r++) lanes::store(acc + kGroupRows * r, total[r]);
}

// Rows row … row + rows − 1 times a chunk of one group; acc [tiles · 16][16]. After the last chunk the outputs are
// written.
template <typename L>
void multiplyTiles(Tiles<8 / L::kScales>& tiles, const LinearArgs& a, int row, int rows, Chunk chunk, Chunk next,
                   const TileBlock* panel, Unpacked<L>* w, float* acc) {
  const int blocks = a.w->cols / kActBlock, count = tilesOf(rows);
  unpackSigned<L>(groupOf(a, chunk.group), chunk.begin, chunk.end, w);
  for (int t = 0; t < count; t++) {
    const int first = kTileSide * t, end = std::min(first + kTileSide, rows);
    const TileBlock* x = panel + static_cast<size_t>(blocks) * static_cast<size_t>(t) + chunk.begin;
    float* out = acc + kGroupRows * first;
    prefetchWeights<1>(a, next, t, count);
    if (chunk.end == blocks) prefetchOutputs<1>(a, row + first, row + end, chunk.group);
    sweepTiles<L>(tiles, w, chunk.end - chunk.begin, x, t + 1 < count ? x + blocks : panel + chunk.begin, out);
    for (int m = first; m < end && chunk.end == blocks; m++) finish(a, row + m, chunk.group, acc + kGroupRows * m);
  }
}

constexpr size_t kUnpackedBytes = sizeof(Weights<2, kParts>) * kChunkBlocks;
constexpr size_t kAccBytes = sizeof(float) * kGroupRows * kSetGroups * kMostRows;
static_assert(kMostRows % kTileSide == 0);

template <typename L>
void tileLinear(const LinearArgs& a, int g0, int g1, uint8_t* scratch) {
  const bool filled = keepPanel(a, kMostRows, scratch);
  Unpacked<L>* w = reinterpret_cast<Unpacked<L>*>(scratch + kPanelHeadBytes);
  float* acc = reinterpret_cast<float*>(scratch + kPanelHeadBytes + kUnpackedBytes);
  TileBlock* panel = reinterpret_cast<TileBlock*>(scratch + kPanelHeadBytes + kUnpackedBytes + kAccBytes);
  const size_t blocks = static_cast<size_t>(a.w->cols / kActBlock);
  Tiles<8 / L::kScales> tiles;
  for (int row = 0; row < a.rows; row += kMostRows) {
    const int rows = std::min(kMostRows, a.rows - row);
    for (int t = 0; t < tilesOf(rows) && !filled; t++) {
      const int first = kTileSide * t;
      fillTiles<L>(a, row + first, std::min(kTileSide, rows - first), panel + blocks * static_cast<size_t>(t));
    }
    const size_t perGroup = static_cast<size_t>(kGroupRows * kTileSide * tilesOf(rows));
    eachChunk<1>(a, g0, g1, perGroup, acc, [&](Chunk chunk, Chunk next, float* out) {
      multiplyTiles<L>(tiles, a, row, rows, chunk, next, panel, w, out);
    });
  }
}

}  // namespace

void linearTiles(const LinearArgs& a, int groupBegin, int groupEnd, uint8_t* scratch) {
  withFormat(a.w->format, [&](auto format) { tileLinear<decltype(format)>(a, groupBegin, groupEnd, scratch); });
}

size_t linearTilesScratchBytes(const Matrix& w, int maxRows) {
  const size_t rows = static_cast<size_t>(kTileSide * tilesOf(std::clamp(maxRows, 1, kMostRows)));
  const size_t blocks = static_cast<size_t>(w.cols / kActBlock);
  return kPanelHeadBytes + kUnpackedBytes + kAccBytes + sizeof(TileBlock) / kTileSide * rows * blocks;
}

}  // namespace millrace::MILLRACE_ISA

#endif
