// Attention over the paged KV cache. A block holds 16 slots; within it, for each kv head,
//
//   keys    [keyDim][16]                      16 slots side by side: a score needs no sum across lanes
//   values  [ceil(valueDim / 16)][16][16]     panels of 16 columns: slot by slot
//
// in F16 (nearest even), F32, or Q8: int8 codes (x / scale, nearest even), then 16 floats of scales (amax / 127 of a
// token's key or value in that head) behind the keys and behind the values. A latent state (DeepSeek's attention over
// compressed keys and values) has no values of its own: they are the first columns of the key. A tile's are laid out as
// values when they are read, so the bits are those of a cache that held them twice; that costs one pass over them for
// all query heads.
//
// One arithmetic for every number of query rows, so that prefill, decode and verification agree bit for bit:
//   score      one chain of multiply-adds over keyDim; Q8: times the key's scale; times `scale`; softcap
//   tile       128 places at absolute borders; maximum, weights e^(s − max), their sum in 16 lanes and one tree,
//              and one chain of multiply-adds over the places for each output column (Q8: the value's scale is
//              multiplied into the weight first)
//   merge      tiles from left to right, those that hold a place that the row sees; the others don't exist for it
// A row's chains run over the places that it sees and no others, so nothing behind the query, before the window or
// left over from another sequence can reach it, be it infinite or not a number.
//
// A place is a slot, unless a row lists slots (a node of a drafted tree its ancestors). Where it lists some in a tile,
// the blocks that hold their places are gathered for it first, in the cache's own layout: then the very same code runs
// over them, and the bits are those of the path run alone.
//
// Measured on one thread of a Zen 3 (AVX2, 52 GMAC/s and 18 GB/s probed; bench/kernels/attention.cpp), F16: prefill
// 35 GMAC/s at head width 64 (67 % of the peak; the two products alone run at 97 %, the softmax is most of the rest),
// 37 at 128. Decode at depth 2,048: 13–15 GB/s with 3 or 4 query heads a kv head (37–50 % of the multiply-add peak at
// the same time), 18 with one.
//
// A query row is a (token, query head) pair; rows that share a kv head share every key and value that is read. Both
// products are the same matrix kernel: R query rows × NB vectors of 16 in registers.
#include "isa/attention.h"

#include "isa/math.h"

