#include "sampler.h"

namespace millrace {

void SamplerSlot::start(const int32_t* history, int count) {
  generated_ = 0;
  seenIds_.clear();
  seenCounts_.clear();
  table_.clear();
  if (!counts()) return;
  reserve(count);
  for (int i = 0; i < count; i++) note(history[i], 0);
}

void SamplerSlot::reserve(int more) {
  if (!counts()) return;
  size_t wanted = seenIds_.size() + static_cast<size_t>(more);
  if (wanted > seenIds_.capacity()) {
    seenIds_.reserve(2 * wanted);
    seenCounts_.reserve(2 * wanted);
  }
  if (2 * wanted < table_.size()) return;
  size_t size = 64;
  while (size <= 4 * wanted) size *= 2;
  table_.assign(size, -1);
  for (size_t i = 0; i < seenIds_.size(); i++) {
    size_t at = static_cast<uint32_t>(seenIds_[i]) * 2654435761u & (size - 1);
    while (table_[at] >= 0) at = (at + 1) & (size - 1);
    table_[at] = static_cast<int32_t>(i);
  }
}

void SamplerSlot::note(int32_t id, int32_t times) {
  size_t mask = table_.size() - 1;
  size_t at = static_cast<uint32_t>(id) * 2654435761u & mask;
  while (table_[at] >= 0 && seenIds_[table_[at]] != id) at = (at + 1) & mask;
  if (table_[at] < 0) {
    table_[at] = static_cast<int32_t>(seenIds_.size());
    seenIds_.push_back(id);
    seenCounts_.push_back(0);
  }
  seenCounts_[table_[at]] += times;
}

void SamplerSlot::add(int32_t id) {
  generated_++;
  if (counts()) note(id, 1);
}

void SamplerSlot::fill(SampleArgs& args) const {
  args.params = &params;
  args.biasIds = biasIds.data();
  args.biasValues = biasValues.data();
  args.biasCount = static_cast<int32_t>(biasIds.size());
  args.bannedIds = stopIds.data();
  args.bannedCount = generated_ < minTokens ? static_cast<int32_t>(stopIds.size()) : 0;
  args.seenIds = seenIds_.data();
  args.seenCounts = seenCounts_.data();
  args.seenCount = static_cast<int32_t>(seenIds_.size());
}

void SamplerSlot::close() { *this = SamplerSlot(); }

}  // namespace millrace
