// The memory of what sequences remember: for each state group, blocks of 16 positions. A block holds the slices of all
// the group's layers one after another, so that a block is copied, swapped out or sent away as one range of bytes.
#pragma once
#include <cstring>
#include <memory>
#include <vector>

#include "kernels.h"
#include "os.h"

namespace millrace {

constexpr int kBlockTokens = 16;
constexpr int kTileTokens = 128;

struct PoolGroup {
  int32_t kvHeads = 0, keyDim = 0, valueDim = 0;
  int32_t window = 0;  // 0: none
  int32_t layers = 0;
  int32_t blocks = 0;
  size_t layerBytes = 0, blockBytes = 0;
  os::Pages pages;
};

// One layer's bytes in a block.
inline size_t layerBytesOf(const Kernels& kernels, KvType type, int kvHeads, int keyDim, int valueDim) {
  return (kernels.kvStateBytes(type, kvHeads, keyDim, valueDim) + 63) / 64 * 64;
}

struct Pool {
  KvType type = KvType::F16;
  std::vector<std::unique_ptr<PoolGroup>> groups;

  uint8_t* block(int group, int index) const {
    const PoolGroup& g = *groups[group];
    return g.pages.data() + static_cast<size_t>(index) * g.blockBytes;
  }
  KvState layer(int group, int index) const {
    const PoolGroup& g = *groups[group];
    return {g.pages.data() + static_cast<size_t>(index) * g.layerBytes,
            g.blockBytes,
            type,
            g.kvHeads,
            g.keyDim,
            g.valueDim};
  }
  void copyBlock(int group, int from, int to) const {
    if (from != to) memcpy(block(group, to), block(group, from), groups[group]->blockBytes);
  }
};

}  // namespace millrace