namespace millrace::MILLRACE_ISA {

using namespace lanes;

namespace {

constexpr int kBlock = 16;
constexpr int kTile = 128;
constexpr int kTileBlocks = kTile / kBlock;
constexpr size_t kAlign = 64;

// Vector registers, those that sixteen floats take, and the most query rows that are held in them at once.
#if defined(__AVX512F__)
constexpr int kRegisters = 32, kParts = 1, kMaxR = 8;
#elif defined(__AVX2__)
constexpr int kRegisters = 16, kParts = 2, kMaxR = 6;
#elif defined(__ARM_NEON)
constexpr int kRegisters = 32, kParts = 4, kMaxR = 6;
#else
constexpr int kRegisters = 16, kParts = 4, kMaxR = 2;
#endif
// How many vectors of 16 beside each other (8, 4, 2 or 1) leave room for R rows: accumulators, the vectors themselves
// (of which a single row needs but one at a time) and a factor.
constexpr int widthFor(int rows) {
  int width = kTileBlocks;
  const auto needs = [rows](int w) { return kParts * (w * rows + (rows > 1 ? w : 1)) + 1; };
  while (width > 1 && needs(width) > kRegisters) width /= 2;
  return width;
}
// From this many groups of query rows on, a tile is converted to F32 once instead of once for each group.
constexpr int kConvertGroups = 3;
// Key blocks that are converted at a time: they stay in L1 while all query rows pass.
constexpr int kConvertBlocks = 2;
// Floats of scratch for query rows; what a sub-batch needs stays in L2.
constexpr int kBatchFloats = 48 * 1024;
constexpr int kMaxBatch = 128;

constexpr size_t alignUp(size_t n) { return (n + kAlign - 1) / kAlign * kAlign; }
constexpr int unitsOf(int columns) { return (columns + kLanes - 1) / kLanes; }
constexpr int atLeast(int a, int b) { return a > b ? a : b; }
constexpr int atMost(int a, int b) { return a < b ? a : b; }

size_t elementBytes(KvType type) { return type == KvType::F32 ? 4 : type == KvType::F16 ? 2 : 1; }

// Where things lie within one kv head of one block, in bytes.
struct HeadLayout {
  size_t keyScales, values, valueScales, bytes;
};
HeadLayout layoutOf(KvType type, int keyDim, int valueDim, bool latent) {
  const size_t scales = type == KvType::Q8 ? kBlock * sizeof(float) : 0;
  const size_t keys = elementBytes(type) * kBlock * keyDim;
  if (latent) return {keys, 0, keys, alignUp(keys + scales)};
  const size_t values = elementBytes(type) * kBlock * kLanes * unitsOf(valueDim);
  return {keys, keys + scales, keys + scales + values, alignUp(keys + scales + values + scales)};
}
HeadLayout layoutOf(const KvState& kv) { return layoutOf(kv.type, kv.keyDim, kv.valueDim, kv.latent); }

template <KvType T>
MILLRACE_INLINE F32 loadStored(const uint8_t* base, size_t element) {
  if constexpr (T == KvType::F32) return load(reinterpret_cast<const float*>(base) + element);
  if constexpr (T == KvType::F16) return loadHalf(reinterpret_cast<const uint16_t*>(base) + element);
  if constexpr (T == KvType::Q8) return loadBytes(reinterpret_cast<const int8_t*>(base) + element);
}

// --- Writing --------------------------------------------------------------------------------------------------------

// The 16 or fewer columns of x from `column` on.
MILLRACE_INLINE F32 loadColumns(const float* x, int column, int columns) {
  return columns - column >= kLanes ? load(x + column) : loadFirst(x + column, columns - column);
}

// One key or value of `columns` numbers; columns c … c + 15 go to put(c, lanes).
template <typename Put>
MILLRACE_INLINE void eachUnit(const float* x, int columns, Put put) {
  for (int c = 0; c < columns; c += kLanes) put(c, loadColumns(x, c, columns));
}

float scaleOf(const float* x, int columns) {
  F32 largest = splat(0);
  eachUnit(x, columns, [&](int, F32 v) { largest = maximum(absolute(v), largest); });
  return maxOf(largest) / 127.0f;
}

// Writes x through `at(c)`, the place of column c; T's rounding.
template <typename Place>
MILLRACE_INLINE void writeStored(KvType type, const float* x, int columns, uint8_t* base, float* scale, Place at) {
  const auto scatter = [&](int c, const auto* from, auto* to) {
    for (int i = 0; i < atMost(kLanes, columns - c); i++) to[at(c + i)] = from[i];
  };
  switch (type) {
    case KvType::F32:
      return eachUnit(x, columns, [&](int c, F32 v) {
        float lane[kLanes];
        store(lane, v);
        scatter(c, lane, reinterpret_cast<float*>(base));
      });
    case KvType::F16:
      return eachUnit(x, columns, [&](int c, F32 v) {
        uint16_t lane[kLanes];
        storeHalf(lane, v);
        scatter(c, lane, reinterpret_cast<uint16_t*>(base));
      });
    case KvType::Q8: {
      *scale = scaleOf(x, columns);
      const F32 divisor = splat(*scale > 0 ? *scale : 1.0f);
      const F32 magic = splat(12582912.0f);  // 1.5 · 2^23: rounds to an integer, in the low bits
      return eachUnit(x, columns, [&](int c, F32 v) {
        int32_t lane[kLanes];
        storeInt(lane, bitsOf(v / divisor + magic));
        int8_t code[kLanes];
        for (int i = 0; i < kLanes; i++) code[i] = static_cast<int8_t>(lane[i] & 0xff);
        scatter(c, code, reinterpret_cast<int8_t*>(base));
      });
    }
  }
}

}  // namespace

size_t kvStateBytes(KvType type, int kvHeads, int keyDim, int valueDim, bool latent) {
  return layoutOf(type, keyDim, valueDim, latent).bytes * kvHeads;
}

void kvWrite(const KvState& kv, const int32_t* blockTable, const int32_t* slots, const float* k, size_t ldk,
             const float* v, size_t ldv, int rowBegin, int rowEnd) {
  const HeadLayout layout = layoutOf(kv);
  for (int row = rowBegin; row < rowEnd; row++) {
    const int slot = slots[row] % kBlock;
    uint8_t* block = kv.base + static_cast<size_t>(blockTable[slots[row] / kBlock]) * kv.blockStride;
    for (int head = 0; head < kv.kvHeads; head++) {
      uint8_t* base = block + layout.bytes * head;
      writeStored(kv.type, k + row * ldk + static_cast<size_t>(head) * kv.keyDim, kv.keyDim, base,
                  reinterpret_cast<float*>(base + layout.keyScales) + slot,
                  [slot](int c) { return c * kBlock + slot; });
      if (kv.latent) continue;
      writeStored(kv.type, v + row * ldv + static_cast<size_t>(head) * kv.valueDim, kv.valueDim, base + layout.values,
                  reinterpret_cast<float*>(base + layout.valueScales) + slot,
                  [slot](int c) { return c / kLanes * (kBlock * kLanes) + slot * kLanes + c % kLanes; });
    }
  }
}

namespace {

// One kv head's part of a slot: a key is a column of its block, a value one line of each panel.
template <typename Element>
void copySlot(const KvState& kv, const HeadLayout& layout, const uint8_t* from, int fromSlot, uint8_t* to, int toSlot) {
  const auto* keysFrom = reinterpret_cast<const Element*>(from) + fromSlot;
  auto* keysTo = reinterpret_cast<Element*>(to) + toSlot;
  for (int d = 0; d < kv.keyDim; d++) keysTo[d * kBlock] = keysFrom[d * kBlock];
  if (kv.latent) return;
  constexpr size_t kLine = kLanes * sizeof(Element);
  const uint8_t* valuesFrom = from + layout.values + fromSlot * kLine;
  uint8_t* valuesTo = to + layout.values + toSlot * kLine;
  for (int p = 0; p < unitsOf(kv.valueDim); p++) {
    std::memcpy(valuesTo + p * kBlock * kLine, valuesFrom + p * kBlock * kLine, kLine);
  }
}
void copyFloat(const uint8_t* from, int fromIndex, uint8_t* to, int toIndex) {
  std::memcpy(to + toIndex * sizeof(float), from + fromIndex * sizeof(float), sizeof(float));
}
void copySlot(const KvState& kv, const HeadLayout& layout, const uint8_t* from, int fromSlot, uint8_t* to, int toSlot) {
  switch (kv.type) {
    case KvType::F32:
      return copySlot<float>(kv, layout, from, fromSlot, to, toSlot);
    case KvType::F16:
      return copySlot<uint16_t>(kv, layout, from, fromSlot, to, toSlot);
    case KvType::Q8:
      copyFloat(from + layout.keyScales, fromSlot, to + layout.keyScales, toSlot);
      copyFloat(from + layout.valueScales, fromSlot, to + layout.valueScales, toSlot);
      return copySlot<int8_t>(kv, layout, from, fromSlot, to, toSlot);
  }
}

}  // namespace

void kvMove(const KvState& kv, int fromBlock, int fromOffset, int toBlock, int toOffset) {
  if (fromBlock == toBlock && fromOffset == toOffset) return;
  const HeadLayout layout = layoutOf(kv);
  const uint8_t* from = kv.base + static_cast<size_t>(fromBlock) * kv.blockStride;
  uint8_t* to = kv.base + static_cast<size_t>(toBlock) * kv.blockStride;
  for (int head = 0; head < kv.kvHeads; head++) {
    copySlot(kv, layout, from + layout.bytes * head, fromOffset, to + layout.bytes * head, toOffset);
  }
}

namespace {

// --- The two products -----------------------------------------------------------------------------------------------

// Vectors of 16 stored numbers in a line of the cache; 0 where nothing is fetched ahead: F32 (which converted tiles are
// read as, too), and a single row, which reads F16 as fast as memory gives it. A block lies alone in memory, too short
// for the processor's own prefetching to get going: without ours, decode from memory is a quarter slower.
template <int R, KvType T>
constexpr int kPerLine = T == KvType::Q8             ? 4
                         : T == KvType::F16 && R > 1 ? 2
                                                     : 0;

// Calls f(i) for begin … end − 1, and fetch(i) once a line before.
template <int R, KvType T, typename Fetch, typename F>
MILLRACE_INLINE void eachLine(int begin, int end, Fetch fetch, F f) {
  int i = begin;
  if constexpr (kPerLine<R, T> > 0) {
    for (; i + kPerLine<R, T> <= end; i += kPerLine<R, T>) {
      fetch(i);
#pragma GCC unroll 4
      for (int j = 0; j < kPerLine<R, T>; j++) f(i + j);
    }
  }
  for (; i < end; i++) f(i);
}

// Scores of R query rows with NB blocks: q [keyDim][R], scores [R][kTile]. `ahead`: what to fetch beside each block.
template <int R, int NB, KvType T>
MILLRACE_INLINE void scoreBlocks(const float* q, const uint8_t* const* keys, const uint8_t* const* ahead, int keyDim,
                                 float* scores) {
  F32 sums[R][NB];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
    for (int b = 0; b < NB; b++) sums[r][b] = splat(0);
  }
  const auto fetch = [&](int d) {
#pragma GCC unroll 8
    for (int b = 0; b < NB; b++)
      __builtin_prefetch(ahead[b] + static_cast<size_t>(d) * (64 / atLeast(kPerLine<R, T>, 1)));
  };
  eachLine<R, T>(0, keyDim, fetch, [&](int d) {
    F32 k[NB];
#pragma GCC unroll 8
    for (int b = 0; b < NB; b++) k[b] = loadStored<T>(keys[b], static_cast<size_t>(d) * kBlock);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      const F32 factor = splat(q[d * R + r]);
#pragma GCC unroll 8
      for (int b = 0; b < NB; b++) sums[r][b] = mulAdd(factor, k[b], sums[r][b]);
    }
  });
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
    for (int b = 0; b < NB; b++) store(scores + r * kTile + b * kBlock, sums[r][b]);
  }
}

