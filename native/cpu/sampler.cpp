#include "sampler.h"

#include <algorithm>

namespace millrace {

void SamplerSlot::start(const int32_t* prompt, int promptCount, const int32_t* answer, int answerCount) {
  generated_ = answerCount;
  seenIds_.clear();
  seenCounts_.clear();
  table_.clear();
  if (!counts()) return;
  for (int i = 0; i < promptCount; i++) note(prompt[i], 0);
  for (int i = 0; i < answerCount; i++) note(answer[i], 1);
}

size_t SamplerSlot::placeOf(int32_t id) const {
  size_t mask = table_.size() - 1;
  size_t at = static_cast<uint32_t>(id) * 2654435761u & mask;
  while (table_[at] >= 0 && seenIds_[table_[at]] != id) at = (at + 1) & mask;
  return at;
}

// Room in the table for one id more, at most half full.
void SamplerSlot::reserve(size_t wanted) {
  if (2 * wanted < table_.size()) return;
  table_.assign(std::max<size_t>(64, 2 * table_.size()), -1);
  for (size_t i = 0; i < seenIds_.size(); i++) table_[placeOf(seenIds_[i])] = static_cast<int32_t>(i);
}

void SamplerSlot::note(int32_t id, int32_t times) {
  reserve(seenIds_.size() + 1);
  size_t at = placeOf(id);
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

void SamplerSlot::fill(SampleArgs& args, const Path& path, int32_t* ids, int32_t* countsOf, int32_t vocab) const {
  args.params = &params;
  args.biasIds = biasIds.data();
  args.biasValues = biasValues.data();
  args.biasCount = static_cast<int32_t>(biasIds.size());
  args.bannedIds = stopIds.data();
  args.bannedCount = generated_ + path.count < minTokens ? static_cast<int32_t>(stopIds.size()) : 0;
  args.seenIds = seenIds_.data();
  args.seenCounts = seenCounts_.data();
  args.seenCount = static_cast<int32_t>(seenIds_.size());
  if (path.count == 0 || !counts()) return;
  std::copy(seenIds_.begin(), seenIds_.end(), ids);
  std::copy(seenCounts_.begin(), seenCounts_.end(), countsOf);
  auto known = static_cast<int32_t>(seenIds_.size()), count = known;
  for (int32_t i = 0; i < path.count; i++) {
    int32_t id = path.tokens[path.rows[i]];
    if (id >= vocab) continue;  // the embedding may have rows that no logits have
    int32_t place = table_.empty() ? -1 : table_[placeOf(id)];
    if (place < 0) place = static_cast<int32_t>(std::find(ids + known, ids + count, id) - ids);
    if (place == count) {
      ids[count] = id;
      countsOf[count++] = 0;
    }
    countsOf[place]++;
  }
  args.seenIds = ids;
  args.seenCounts = countsOf;
  args.seenCount = count;
}

}  // namespace millrace
