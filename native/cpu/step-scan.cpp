// Scans of a step: one head of one sequence (of a recurrence: some of its columns) is done at a time, its rows in
// order. The state at the last border is read where it lies; where rows pass borders it is carried on, into the
// granules that the plan wants kept.
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

// What of a recurrence's states is gone through, and by which memory: `size` values of each granule from `at` on. A row
// that reads behind its own place has it gone through before.
struct Step::Replay {
  const Sequence& sequence;
  const KvState &places, &granules;
  const int32_t *blocks, *granuleIds;
  size_t at, size;
  bool readsOwn;
  float *state, *drafted;
};

// `rule`: begin(state), advance(places, count, state), read(row, state, own place).
template <typename Rule>
void Step::replay(const Replay& of, const Rule& rule) {
  const Sequence& sequence = of.sequence;
  const auto placeAt = [&](int32_t slot) -> const float* {
    return rowOf(of.places, of.blocks[slot / kBlockTokens], slot % kBlockTokens);
  };
  const auto granuleAt = [&](int32_t border) { return rowOf(of.granules, of.granuleIds[border - 1], 0) + of.at; };
  if (sequence.border > 0) std::copy_n(granuleAt(sequence.border), of.size, of.state);
  else rule.begin(of.state);

  // The state behind the first `reached` places, which all later rows see.
  int32_t reached = sequence.border * kBorderTokens;
  const float* places[kBorderTokens];
  const auto goThrough = [&](int32_t row, int32_t begin, int32_t end, float* through) {
    for (int32_t place = begin; place < end; place++) places[place - begin] = placeAt(slotAt(row, place));
    rule.advance(places, end - begin, through);
  };
  const auto reach = [&](int32_t row, int32_t end) {
    while (reached < end) {
      int32_t border = reached / kBorderTokens + 1, next = std::min(end, border * kBorderTokens);
      goThrough(row, reached, next, of.state);
      reached = next;
      if (reached != border * kBorderTokens || of.granuleIds[border - 1] < 0 || sabotaged(Fault::Borders)) continue;
      std::copy_n(of.state, of.size, granuleAt(border));
    }
  };

  int32_t widest = sequence.row;
  for (int32_t row = sequence.row; row < sequence.row + sequence.rows; row++) {
    if (seen_[row] > seen_[widest]) widest = row;
    const int32_t place = ownPlace(row), end = of.readsOwn ? place + 1 : place;
    const float* state = of.state;
    if (end <= seen_[row] && reached <= end) {
      reach(row, end);
    } else {
      reach(row, std::min(end, seen_[row]));
      std::copy_n(of.state, of.size, of.drafted);
      for (int32_t from = reached; from < end;) {
        int32_t next = std::min(end, from + kBorderTokens);
        goThrough(row, from, next, of.drafted);
        from = next;
      }
      state = of.drafted;
    }
    rule.read(static_cast<size_t>(row), state, placeAt(slots_[row]));
  }
  int32_t last = seen_[widest] / kBorderTokens;
  while (last > sequence.border && of.granuleIds[last - 1] < 0) last--;
  reach(widest, last * kBorderTokens);
}

void Step::recur(const op::Recur& in, int item, uint8_t* scratch) {
  const Kernels& kernels = *program_.kernels;
  const auto index = static_cast<size_t>(item / in.runs());
  const int column = item % in.runs() * op::Recur::kRun;
  const int columns = std::min(op::Recur::kRun, in.cols - column);
  const size_t size = in.isSelective ? static_cast<size_t>(columns) * in.stateDim : in.runValues();
  const auto at = static_cast<size_t>(column) * in.stateDim;
  float* constants = reinterpret_cast<float*>(scratch);
  float* bonuses = constants + op::Recur::kRun;
  float* state = constants + 2 * in.runValues();
  const RecurArgs args{columns,
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

  struct Rule {
    const Step& step;
    const op::Recur& in;
    const RecurArgs& args;
    size_t size;
    int column;
    void begin(float* state) const {
      if (in.isSelective) std::fill_n(state, size, 0.0f);
      else step.program_.kernels->wkvBegin(state);
    }
    void advance(const float* const* places, int count, float* state) const {
      const Kernels& kernels = *step.program_.kernels;
      (in.isSelective ? kernels.selectiveAdvance : kernels.wkvAdvance)(args, places, count, state);
    }
    void read(size_t row, const float* state, const float* own) const {
      float* y = step.program_.at(in.y, row) + column;
      if (in.isSelective) step.program_.kernels->selectiveRead(args, state, step.program_.at(in.read, row), y);
      else step.program_.kernels->wkvRead(args, state, own, y);
    }
  };
  replay({sequences_[index], in.places, in.granules,
          groups_[in.history].tables.data() + groups_[in.history].tableOf[index],
          groups_[in.states].tables.data() + groups_[in.states].tableOf[index], at, size, in.isSelective, state,
          state + in.runValues()},
         Rule{*this, in, args, size, column});
}

void Step::matrixScan(const op::MatrixScan& in, int item, uint8_t* scratch) {
  const int perSequence = in.heads * in.runs();
  const auto index = static_cast<size_t>(item / perSequence);
  const auto head = static_cast<size_t>(item % perSequence / in.runs());
  const int column = item % in.runs() * kMatrixRun;
  const int columns = std::min(kMatrixRun, in.valueDim - column);
  const size_t keyDim = static_cast<size_t>(in.keyDim), keys = in.heads * keyDim,
               values = static_cast<size_t>(in.heads) * in.valueDim, first = head * keyDim;
  const MatrixScanArgs args{in.keyDim,
                            columns,
                            in.removes,
                            first,
                            keys + first,
                            2 * keys + head * in.valueDim + column,
                            2 * keys + values + first,
                            3 * keys + values + first,
                            in.bonus == nullptr ? nullptr : in.bonus + first};
  struct Rule {
    const Step& step;
    const op::MatrixScan& in;
    const MatrixScanArgs& args;
    size_t size, first, column;
    void begin(float* state) const { std::fill_n(state, size, 0.0f); }
    void advance(const float* const* places, int count, float* state) const {
      step.program_.kernels->matrixAdvance(args, places, count, state);
    }
    void read(size_t row, const float* state, const float* own) const {
      step.program_.kernels->matrixRead(args, state, step.program_.at(in.r, row) + first, own,
                                        step.program_.at(in.y, row) + column);
    }
  };
  const size_t size = keyDim * columns;
  float* state = reinterpret_cast<float*>(scratch);
  replay({sequences_[index], in.places, in.granules,
          groups_[in.history].tables.data() + groups_[in.history].tableOf[index],
          groups_[in.states].tables.data() + groups_[in.states].tableOf[index], keyDim * (head * in.valueDim + column),
          size, in.bonus == nullptr, state, state + in.runValues()},
         Rule{*this, in, args, size, first, head * in.valueDim + column});
}

}  // namespace millrace