// The blocks blockBegin … blockEnd − 1 of a tile.
template <int R, int NB, KvType T>
void scoreTile(const float* q, const uint8_t* const* keys, const uint8_t* const* ahead, int blockBegin, int blockEnd,
               int keyDim, float* scores) {
  int b = blockBegin;
  for (; b + NB <= blockEnd; b += NB) scoreBlocks<R, NB, T>(q, keys + b, ahead + b, keyDim, scores + b * kBlock);
  if constexpr (NB > 1) {
    if (b < blockEnd) scoreTile<R, NB / 2, T>(q, keys, ahead, b, blockEnd, keyDim, scores);
  }
}

// The values of a tile's blocks: panels of 16 columns, `panelStride` elements apart; what to fetch beside each block.
struct Values {
  const uint8_t* const* blocks;
  const uint8_t* const* ahead;
  size_t panelStride;
};

// Adds weights · values of the positions begin … end − 1 of a tile to NB panels: weights [R][kTile], out [R][ldOut].
template <int R, int NB, KvType T>
MILLRACE_INLINE void addPanels(const float* weights, const Values& values, size_t panel, int begin, int end, float* out,
                               size_t ldOut) {
  F32 sums[R][NB];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
    for (int b = 0; b < NB; b++) sums[r][b] = load(out + r * ldOut + (panel + b) * kLanes);
  }
  for (int position = begin; position < end;) {
    const int block = position / kBlock, blockEnd = atMost(end, (block + 1) * kBlock);
    const uint8_t* from = values.blocks[block];
    const uint8_t* ahead = values.ahead[block];
    const auto at = [&](int b, int p) {
      return (panel + b) * values.panelStride + static_cast<size_t>(p % kBlock) * kLanes;
    };
    const auto fetch = [&](int p) {
#pragma GCC unroll 8
      for (int b = 0; b < NB; b++) __builtin_prefetch(ahead + at(b, p) * (64 / kLanes / atLeast(kPerLine<R, T>, 1)));
    };
    eachLine<R, T>(position, blockEnd, fetch, [&](int p) {
      F32 v[NB];
#pragma GCC unroll 8
      for (int b = 0; b < NB; b++) v[b] = loadStored<T>(from, at(b, p));
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
        const F32 factor = splat(weights[r * kTile + p]);
#pragma GCC unroll 8
        for (int b = 0; b < NB; b++) sums[r][b] = mulAdd(factor, v[b], sums[r][b]);
      }
    });
    position = blockEnd;
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
    for (int b = 0; b < NB; b++) store(out + r * ldOut + (panel + b) * kLanes, sums[r][b]);
  }
}

// The panels panelBegin … panelEnd − 1.
template <int R, int NB, KvType T>
void addValues(const float* weights, const Values& values, int panelBegin, int panelEnd, int begin, int end, float* out,
               size_t ldOut) {
  int p = panelBegin;
  for (; p + NB <= panelEnd; p += NB) addPanels<R, NB, T>(weights, values, p, begin, end, out, ldOut);
  if constexpr (NB > 1) {
    if (p < panelEnd) addValues<R, NB / 2, T>(weights, values, p, panelEnd, begin, end, out, ldOut);
  }
}

struct Products {
  void (*score)(const float* q, const uint8_t* const* keys, const uint8_t* const* ahead, int blockBegin, int blockEnd,
                int keyDim, float* scores);
  void (*add)(const float* weights, const Values& values, int panelBegin, int panelEnd, int begin, int end, float* out,
              size_t ldOut);
};

