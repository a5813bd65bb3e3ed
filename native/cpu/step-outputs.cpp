// What output rows are wanted for: samples, log-probabilities, rows of named outputs.
#include <algorithm>
#include <cstring>

#include "step.h"

namespace millrace {

void Step::output(const Wanted& wanted, uint8_t* scratch) {
  const Section& section = program_.spec.sections[section_];
  const float* row = program_.at(section.place, static_cast<size_t>(wanted.outputRow - passBegin_));
  switch (wanted.want) {
    case Want::Sample:
      sample(wanted.index, row, scratch);
      return;
    case Want::Logprob:
      logprob(wanted.index, row);
      return;
    case Want::Output:
      memcpy(result_.outputs[section.output] + static_cast<size_t>(wanted.index) * section.width, row,
             static_cast<size_t>(section.width) * sizeof(float));
      return;
  }
}

void Step::sample(int32_t index, const float* logits, uint8_t* scratch) {
  const Sample& wanted = samples_[index];
  size_t first = static_cast<size_t>(index) * kMaxTop;
  if (wanted.mask >= 0 && maskStates_[wanted.mask].load(std::memory_order_relaxed) == Dropped) return;
  auto vocab = static_cast<size_t>(program_.spec.vocab);
  SampleArgs args{};
  auto* floats = reinterpret_cast<float*>(scratch);
  auto* seen = reinterpret_cast<int32_t*>(floats + 2 * vocab);
  SamplerSlot::Path path{tokens_.data(), counted_.data() + wanted.countBegin, wanted.countEnd - wanted.countBegin};
  program_.slots[wanted.slot].fill(args, path, seen, seen + vocab, program_.spec.vocab);
  args.logits = logits;
  args.vocab = program_.spec.vocab;
  args.position = wanted.position;
  args.mask = wanted.mask < 0 ? nullptr : maskWords_.data() + (vocab + 31) / 32 * static_cast<size_t>(wanted.mask);
  args.top = wanted.top;
  if (wanted.top > 0) {
    args.topIds = result_.topIds + first;
    args.topLogprobs = result_.topLogprobs + first;
  }
  args.scratch = floats;
  program_.kernels->sample(args);
  result_.sampleIds[index] = args.id;
  result_.sampleLogprobs[index] = args.logprob;
  ids_->ids[index] = args.id;
}

void Step::logprob(int32_t index, const float* logits) {
  const Logprob& wanted = logprobs_[index];
  LogprobArgs args{};
  args.logits = logits;
  args.vocab = program_.spec.vocab;
  args.id = wanted.id;
  args.top = wanted.top;
  if (wanted.top > 0) {
    args.topIds = result_.logprobTopIds + static_cast<size_t>(index) * kMaxTop;
    args.topLogprobs = result_.logprobTopLogprobs + static_cast<size_t>(index) * kMaxTop;
  }
  program_.kernels->logprob(args);
  result_.logprobs[index] = args.logprob;
}

}  // namespace millrace
