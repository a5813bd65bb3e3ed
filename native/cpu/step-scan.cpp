// Scans of a step: one head of one sequence is done at a time, its rows in order. The state at the last border is read
// where it lies; where rows pass borders it is carried on, into the granules that the plan wants kept.
#include <algorithm>

#include "sabotage.h"
#include "step.h"

namespace millrace {

void Step::scan(const op::Scan& in, int item, uint8_t* scratch) {
  const auto index = static_cast<size_t>(item / in.heads);
  const int head = item % in.heads;
  const Sequence& sequence = sequences_[index];
  const int32_t* blocks = groups_[in.history].tables.data() + groups_[in.history].tableOf[index];
  const int32_t* granules = groups_[in.states].tables.data() + groups_[in.states].tableOf[index];
  const size_t matrix = static_cast<size_t>(in.keyDim) * static_cast<size_t>(in.valueDim);
  const auto keyHead = static_cast<size_t>(head / (in.heads / in.keyHeads));
  const size_t keys = static_cast<size_t>(in.keyHeads) * in.keyDim,
               values = static_cast<size_t>(in.heads) * in.valueDim;
  float* carried = reinterpret_cast<float*>(scratch);
  float* drafted = carried + matrix;
  const auto placeAt = [&](int32_t slot) { return rowOf(in.places, blocks[slot / kBlockTokens], slot % kBlockTokens); };
  // The head's part of a border's granule; null where it isn't kept.
  const auto granuleAt = [&](int32_t border) -> float* {
    int32_t id = granules[border - 1];
    return id < 0 ? nullptr : rowOf(in.granules, id, 0) + static_cast<size_t>(head) * matrix;
  };

  const float* places[kBorderTokens];
  ScanArgs args{in.keyDim,
                in.valueDim,
                in.delta,
                keyHead * in.keyDim,
                keys + static_cast<size_t>(head) * in.valueDim,
                keys + values + static_cast<size_t>(head),
                nullptr,
                places,
                0};
  // The places of a row's path since a border: appended to while one plain row follows the other.
  int32_t held = -1;  // the border since which `places` are, of plain rows
  const auto gather = [&](int32_t row, int32_t border, int32_t end) {
    const bool isPlain = end <= seen_[row];
    int32_t place = border * kBorderTokens;
    if (isPlain && held == border && place + args.count <= end) place += args.count;
    held = isPlain ? border : -1;
    for (; place < end; place++) places[place - border * kBorderTokens] = placeAt(slotAt(row, place));
    args.count = end - border * kBorderTokens;
  };

  int32_t border = sequence.border;
  const float* state = border == 0 ? nullptr : granuleAt(border);
  // Carries the state on to the next border, which lies before what all later rows see.
  const auto carry = [&](int32_t row) {
    gather(row, border, (border + 1) * kBorderTokens);
    float* kept = granuleAt(border + 1);
    float* next = kept && !sabotaged(Fault::Borders) ? kept : carried;
    args.state = state;
    program_.kernels->scanAdvance(args, next);
    state = next;
    border++;
  };

  int32_t widest = sequence.row;
  for (int32_t row = sequence.row; row < sequence.row + sequence.rows; row++) {
    if (seen_[row] > seen_[widest]) widest = row;
    const int32_t place = ownPlace(row), own = place / kBorderTokens;
    while (border < std::min(own, seen_[row] / kBorderTokens)) carry(row);
    args.state = state;
    for (int32_t b = border; b < own; b++) {
      gather(row, b, (b + 1) * kBorderTokens);
      program_.kernels->scanAdvance(args, drafted);
      args.state = drafted;
    }
    gather(row, own, place);
    const auto at = static_cast<size_t>(row);
    program_.kernels->scanRow(args, {program_.at(in.q, at) + keyHead * in.keyDim,
                                     program_.at(in.v, at) + static_cast<size_t>(head) * in.valueDim,
                                     program_.at(in.g, at)[head], program_.at(in.beta, at)[head], placeAt(slots_[row]),
                                     program_.at(in.y, at) + static_cast<size_t>(head) * in.valueDim});
  }
  int32_t last = seen_[widest] / kBorderTokens;
  while (last > border && granuleAt(last) == nullptr) last--;
  while (border < last) carry(widest);
}

}  // namespace millrace