template <KvType T>
Products productsFor(int rows) {
  switch (rows) {
#define MILLRACE_ROWS(R) \
  case R:                \
    return {scoreTile<R, widthFor(R), T>, addValues<R, widthFor(R), T>};
    MILLRACE_ROWS(1)
    MILLRACE_ROWS(2)
#if defined(__AVX2__) || defined(__ARM_NEON)
    MILLRACE_ROWS(3)
    MILLRACE_ROWS(4)
    MILLRACE_ROWS(5)
    MILLRACE_ROWS(6)
#endif
#if defined(__AVX512F__)
    MILLRACE_ROWS(7)
    MILLRACE_ROWS(8)
#endif
#undef MILLRACE_ROWS
  }
  return {};
}

Products productsFor(KvType type, int rows) {
  switch (type) {
    case KvType::F16:
      return productsFor<KvType::F16>(rows);
    case KvType::F32:
      return productsFor<KvType::F32>(rows);
    case KvType::Q8:
      return productsFor<KvType::Q8>(rows);
  }
  return {};
}

// `from` [count] stored elements, count a multiple of 16, as floats.
template <KvType T>
void convert(const uint8_t* from, size_t count, float* to) {
  for (size_t i = 0; i < count; i += kLanes) store(to + i, loadStored<T>(from, i));
}
void convert(KvType type, const uint8_t* from, size_t count, float* to) {
  if (type == KvType::F16) convert<KvType::F16>(from, count, to);
  if (type == KvType::Q8) convert<KvType::Q8>(from, count, to);
}

// The first valueDim columns of a latent block's keys as panels of values, `panelStride` floats apart.
template <KvType T>
void transposeKeys(const uint8_t* keys, int valueDim, float* to, size_t panelStride) {
  for (int p = 0; p < unitsOf(valueDim); p++) {
    float* panel = to + p * panelStride;
    for (int c = 0; c < kLanes; c++) {
      float line[kBlock];
      const int column = p * kLanes + c;
      store(line, column < valueDim ? loadStored<T>(keys, static_cast<size_t>(column) * kBlock) : splat(0));
      for (int slot = 0; slot < kBlock; slot++) panel[slot * kLanes + c] = line[slot];
    }
  }
}
void transposeKeys(KvType type, const uint8_t* keys, int valueDim, float* to, size_t panelStride) {
  switch (type) {
    case KvType::F16:
      return transposeKeys<KvType::F16>(keys, valueDim, to, panelStride);
    case KvType::F32:
      return transposeKeys<KvType::F32>(keys, valueDim, to, panelStride);
    case KvType::Q8:
      return transposeKeys<KvType::Q8>(keys, valueDim, to, panelStride);
  }
}

// --- A tile ---------------------------------------------------------------------------------------------------------

// Places that a row sees, as an interval.
struct Span {
  int begin, end;
};
MILLRACE_INLINE bool isEmpty(Span s) { return s.begin >= s.end; }

MILLRACE_INLINE int listedBy(const AttendArgs& args, int row) {
  return args.listStarts == nullptr ? 0 : args.listStarts[row + 1] - args.listStarts[row];
}
// A row in the midst of a span that it sees to the end has its slot for a place; any other row is the last that it
// sees.
MILLRACE_INLINE int ownPlace(const AttendArgs& args, int row) {
  const int seen = args.seen[row];
  return args.slots[row] < seen - 1 ? args.slots[row] : seen + listedBy(args, row) - 1;
}
Span visible(const AttendArgs& args, int row) {
  const int own = ownPlace(args, row);
  Span all{0, args.seen[row] + listedBy(args, row)};
  if (args.window > 0) all.begin = atLeast(0, own - args.window + 1);
  if (args.chunk > 0) all.begin = atLeast(all.begin, own / args.chunk * args.chunk);
  if (args.ahead >= 0) all.end = atMost(all.end, own + args.ahead + 1);
  return all;
}
// The same, counted from the tile's first place; empty where the tile holds none.
MILLRACE_INLINE Span inTile(Span all, int tile) {
  return {atLeast(all.begin - tile * kTile, 0), atMost(all.end - tile * kTile, kTile)};
}

// Query rows first … first + count − 1 of the step, numbered row · group + head of the group, and all memory for them.
struct Batch {
  const AttendArgs* args;
  HeadLayout layout;
  int kvHead, group;
  int first, count;
  int columns;            // of sums: valueDim, padded
  Span spans[kMaxBatch];  // places that each sees
  int slots;              // leading slots that any of them sees
  float* queries;         // groups of R rows, each [keyDim][R]
  float* scores;          // [count][kTile], then the weights
  float* sums;            // [count][columns], of the tile
  float* maxima;          // [count], of the tile
  float* totals;          // [count], of the tile
  float* keys;            // [kConvertBlocks][keyDim][16]
  float* values;          // [columns / 16][kTile][16]
  // The same three, of all tiles so far.
  float* running;
  float* runningMaxima;
  float* runningTotals;
  // For a row that lists slots in the tile: its queries by themselves, and the gathered blocks of its places.
  float* listedQueries;
  uint8_t* gathered;  // [kTileBlocks], of one kv head
};

struct Sizes {
  int batch;  // the most query rows of a Batch
  size_t floats;
};
Sizes sizesFor(const KvState& kv, int queryRows) {
  const size_t columns = static_cast<size_t>(unitsOf(kv.valueDim)) * kLanes;
  const size_t each = kv.keyDim + kTile + 2 * (columns + 2);
  const int batch = atMost(atMost(kMaxBatch, atLeast(kBatchFloats / static_cast<int>(each), kMaxR)), queryRows);
  const size_t gathered = kTileBlocks * layoutOf(kv).bytes / sizeof(float);
  const size_t shared = static_cast<size_t>(kConvertBlocks) * kBlock * kv.keyDim + kTile * columns + gathered;
  return {batch, (each + kv.keyDim) * batch + shared + 12 * (kAlign / sizeof(float))};
}

