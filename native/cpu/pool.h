// The memory of what sequences remember: for each state group, blocks of 16 positions. A block holds the slices of all
// the group's layers one after another, so that a block is copied, swapped out or sent away as one range of bytes.
// Beside them lie the last samples of all programs of the pool, because a step may name one as a token.
#pragma once
#include <cstring>
#include <deque>
#include <memory>
#include <vector>

#include "effects.h"
#include "kernels.h"
#include "list.h"
#include "os.h"

namespace millrace {

constexpr int kBlockTokens = 16;
constexpr int kTileTokens = 128;
// BORDER_TOKENS and HISTORY_TOKENS of src/backend/contract.ts.
constexpr int kBorderTokens = 64;
constexpr int kHistoryTokens = 128;
// REMEMBERED_STEPS of src/backend/contract.ts.
constexpr size_t kRememberedSteps = 4;

struct PoolGroup {
  KvType type = KvType::F16;
  // A group of rows has one head and no values: its layer in a block is 16 rows of keyDim floats.
  int32_t kvHeads = 0, keyDim = 0, valueDim = 0;
  bool isRows() const { return valueDim == 0; }
  bool latent = false;  // values are columns of the keys
  // A block is a granule: a layer's values at a border, in the place of 16 rows.
  bool isGranules = false;
  int32_t window = 0;  // 0: none
  int32_t layers = 0;
  int32_t blocks = 0;
  size_t layerBytes = 0, blockBytes = 0;
  os::Pages pages;
};

// One layer's bytes in a block.
inline size_t layerBytesOf(const Kernels& kernels, KvType type, int kvHeads, int keyDim, int valueDim, bool latent) {
  size_t bytes = valueDim == 0 ? sizeof(float) * kBlockTokens * static_cast<size_t>(keyDim)
                               : kernels.kvStateBytes(type, kvHeads, keyDim, valueDim, latent);
  return (bytes + 63) / 64 * 64;
}

// The sample ids of one step: NO_SAMPLE until it has ended.
struct Samples {
  int32_t step = 0;
  bool inFlight = true;  // of the JavaScript thread
  bool failed = false;   // of the team's threads
  List<int32_t> ids;
};

// A place of a layer of rows.
inline float* rowOf(const KvState& rows, int block, int offset) {
  uint8_t* slice = rows.base + static_cast<size_t>(block) * rows.blockStride;
  return reinterpret_cast<float*>(slice) + static_cast<size_t>(offset) * static_cast<size_t>(rows.keyDim);
}

struct Pool {
  std::shared_ptr<EffectQueue> queue;
  std::vector<std::unique_ptr<PoolGroup>> groups;

  // Of the JavaScript thread: the steps whose samples can be named, in order of submission, and the last step's id.
  std::deque<std::shared_ptr<Samples>> samples;
  int64_t lastStep = INT64_MIN;

  uint8_t* block(int group, int index) const {
    const PoolGroup& g = *groups[group];
    return g.pages.data() + static_cast<size_t>(index) * g.blockBytes;
  }
  KvState layer(int group, int index) const {
    const PoolGroup& g = *groups[group];
    return {g.pages.data() + static_cast<size_t>(index) * g.layerBytes,
            g.blockBytes,
            g.type,
            g.kvHeads,
            g.keyDim,
            g.valueDim,
            g.latent};
  }
  // One of so many parts of a block.
  void copyBlock(int group, int from, int to, int part, int parts) const {
    size_t bytes = groups[group]->blockBytes;
    size_t begin = bytes * static_cast<size_t>(part) / parts, end = bytes * static_cast<size_t>(part + 1) / parts;
    memcpy(block(group, to) + begin, block(group, from) + begin, end - begin);
  }
  void moveSlot(const Kernels& kernels, int group, int fromBlock, int fromOffset, int toBlock, int toOffset) const {
    for (int i = 0; i < groups[group]->layers; i++) {
      if (groups[group]->isRows()) {
        KvState rows = layer(group, i);
        memcpy(rowOf(rows, toBlock, toOffset), rowOf(rows, fromBlock, fromOffset), sizeof(float) * rows.keyDim);
        continue;
      }
      kernels.kvMove(layer(group, i), fromBlock, fromOffset, toBlock, toOffset);
    }
  }

  // Null where the step is neither remembered nor in flight.
  std::shared_ptr<Samples> samplesOf(int32_t step) const {
    for (const auto& entry : samples) {
      if (entry->step == step) return entry;
    }
    return nullptr;
  }
  void remember(std::shared_ptr<Samples> entry) {
    samples.push_back(std::move(entry));
    // Those in flight stay, and the last few.
    for (auto it = samples.begin(); samples.end() - it > static_cast<std::ptrdiff_t>(kRememberedSteps);) {
      it = (*it)->inFlight ? it + 1 : samples.erase(it);
    }
  }
};

}  // namespace millrace
