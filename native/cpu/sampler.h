// Sampler slots: how an answer's tokens are chosen, and which tokens its prompt and it have had so far. Only what
// penalties need is counted. The choice itself is a kernel (isa/sample.cpp).
#pragma once
#include <cstdint>
#include <vector>

#include "kernels.h"

namespace millrace {

class SamplerSlot {
 public:
  bool open = false;
  SamplerParams params{};
  std::vector<int32_t> biasIds;
  std::vector<float> biasValues;
  std::vector<int32_t> stopIds;
  int32_t minTokens = 0;

  // Forgets all tokens, then counts the prompt's.
  void start(const int32_t* history, int count);
  // Makes room, so that `add` allocates nothing in a step.
  void reserve(int more);
  // The answer got a token.
  void add(int32_t id);
  // Fills in what the kernel must know of this answer.
  void fill(SampleArgs& args) const;
  void close();

 private:
  bool counts() const {
    return params.repetitionPenalty != 1 || params.presencePenalty != 0 || params.frequencyPenalty != 0;
  }
  void note(int32_t id, int32_t times);

  int32_t generated_ = 0;
  std::vector<int32_t> seenIds_, seenCounts_;
  std::vector<int32_t> table_;  // open addressing: index into seenIds_, −1 where empty; the size is a power of two
};

}  // namespace millrace