// Query rows begin … end − 1 in as few batches as can be, of even sizes: f(first, count).
template <typename F>
MILLRACE_INLINE void eachBatch(const KvState& kv, int begin, int end, F f) {
  const int count = end - begin;
  if (count <= 0) return;
  const int most = sizesFor(kv, count).batch;
  const int batches = (count + most - 1) / most;
  for (int i = 0; i < batches; i++) {
    const int from = begin + count * i / batches;
    f(from, begin + count * (i + 1) / batches - from);
  }
}

void setUp(Batch& b, const AttendArgs& args, int kvHead, int first, int count, uint8_t* scratch) {
  const KvState& kv = *args.kv;
  b.args = &args;
  b.layout = layoutOf(kv);
  b.kvHead = kvHead;
  b.group = args.heads / kv.kvHeads;
  b.first = first;
  b.count = count;
  b.columns = unitsOf(kv.valueDim) * kLanes;
  b.slots = 0;
  for (int i = 0; i < count; i++) {
    const int row = (first + i) / b.group;
    b.spans[i] = visible(args, row);
    b.slots = atLeast(b.slots, args.seen[row]);
  }
  uint8_t* next = reinterpret_cast<uint8_t*>(alignUp(reinterpret_cast<uintptr_t>(scratch)));
  const auto take = [&next](size_t floats) {
    float* p = reinterpret_cast<float*>(next);
    next += alignUp(floats * sizeof(float));
    return p;
  };
  const size_t n = count, columns = b.columns;
  b.queries = take(n * kv.keyDim);
  b.scores = take(n * kTile);
  b.sums = take(n * columns);
  b.maxima = take(n);
  b.totals = take(n);
  b.keys = take(static_cast<size_t>(kConvertBlocks) * kBlock * kv.keyDim);
  b.values = take(kTile * columns);
  b.running = take(n * columns);
  b.runningMaxima = take(n);
  b.runningTotals = take(n);
  b.listedQueries = take(n * kv.keyDim);
  b.gathered = next;
}

// Groups of at most kMaxR query rows, as even as can be: f(first of the batch, rows).
template <typename F>
MILLRACE_INLINE void eachGroup(const Batch& b, F f) {
  const int groups = (b.count + kMaxR - 1) / kMaxR;
  for (int i = 0; i < groups; i++) {
    const int begin = b.count * i / groups;
    f(begin, b.count * (i + 1) / groups - begin);
  }
}

MILLRACE_INLINE int rowOf(const Batch& b, int i) { return (b.first + i) / b.group; }

void packQueries(const Batch& b, float* queries) {
  const int keyDim = b.args->kv->keyDim;
  eachGroup(b, [&](int begin, int rows) {
    float* to = queries + static_cast<size_t>(begin) * keyDim;
    for (int r = 0; r < rows; r++) {
      const int head = b.kvHead * b.group + (b.first + begin + r) % b.group;
      const float* from = b.args->q + rowOf(b, begin + r) * b.args->ldq + static_cast<size_t>(head) * keyDim;
      for (int d = 0; d < keyDim; d++) to[d * rows + r] = from[d];
    }
  });
}

// Lanes outside the span get `other`; the span is counted from the block's first position.
MILLRACE_INLINE F32 within(Span span, F32 x, F32 other) {
  if (span.begin > 0) x = select(firstLanes(atMost(span.begin, kLanes)), other, x);
  if (span.end < kLanes) x = select(firstLanes(atLeast(span.end, 0)), x, other);
  return x;
}

// What position adds to a row's scores: −slope · |place − own place| (ALiBi, Press et al. 2022), or a value for each
// distance.
struct Slope {
  float slope;
  int first;           // the tile's first place − the row's own
  const float* table;  // of the distance 0, or null
  int reach;
};
Slope slopeOf(const Batch& b, int i, int tile) {
  const AttendArgs& args = *b.args;
  if (args.slopes == nullptr && args.distances == nullptr) return {0, 0, nullptr, 0};
  const int head = b.kvHead * b.group + (b.first + i) % b.group;
  const int first = tile * kTile - ownPlace(args, rowOf(b, i));
  if (args.distances == nullptr) return {args.slopes[head], first, nullptr, 0};
  return {0, first, args.distances + static_cast<size_t>(head) * (2 * args.reach + 1) + args.reach, args.reach};
}

// Raw scores → weights, in place; the row's maximum and the sum of its weights.
template <bool isQuantized, bool isCapped>
void softmaxRow(const Batch& b, const uint8_t* const* blocks, Span span, Slope by, float* scores, float* largest,
                float* total) {
  const AttendArgs& args = *b.args;
  const F32 scale = splat(args.scale), least = splat(-kInfinity);
  const int blockBegin = span.begin / kBlock, blockEnd = (span.end + kBlock - 1) / kBlock;
  const auto inBlock = [span](int i) { return Span{span.begin - i * kBlock, span.end - i * kBlock}; };
  F32 top = least;
  for (int i = blockBegin; i < blockEnd; i++) {
    F32 s = load(scores + i * kBlock);
    if constexpr (isQuantized) s = s * load(reinterpret_cast<const float*>(blocks[i] + b.layout.keyScales));
    s = s * scale;
    if (by.slope != 0) {
      float distances[kLanes];
      for (int lane = 0; lane < kLanes; lane++) {
        const int distance = by.first + i * kBlock + lane;
        distances[lane] = static_cast<float>(distance < 0 ? distance : -distance);
      }
      s = fma(splat(by.slope), load(distances), s);
    } else if (by.table != nullptr) {
      float added[kLanes];
      for (int lane = 0; lane < kLanes; lane++)
        added[lane] = by.table[atMost(atLeast(by.first + i * kBlock + lane, -by.reach), by.reach)];
      s = s + load(added);
    }
    if constexpr (isCapped) s = splat(args.softcap) * tanh(s / splat(args.softcap));
    s = within(inBlock(i), s, least);
    top = maximum(s, top);
    store(scores + i * kBlock, s);
  }
  *largest = maxOf(top);
  const F32 base = splat(*largest == -kInfinity ? 0.0f : *largest);
  F32 sum = splat(0);
  for (int i = blockBegin; i < blockEnd; i++) {
    F32 w = within(inBlock(i), expBelow(load(scores + i * kBlock) - base), splat(0));
    sum = sum + w;
    if constexpr (isQuantized) w = w * load(reinterpret_cast<const float*>(blocks[i] + b.layout.valueScales));
    store(scores + i * kBlock, w);
  }
  *total = sumOf(sum);
}

