// Sampler slots: how an answer's tokens are chosen, and which tokens its prompt and it have had so far. Only what
// penalties need is counted, and only what the caller says. The choice itself is a kernel (isa/sample.cpp).
#pragma once
#include <cstdint>
#include <vector>

#include "kernels.h"

namespace millrace {

class SamplerSlot {
 public:
  SamplerParams params{};
  std::vector<int32_t> biasIds;
  std::vector<float> biasValues;
  std::vector<int32_t> stopIds;
  int32_t minTokens = 0;

  // Counts the prompt's tokens, and the answer's so far. The parameters must be set.
  void start(const int32_t* prompt, int promptCount, const int32_t* answer, int answerCount);
  // The answer got a token.
  void add(int32_t id);
  // Rows of a step whose tokens count as well, though nobody has committed them.
  struct Path {
    const int32_t* tokens;  // of the step
    const int32_t* rows;
    int32_t count;
  };
  // Fills in what the kernel must know of this answer; `ids` and `counts` are room for all tokens of the vocabulary.
  void fill(SampleArgs& args, const Path& path, int32_t* ids, int32_t* counts, int32_t vocab) const;
  void close() { *this = SamplerSlot(); }

 private:
  bool counts() const {
    return params.repetitionPenalty != 1 || params.presencePenalty != 0 || params.frequencyPenalty != 0;
  }
  void reserve(size_t more);
  void note(int32_t id, int32_t times);
  // The id's place in the table, or the empty one where it belongs.
  size_t placeOf(int32_t id) const;

  int32_t generated_ = 0;
  std::vector<int32_t> seenIds_, seenCounts_;
  std::vector<int32_t> table_;  // open addressing: index into seenIds_, −1 where empty; the size is a power of two
};

}  // namespace millrace
