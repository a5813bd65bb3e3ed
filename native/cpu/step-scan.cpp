// Scans of a step: one head of one sequence (of a recurrence: 16 of its columns) is done at a time, its rows in order.
// The state at the last border is read where it lies; where rows pass borders it is carried on, into the granules that
// the plan wants kept.
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

void Step::recur(const op::Recur& in, int item, uint8_t* scratch) {
  const Kernels& kernels = *program_.kernels;
  const auto index = static_cast<size_t>(item / in.runs());
  const int run = item % in.runs(), column = run * op::Recur::kRun;
  const Sequence& sequence = sequences_[index];
  const int32_t* blocks = groups_[in.history].tables.data() + groups_[in.history].tableOf[index];
  const int32_t* granules = groups_[in.states].tables.data() + groups_[in.states].tableOf[index];
  const int columns = std::min(op::Recur::kRun, in.cols - column);
  const size_t size = in.isSelective ? static_cast<size_t>(columns) * in.stateDim : in.runValues();
  const auto at = static_cast<size_t>(column) * in.stateDim;
  float* constants = reinterpret_cast<float*>(scratch);
  float* state = constants + 2 * in.runValues();
  float* drafted = state + in.runValues();
  float* bonuses = constants + op::Recur::kRun;
  const auto placeAt = [&](int32_t slot) -> const float* {
    return rowOf(in.places, blocks[slot / kBlockTokens], slot % kBlockTokens);
  };
  const auto granuleAt = [&](int32_t border) { return rowOf(in.granules, granules[border - 1], 0) + at; };

  RecurArgs args{columns,
                 in.stateDim,
                 constants,
                 bonuses,
                 static_cast<size_t>(column),
                 static_cast<size_t>(in.cols) + column,
                 2 * static_cast<size_t>(in.cols)};
  if (in.isSelective) {
    kernels.columnFactors(in.decay + at, static_cast<int>(size), in.factor, constants);
  } else {
    std::fill(constants, constants + 2 * op::Recur::kRun, 0.0f);
    kernels.columnFactors(in.decay + column, columns, in.factor, constants);
    std::copy(in.bonus + column, in.bonus + column + columns, bonuses);
  }
  const auto advance = in.isSelective ? kernels.selectiveAdvance : kernels.wkvAdvance;
  if (sequence.border > 0) std::copy_n(granuleAt(sequence.border), size, state);
  else if (in.isSelective) std::fill_n(state, size, 0.0f);
  else kernels.wkvBegin(state);

  // The state behind the first `reached` places, which all later rows see.
  int32_t reached = sequence.border * kBorderTokens;
  const float* places[kBorderTokens];
  const auto goThrough = [&](int32_t row, int32_t begin, int32_t end, float* through) {
    for (int32_t place = begin; place < end; place++) places[place - begin] = placeAt(slotAt(row, place));
    advance(args, places, end - begin, through);
  };
  const auto reach = [&](int32_t row, int32_t end) {
    while (reached < end) {
      int32_t border = reached / kBorderTokens + 1, next = std::min(end, border * kBorderTokens);
      goThrough(row, reached, next, state);
      reached = next;
      if (reached != border * kBorderTokens || granules[border - 1] < 0 || sabotaged(Fault::Borders)) continue;
      std::copy_n(state, size, granuleAt(border));
    }
  };

  int32_t widest = sequence.row;
  for (int32_t row = sequence.row; row < sequence.row + sequence.rows; row++) {
    if (seen_[row] > seen_[widest]) widest = row;
    // A selective row's own place comes before it is read, an average's after.
    const int32_t place = ownPlace(row), end = in.isSelective ? place + 1 : place;
    const float* of = state;
    if (end <= seen_[row] && reached <= end) {
      reach(row, end);
    } else {
      reach(row, std::min(end, seen_[row]));
      std::copy_n(state, size, drafted);
      for (int32_t from = reached; from < end;) {
        int32_t next = std::min(end, from + kBorderTokens);
        goThrough(row, from, next, drafted);
        from = next;
      }
      of = drafted;
    }
    float* y = program_.at(in.y, static_cast<size_t>(row)) + column;
    if (in.isSelective) kernels.selectiveRead(args, of, program_.at(in.read, static_cast<size_t>(row)), y);
    else kernels.wkvRead(args, of, placeAt(slots_[row]), y);
  }
  int32_t last = seen_[widest] / kBorderTokens;
  while (last > sequence.border && granules[last - 1] < 0) last--;
  reach(widest, last * kBorderTokens);
}

}  // namespace millrace