// What the rows of a batch see of a tile, row by row and group by group: what any of the group's rows sees, what all
// do.
struct View {
  Span rows[kMaxBatch];
  struct Group {
    int begin, count;
    Span any, all;
  } groups[kMaxBatch];
  int groupCount;
  Span any;
};

Span joined(Span a, Span b) {
  if (isEmpty(a)) return b;
  if (isEmpty(b)) return a;
  return {atMost(a.begin, b.begin), atLeast(a.end, b.end)};
}

// Whether row i of the batch lists slots whose places it sees in the tile.
bool listsIn(const Batch& b, int i, int tile) {
  const int seen = b.args->seen[rowOf(b, i)];
  return b.spans[i].end > atLeast(seen, tile * kTile) && atLeast(b.spans[i].begin, seen) < (tile + 1) * kTile;
}

// Rows that list slots there are left out, unless asked for.
void look(const Batch& b, int tile, bool withListed, View& view) {
  view.any = {0, 0};
  view.groupCount = 0;
  eachGroup(b, [&](int begin, int count) {
    View::Group& group = view.groups[view.groupCount++];
    group = {begin, count, {0, 0}, {0, kTile}};
    for (int i = begin; i < begin + count; i++) {
      const bool isOut = !withListed && b.args->listStarts != nullptr && listsIn(b, i, tile);
      const Span s = isOut ? Span{0, 0} : inTile(b.spans[i], tile);
      view.rows[i] = s;
      group.any = joined(group.any, s);
      group.all = {atLeast(group.all.begin, s.begin), atMost(group.all.end, s.end)};
    }
    view.any = joined(view.any, group.any);
  });
}

// A kv head's part of an entry of the block table. An entry that has no block is never one that a row sees.
MILLRACE_INLINE const uint8_t* headOf(const Batch& b, int entry, int kvHead) {
  const size_t id = atLeast(b.args->blockTable[entry], 0);
  return b.args->kv->base + id * b.args->kv->blockStride + b.layout.bytes * kvHead;
}

// Maximum, total and sums of one tile for all rows of the view that see some of it: `blocks` from view.any on. The
// tile's values are fetched while its keys are read, and while its values are, the keys of what is likely to come next.
void attendBlocks(const Batch& b, int tile, const View& view, const uint8_t* const* blocks,
                  const uint8_t* const* nextKeys) {
  const AttendArgs& args = *b.args;
  const KvState& kv = *args.kv;
  const int blockBegin = view.any.begin / kBlock, blockEnd = (view.any.end + kBlock - 1) / kBlock;
  const uint8_t* ownValues[kTileBlocks] = {};
  for (int i = blockBegin; i < blockEnd; i++) ownValues[i] = blocks[i] + b.layout.values;
  const bool converts = kv.type != KvType::F32 && view.groupCount >= kConvertGroups;
  const KvType read = converts ? KvType::F32 : kv.type;

  // Scores.
  const int step = converts ? kConvertBlocks : kTileBlocks;
  for (int from = blockBegin; from < blockEnd; from += step) {
    const int to = atMost(from + step, blockEnd);
    const uint8_t* keys[kTileBlocks] = {};
    for (int i = from; i < to; i++) {
      keys[i] = blocks[i];
      if (!converts) continue;
      const size_t count = static_cast<size_t>(kBlock) * kv.keyDim;
      float* converted = b.keys + count * (i - from);
      convert(kv.type, blocks[i], count, converted);
      keys[i] = reinterpret_cast<const uint8_t*>(converted);
    }
    for (int g = 0; g < view.groupCount; g++) {
      const View::Group& group = view.groups[g];
      const int first = atLeast(from, group.any.begin / kBlock);
      const int last = atMost(to, (group.any.end + kBlock - 1) / kBlock);
      if (isEmpty(group.any) || first >= last) continue;
      productsFor(read, group.count)
          .score(b.queries + static_cast<size_t>(group.begin) * kv.keyDim, keys, ownValues, first, last, kv.keyDim,
                 b.scores + static_cast<size_t>(group.begin) * kTile);
    }
  }

  const bool isQuantized = kv.type == KvType::Q8, isCapped = args.softcap > 0;
  const auto softmax = isQuantized ? (isCapped ? softmaxRow<true, true> : softmaxRow<true, false>)
                                   : (isCapped ? softmaxRow<false, true> : softmaxRow<false, false>);
  for (int i = 0; i < b.count; i++) {
    if (isEmpty(view.rows[i])) continue;
    softmax(b, blocks, view.rows[i], slopeOf(b, i, tile), b.scores + static_cast<size_t>(i) * kTile, b.maxima + i,
            b.totals + i);
    std::memset(b.sums + static_cast<size_t>(i) * b.columns, 0, b.columns * sizeof(float));
  }

  // Values.
  const uint8_t* values[kTileBlocks] = {};
  const int panels = b.columns / kLanes;
  const bool laysOut = converts || kv.latent;
  const size_t panelStride = static_cast<size_t>(laysOut ? kTile : kBlock) * kLanes;
  for (int i = blockBegin; i < blockEnd; i++) {
    values[i] = ownValues[i];
    if (!laysOut) continue;
    if (kv.latent) {
      transposeKeys(kv.type, blocks[i], kv.valueDim, b.values + static_cast<size_t>(i) * kBlock * kLanes, panelStride);
    }
    for (int p = 0; p < panels && !kv.latent; p++) {
      const size_t count = static_cast<size_t>(kBlock) * kLanes;
      convert(kv.type, values[i] + p * count * elementBytes(kv.type), count, b.values + p * panelStride + i * count);
    }
    values[i] = reinterpret_cast<const uint8_t*>(b.values + static_cast<size_t>(i) * kBlock * kLanes);
  }
  const Values tileValues = {values, nextKeys, panelStride};
  const KvType stored = laysOut ? KvType::F32 : kv.type;
  // A panel of a converted tile (8 KB) stays in L1 while all rows pass.
  const Products single = productsFor(stored, 1);
  const int panelStep = laysOut ? widthFor(kMaxR) : panels;
  for (int p = 0; p < panels; p += panelStep) {
    const int panelEnd = atMost(p + panelStep, panels);
    for (int g = 0; g < view.groupCount; g++) {
      const View::Group& group = view.groups[g];
      const float* weights = b.scores + static_cast<size_t>(group.begin) * kTile;
      float* sums = b.sums + static_cast<size_t>(group.begin) * b.columns;
      // A row's own positions before and behind those that all rows of the group see.
      const auto alone = [&](int r, int from, int to) {
        if (from >= to) return;
        single.add(weights + r * kTile, tileValues, p, panelEnd, from, to, sums + static_cast<size_t>(r) * b.columns,
                   b.columns);
      };
      const Span* rows = view.rows + group.begin;
      if (isEmpty(group.all)) {
        for (int r = 0; r < group.count; r++) alone(r, rows[r].begin, rows[r].end);
        continue;
      }
      for (int r = 0; r < group.count; r++) alone(r, rows[r].begin, group.all.begin);
      productsFor(stored, group.count)
          .add(weights, tileValues, p, panelEnd, group.all.begin, group.all.end, sums, b.columns);
      for (int r = 0; r < group.count; r++) alone(r, group.all.end, rows[r].end);
    }
  }
}

