// What the kernels for many rows (linear-wide.cpp, linear-tiles.cpp) share: how a matrix is cut into chunks of blocks
// that stay unpacked in the first-level cache, and what is fetched ahead while one of them is multiplied.
#pragma once
#include "isa/linear-shared.h"
#include "isa/unpack.h"

namespace millrace::MILLRACE_ISA {

constexpr int kChunkBlocks = 16;  // blocks; a K format has eight in its 256 columns
constexpr int kSetGroups = 8;  // groups that use a chunk of the panel's columns while it is in the second-level cache
static_assert(kChunkBlocks % 8 == 0);

// A run of blocks of some groups, the same of each.
struct Chunk {
  int group, begin, end;
};

MILLRACE_INLINE const uint8_t* addressOf(const LinearArgs& a, Chunk chunk, int group) {
  const size_t blocks = static_cast<size_t>(a.w->cols / kActBlock);
  return groupOf(a, chunk.group + group) + a.w->groupBytes / blocks * static_cast<size_t>(chunk.begin);
}

// Fetches piece `index` of `pieces` of a chunk of so many groups.
template <int Groups>
MILLRACE_INLINE void prefetchWeights(const LinearArgs& a, Chunk chunk, int index, int pieces) {
  const size_t blocks = static_cast<size_t>(a.w->cols / kActBlock), count = static_cast<size_t>(pieces);
  const size_t lines = (a.w->groupBytes / blocks * static_cast<size_t>(chunk.end - chunk.begin) + 63) / 64;
  const size_t end = lines * static_cast<size_t>(index + 1) / count;
  for (int g = 0; g < Groups; g++) {
    const uint8_t* p = addressOf(a, chunk, g);
    for (size_t i = lines * static_cast<size_t>(index) / count; i < end; i++) __builtin_prefetch(p + 64 * i, 0, 2);
  }
}

// The lines to which the rows begin … end − 1 of Groups groups from g on are written: they lie far apart, and waiting
// for each would cost a sixth of the time.
template <int Groups>
MILLRACE_INLINE void prefetchOutputs(const LinearArgs& a, int begin, int end, int g) {
  const size_t first = static_cast<size_t>(g * kGroupRows);
  for (int i = begin; i < end; i++) {
    for (size_t n = first; n < first + Groups * kGroupRows; n += kGroupRows) {
      __builtin_prefetch(a.y + static_cast<size_t>(i) * a.ldy + n, 1);
      if (a.residual && a.residual != a.y) __builtin_prefetch(a.residual + static_cast<size_t>(i) * a.ldr + n);
    }
  }
}

// multiply(chunk, next, acc) for all chunks of the groups g0 … g1 − 1, Groups at a time (the last may be fewer), in
// rising order of blocks for each group. acc: zeros at first, accPerGroup floats a group; `next`: the chunk that comes
// after.
template <int Groups, typename F>
MILLRACE_INLINE void eachChunk(const LinearArgs& a, int g0, int g1, size_t accPerGroup, float* acc, F multiply) {
  const int blocks = a.w->cols / kActBlock;
  const auto chunkAt = [&](int g, int b) { return Chunk{g, b, std::min(b + kChunkBlocks, blocks)}; };
  for (int set = g0; set < g1; set += kSetGroups) {
    const int end = std::min(set + kSetGroups, g1);
    std::fill_n(acc, accPerGroup * static_cast<size_t>(end - set), 0.0f);
    for (int b = 0; b < blocks; b += kChunkBlocks) {
      for (int g = set; g < end; g += Groups) {
        Chunk next = chunkAt(end, 0);
        if (b + kChunkBlocks < blocks) next = chunkAt(set, b + kChunkBlocks);
        if (g + Groups < end) next = chunkAt(g + Groups, b);
        multiply(chunkAt(g, b), next, acc + accPerGroup * static_cast<size_t>(g - set));
      }
    }
  }
}

}  // namespace millrace::MILLRACE_ISA