// The batch's rows i … i + count − 1, all of one row of the step, as a batch of their own.
Batch partOf(const Batch& b, int i, int count) {
  Batch part = b;
  part.first += i;
  part.count = count;
  std::memcpy(part.spans, b.spans + i, count * sizeof(Span));
  part.queries = b.listedQueries;
  part.scores += static_cast<size_t>(i) * kTile;
  part.sums += static_cast<size_t>(i) * b.columns;
  part.maxima += i;
  part.totals += i;
  return part;
}

// The slots whose keys and values lie in Batch::gathered, place by place of the tile; −1: none yet. Nodes of a tree
// share the beginnings of their lists, which are gathered once then.
struct Gathered {
  int32_t slots[kTile];
};

// Finds the blocks of a tile for a row that lists slots there: its own where all their places are slots, else gathered.
void gather(const Batch& b, int tile, Span span, Gathered& gathered, const uint8_t** blocks) {
  const AttendArgs& args = *b.args;
  const int row = rowOf(b, 0), seen = args.seen[row];
  const int32_t* listed = args.listed + args.listStarts[row];
  for (int i = span.begin / kBlock; i < (span.end + kBlock - 1) / kBlock; i++) {
    const int first = (tile * kTileBlocks + i) * kBlock;
    if (first + kBlock <= seen) {
      blocks[i] = headOf(b, first / kBlock, b.kvHead);
      continue;
    }
    uint8_t* to = b.gathered + i * b.layout.bytes;
    blocks[i] = to;
    for (int at = atLeast(span.begin - i * kBlock, 0); at < atMost(span.end - i * kBlock, kBlock); at++) {
      const int place = first + at, slot = place < seen ? place : listed[place - seen];
      int32_t& has = gathered.slots[i * kBlock + at];
      if (has == slot) continue;
      has = slot;
      copySlot(*args.kv, b.layout, headOf(b, slot / kBlock, b.kvHead), slot % kBlock, to, at);
    }
  }
}

void attendListed(const Batch& b, int tile, View& view) {
  Gathered gathered;
  std::memset(gathered.slots, -1, sizeof gathered.slots);
  for (int i = 0, count = 0; i < b.count; i += count) {
    count = 1;
    while (i + count < b.count && rowOf(b, i + count) == rowOf(b, i)) count++;
    if (!listsIn(b, i, tile)) continue;
    const Batch part = partOf(b, i, count);
    View own;
    look(part, tile, true, own);
    if (isEmpty(own.any)) continue;
    const uint8_t* blocks[kTileBlocks] = {};
    gather(part, tile, own.any, gathered, blocks);
    packQueries(part, part.queries);
    attendBlocks(part, tile, own, blocks, blocks);
    std::memcpy(view.rows + i, own.rows, count * sizeof(Span));
  }
}

// One tile for all rows of the batch; view.rows says then what each sees of it. What is likely to come next: another
// tile, another kv head.
void attendTileFor(const Batch& b, int tile, View& view, int nextTile, int nextHead) {
  look(b, tile, false, view);
  if (!isEmpty(view.any)) {
    const uint8_t* blocks[kTileBlocks] = {};
    const uint8_t* nextKeys[kTileBlocks] = {};
    const int lastEntry = (b.slots - 1) / kBlock;
    for (int i = view.any.begin / kBlock; i < (view.any.end + kBlock - 1) / kBlock; i++) {
      blocks[i] = headOf(b, tile * kTileBlocks + i, b.kvHead);
      // Where nothing comes next, the block itself: it lies in the cache.
      const int next = nextTile * kTileBlocks + i;
      nextKeys[i] = next <= lastEntry ? headOf(b, next, nextHead) : blocks[i];
    }
    attendBlocks(b, tile, view, blocks, nextKeys);
  }
  if (b.args->listStarts != nullptr) attendListed(b, tile, view);
}

// --- Merging tiles --------------------------------------------------------------------------------------------------

// Joins a tile to a row's running sums [columns], maximum and total. The first tile that the row sees is taken as it
// is.
void joinTile(float* running, float* top, float* total, int columns, bool isFirst, const float* sums, float tileTop,
              float tileTotal) {
  if (isFirst) {
    std::memcpy(running, sums, columns * sizeof(float));
    *top = tileTop;
    *total = tileTotal;
    return;
  }
  const float largest = *top > tileTop ? *top : tileTop;
  const float base = largest == -kInfinity ? 0.0f : largest;
  float factors[kLanes];
  store(factors, exp(select(firstLanes(1), splat(*top - base), splat(tileTop - base))));
  const float before = factors[0], now = factors[1];
  const auto join = [before, now](F32 a, F32 b) { return fma(b, splat(now), a * splat(before)); };
  int c = 0;
  for (; c + kLanes <= columns; c += kLanes) store(running + c, join(load(running + c), load(sums + c)));
  const int rest = columns - c;
  if (rest > 0) storeFirst(running + c, join(loadFirst(running + c, rest), loadFirst(sums + c, rest)), rest);
  float joined[kLanes];
  store(joined, join(splat(*total), splat(tileTotal)));
  *top = largest;
  *total = joined[0];
}

// `sink`: of the head, or null.
void writeRow(const float* merged, float top, float total, const float* sink, int valueDim, float* out) {
  if (sink != nullptr) {
    // Beyond what a float holds the sink takes all.
    float lane[kLanes];
    store(lane, exp(splat(*sink - top)));
    total = total + lane[0];
  }
  const F32 factor = splat(1.0f / total);
  int c = 0;
  for (; c + kLanes <= valueDim; c += kLanes) store(out + c, load(merged + c) * factor);
  if (c < valueDim) storeFirst(out + c, loadFirst(merged + c, valueDim - c) * factor, valueDim - c);
}

const float* sinkOf(const AttendArgs& args, int head) { return args.sinks == nullptr ? nullptr : args.sinks + head; }

float* outputOf(const AttendArgs& args, int row, int head) {
  return args.out + row * args.ldo + static_cast<size_t>(head) * args.kv->valueDim;
}

}  // namespace

void attendRows(const AttendArgs& args, int kvHead, int rowBegin, int rowEnd, uint8_t* scratch) {
  const KvState& kv = *args.kv;
  const int group = args.heads / kv.kvHeads;
  eachBatch(kv, rowBegin * group, rowEnd * group, [&](int first, int count) {
    Batch b;
    setUp(b, args, kvHead, first, count, scratch);
    packQueries(b, b.queries);
    View view;
    Span all = b.spans[0];
    for (int i = 1; i < count; i++) all = joined(all, b.spans[i]);
    for (int tile = all.begin / kTile; tile * kTile < all.end; tile++) {
      attendTileFor(b, tile, view, tile + 1, kvHead);
      for (int i = 0; i < count; i++) {
        if (isEmpty(view.rows[i])) continue;
        const bool isFirst = tile == b.spans[i].begin / kTile;
        float* running = b.running + static_cast<size_t>(i) * b.columns;
        const float* sums = b.sums + static_cast<size_t>(i) * b.columns;
        joinTile(running, b.runningMaxima + i, b.runningTotals + i, b.columns, isFirst, sums, b.maxima[i], b.totals[i]);
      }
    }
    for (int i = 0; i < count; i++) {
      const int head = kvHead * group + (first + i) % group;
      writeRow(b.running + static_cast<size_t>(i) * b.columns, b.runningMaxima[i], b.runningTotals[i],
               sinkOf(args, head), kv.valueDim, outputOf(args, rowOf(b, i), head));
    }
  });
}

// A tile outside a row's view leaves its partials as they are; attendMerge passes over it by the same rule.
void attendTile(const AttendArgs& args, int kvHead, int rowBegin, int rowEnd, int tile, float* partials,
                size_t rowStride, uint8_t* scratch) {
  const KvState& kv = *args.kv;
  const int group = args.heads / kv.kvHeads;
  const size_t each = kv.valueDim + 2;
  eachBatch(kv, rowBegin * group, rowEnd * group, [&](int first, int count) {
    Batch b;
    setUp(b, args, kvHead, first, count, scratch);
    bool isSeen = false;
    for (int i = 0; i < count; i++) isSeen |= !isEmpty(inTile(b.spans[i], tile));
    if (!isSeen) return;
    packQueries(b, b.queries);
    View view;
    const bool isLast = kvHead + 1 == kv.kvHeads;  // heads first, then tiles
    attendTileFor(b, tile, view, isLast ? tile + 1 : tile, isLast ? 0 : kvHead + 1);
    for (int i = 0; i < count; i++) {
      if (isEmpty(view.rows[i])) continue;
      float* to = partials + rowStride * (rowOf(b, i) - rowBegin) + each * ((first + i) % group);
      std::memcpy(to, b.sums + static_cast<size_t>(i) * b.columns, kv.valueDim * sizeof(float));
      to[kv.valueDim] = b.maxima[i];
      to[kv.valueDim + 1] = b.totals[i];
    }
  });
}

void attendMerge(const AttendArgs& args, int kvHead, int row, const float* partials, size_t stride, int tileBegin,
                 int tileEnd) {
  const KvState& kv = *args.kv;
  const int group = args.heads / kv.kvHeads;
  const Span all = visible(args, row);
  const int first = all.begin / kTile, last = (all.end - 1) / kTile;
  const size_t each = kv.valueDim + 2;
  for (int head = 0; head < group; head++) {
    // The row's output is the running sum; maximum and total stand beside it.
    float* out = outputOf(args, row, kvHead * group + head);
    float top = 0, total = 0;
    for (int tile = atLeast(first, tileBegin); tile <= atMost(last, tileEnd - 1); tile++) {
      const float* from = partials + (tile - tileBegin) * stride + each * head;
      joinTile(out, &top, &total, kv.valueDim, tile == first, from, from[kv.valueDim], from[kv.valueDim + 1]);
    }
    writeRow(out, top, total, sinkOf(args, kvHead * group + head), kv.valueDim, out);
  }
}

size_t attendScratchBytes(const KvState& kv, int heads, int maxRows) {
  const int group = heads / kv.kvHeads;
  return sizesFor(kv, maxRows * group).floats * sizeof(float) + kAlign;
}

}  // namespace millrace::MILLRACE_ISA
