// A step's plan: every number of it is checked and copied before the step is submitted.
#include <algorithm>
#include <cstdio>
#include <tuple>

#include "sabotage.h"
#include "step.h"

namespace millrace {

namespace {

bool refuse(Refusal& refusal, const char* what, int64_t value, int64_t limit) {
  char text[200];
  snprintf(text, sizeof text, "bad step plan: %s (%lld, limit %lld)", what, static_cast<long long>(value),
           static_cast<long long>(limit));
  refusal = {Refusal::Bad, text};
  return false;
}

bool refuseMemory(Refusal& refusal) {
  refusal = {Refusal::Memory, "there is no memory for the copy of a step plan"};
  return false;
}

bool isIn(int64_t value, int64_t limit) { return value >= 0 && value < limit; }

bool holds(const PlanView::Ints& ints, int64_t count) {
  return count >= 0 && static_cast<uint64_t>(count) <= ints.size;
}

// Do they rise from 0 to `total`?
bool areStarts(const int32_t* starts, size_t count, int32_t total) {
  return starts[0] == 0 && starts[count] == total && std::is_sorted(starts, starts + count + 1);
}

// Are there equal numbers among the targets, or targets among the sources? Sorts both.
bool collide(List<int64_t>& targets, List<int64_t>& sources) {
  std::sort(targets.begin(), targets.end());
  if (std::adjacent_find(targets.begin(), targets.end()) != targets.end()) return true;
  return std::any_of(sources.begin(), sources.end(),
                     [&](int64_t source) { return std::binary_search(targets.begin(), targets.end(), source); });
}

}  // namespace

bool Step::reserve() {
  const ProgramSpec& spec = program_.spec;
  size_t tokens = static_cast<size_t>(spec.stepTokens), outputs = static_cast<size_t>(spec.maxOutputs);
  size_t sequences = static_cast<size_t>(spec.maxSequences), slots = static_cast<size_t>(spec.samplerSlots);
  size_t groups = program_.pool->groups.size();
  groups_.reset(new (std::nothrow) GroupPlan[groups]);
  maskStates_.reset(new (std::nothrow) std::atomic<uint8_t>[outputs]);
  sections_.reset(new (std::nothrow) SectionPlan[spec.sections.size()]);
  inputs_.reset(new (std::nothrow) InputPlan[spec.inputs.size()]);
  if (!groups_ || !maskStates_ || !sections_ || !inputs_) return false;
  for (size_t i = 0; i < spec.inputs.size(); i++) {
    if (!inputs_[i].placeOf.fill(tokens, -1)) return false;
  }
  for (size_t g = 0; g < groups; g++) {
    GroupPlan& group = groups_[g];
    // No more heads are split than planAttention calls few.
    group.tilesLeft.reset(new (std::nothrow) std::atomic<int32_t>[kFewPieces * program_.threads()]);
    if (!group.tilesLeft || !group.tableOf.reserve(sequences)) return false;
  }
  adapters_.reset(new (std::nothrow) std::shared_ptr<const Adapter>[sequences]);
  size_t loraRuns = spec.maxAdapters > 0 ? std::max(tokens, outputs) : 0;
  if (!adapters_ || !loraRuns_.reserve(loraRuns) || !loraBlocks_.reserve(2 * loraRuns)) return false;
  for (size_t s = 0; s < spec.sections.size(); s++) {
    if (!sections_[s].rows.reserve(std::min(tokens, outputs)) || !sections_[s].wanted.reserve(outputs)) return false;
  }
  return tokens_.reserve(tokens) && positions_.reserve(tokens) && slots_.reserve(tokens) && seen_.reserve(tokens) &&
         sequences_.reserve(sequences) && rowOutput_.fill(tokens, -1) && samples_.reserve(outputs) &&
         logprobs_.reserve(outputs) && maskSample_.reserve(outputs) && open_.reserve(slots) && closes_.reserve(slots);
}

double Step::bytesFor(const ProgramSpec& spec, size_t groups) {
  double token = (5 + static_cast<double>(spec.inputs.size())) * sizeof(int32_t);
  if (spec.maxAdapters > 0) token += 3 * sizeof(LoraRun);
  double sequence =
      sizeof(Sequence) + sizeof(std::shared_ptr<const Adapter>) + static_cast<double>(groups) * sizeof(size_t);
  double row = sizeof(int32_t) + sizeof(Wanted);
  double output = static_cast<double>(spec.sections.size()) * row + sizeof(Sample) + sizeof(Logprob) + 5;
  double slot = sizeof(int32_t) + 1;
  return token * spec.stepTokens + sequence * spec.maxSequences + output * spec.maxOutputs + slot * spec.samplerSlots;
}

bool Step::prepare(PlanView& plan, const ResultView& result, Refusal& refusal) {
  if (!checkCounts(plan, refusal) || !checkIds(plan, refusal) || !copyRows(plan, refusal) ||
      !copySequences(plan, refusal) || !copyAdapters(plan, refusal) || !copyTables(plan, refusal) ||
      !checkBorders(refusal) || !copyMoves(plan, refusal) || !copySlots(plan, refusal) || !copySamples(plan, refusal) ||
      !copyInputs(plan, refusal) || !copyOutputs(plan, refusal)) {
    return false;
  }
  auto ids = std::make_shared<Samples>();
  ids->step = plan.id;
  if (!ids->ids.fill(samples_.size(), kNoSample)) return refuseMemory(refusal);
  for (size_t g = 0; g < program_.pool->groups.size(); g++) {
    if (!planAttention(g)) return refuseMemory(refusal);
  }

  // From here on nothing fails.
  Pool& pool = *program_.pool;
  for (size_t s = 0; s < sequences_.size(); s++) {
    if (plan.adapters[s] < 0) continue;
    adapters_[s] = program_.adapters[static_cast<size_t>(plan.adapters[s])];
    hasAdapters_ = true;
  }
  opens_ = std::move(plan.opens);
  std::swap(open_, program_.openSlots);
  ids_ = std::move(ids);
  pool.remember(ids_);
  pool.lastStep = plan.id;
  id_ = plan.id;
  era_ = program_.era;
  result_ = result;
  cancelled_.store(false, std::memory_order_relaxed);
  state_.store(State::Submitted, std::memory_order_relaxed);
  phase_ = Phase::Begin;
  section_ = -1;
  stage_ = 0;
  timed_ = 0;
  rows_ = static_cast<int>(tokens_.size());
  return true;
}

bool Step::checkCounts(const PlanView& plan, Refusal& refusal) {
  const ProgramSpec& spec = program_.spec;
  if (plan.id <= program_.pool->lastStep) return refuse(refusal, "step id doesn't rise", plan.id, INT32_MAX);
  if (plan.tokenCount < 0 || plan.tokenCount > spec.stepTokens) {
    return refuse(refusal, "token count", plan.tokenCount, spec.stepTokens);
  }
  if (plan.sequenceCount < 0 || plan.sequenceCount > spec.maxSequences) {
    return refuse(refusal, "sequence count", plan.sequenceCount, spec.maxSequences);
  }
  int64_t outputs = static_cast<int64_t>(plan.sampleCount) + plan.logprobCount;
  bool negative = plan.sampleCount < 0 || plan.logprobCount < 0;
  if (outputs > 0 && spec.logits < 0) return refuse(refusal, "samples of a program without logits", outputs, 0);
  if (static_cast<int64_t>(plan.outputs.size()) != spec.outputs) {
    return refuse(refusal, "named outputs", static_cast<int64_t>(plan.outputs.size()), spec.outputs);
  }
  for (const PlanView::Output& output : plan.outputs) {
    outputs += output.count;
    negative = negative || output.count < 0;
    if (output.count > 0 && !holds(output.rows, output.count)) {
      return refuse(refusal, "an array is shorter than its count", output.count, spec.maxOutputs);
    }
  }
  if (negative || outputs > spec.maxOutputs) return refuse(refusal, "output count", outputs, spec.maxOutputs);
  if (plan.listedCount < 0 || plan.listedCount > spec.maxListed) {
    return refuse(refusal, "listed slots", plan.listedCount, spec.maxListed);
  }
  if (plan.moveCount < 0 || plan.moveCount > spec.maxMoves) {
    return refuse(refusal, "move count", plan.moveCount, spec.maxMoves);
  }
  if (plan.copyCount < 0 || plan.copyCount > spec.maxCopies) {
    return refuse(refusal, "copy count", plan.copyCount, spec.maxCopies);
  }
  if (plan.closeCount < 0 || plan.closeCount > spec.samplerSlots) {
    return refuse(refusal, "close count", plan.closeCount, spec.samplerSlots);
  }
  int64_t tokens = plan.tokenCount, samples = plan.sampleCount, logprobs = plan.logprobCount;
  bool lists = plan.listedCount == 0 || (holds(plan.listed, plan.listedCount) && holds(plan.listStarts, tokens + 1));
  bool counted =
      plan.countedCount == 0 || (holds(plan.counted, plan.countedCount) && holds(plan.countStarts, samples + 1));
  if (!holds(plan.tokens, tokens) || !holds(plan.positions, tokens) || !holds(plan.slots, tokens) ||
      !holds(plan.seen, tokens) || !holds(plan.queryStarts, plan.sequenceCount + int64_t{1}) ||
      !holds(plan.borders, plan.sequenceCount) || !holds(plan.adapters, plan.sequenceCount) || !lists ||
      !holds(plan.moves, int64_t{5} * plan.moveCount) || !holds(plan.copies, int64_t{3} * plan.copyCount) ||
      !holds(plan.references, int64_t{2} * plan.referenceCount) || !holds(plan.closes, plan.closeCount) ||
      !holds(plan.commits, int64_t{2} * plan.commitCount) || !holds(plan.sampleRows, samples) ||
      !holds(plan.sampleSlots, samples) || !holds(plan.sampleTop, samples) || !holds(plan.sampleMasked, samples) ||
      !counted || !holds(plan.logprobRows, logprobs) || !holds(plan.logprobIds, logprobs) ||
      !holds(plan.logprobTop, logprobs)) {
    return refuse(refusal, "an array is shorter than its count", tokens, spec.stepTokens);
  }
  return true;
}

// Token ids, committed ids, and the references among them.
bool Step::checkIds(const PlanView& plan, Refusal& refusal) {
  const ProgramSpec& spec = program_.spec;
  references_.clear();
  for (int32_t r = 0; r < plan.referenceCount; r++) {
    int32_t step = plan.references[2 * static_cast<size_t>(r)],
            sample = plan.references[2 * static_cast<size_t>(r) + 1];
    auto samples = program_.pool->samplesOf(step);
    if (!samples) return refuse(refusal, "reference to a step that is neither remembered nor in flight", step, plan.id);
    auto count = static_cast<int64_t>(samples->ids.size());
    if (!isIn(sample, count)) return refuse(refusal, "reference to a sample", sample, count);
    references_.emplace_back(std::move(samples), sample);
  }
  auto check = [&](int32_t id, const char* what, int32_t limit) {
    if (id < 0) {
      int64_t reference = -1 - static_cast<int64_t>(id);
      return reference < plan.referenceCount || refuse(refusal, "reference", reference, plan.referenceCount);
    }
    return id < limit || refuse(refusal, what, id, limit);
  };
  for (int32_t i = 0; i < plan.tokenCount; i++) {
    if (!check(plan.tokens[i], "token id", spec.tokenIds)) return false;
  }
  for (int32_t i = 0; i < plan.commitCount; i++) {
    if (!check(plan.commits[2 * static_cast<size_t>(i) + 1], "committed token id", spec.vocab)) return false;
  }
  bool copied = tokens_.assign(plan.tokens.data, static_cast<size_t>(plan.tokenCount)) &&
                commits_.assign(plan.commits.data, 2 * static_cast<size_t>(plan.commitCount));
  return copied || refuseMemory(refusal);
}

bool Step::copyRows(const PlanView& plan, Refusal& refusal) {
  int32_t positions = program_.spec.tableRows > 0 ? program_.spec.tableRows : INT32_MAX;
  for (int32_t i = 0; i < plan.tokenCount; i++) {
    if (!isIn(plan.positions[i], positions)) return refuse(refusal, "position", plan.positions[i], positions);
    if (!isIn(plan.slots[i], INT32_MAX)) return refuse(refusal, "slot", plan.slots[i], INT32_MAX);
    if (plan.seen[i] < 0) return refuse(refusal, "seen slots", plan.seen[i], INT32_MAX);
  }
  auto count = static_cast<size_t>(plan.tokenCount);
  bool lists = plan.listedCount > 0;
  bool copied = positions_.assign(plan.positions.data, count) && slots_.assign(plan.slots.data, count) &&
                seen_.assign(plan.seen.data, count) &&
                listStarts_.assign(plan.listStarts.data, lists ? count + 1 : 0) &&
                listed_.assign(plan.listed.data, static_cast<size_t>(plan.listedCount));
  if (!copied) return refuseMemory(refusal);
  if (lists && !areStarts(listStarts_.data(), count, plan.listedCount)) {
    return refuse(refusal, "list starts", listStarts_[count], plan.listedCount);
  }
  for (int32_t i = 0; i < plan.tokenCount; i++) {
    if (placesOf(i) < 1) return refuse(refusal, "a row that sees nothing", i, plan.tokenCount);
  }
  for (size_t i = 0; sabotaged(Fault::Listed) && i + 1 < listStarts_.size(); i++) {
    if (listStarts_[i + 1] - listStarts_[i] > 1) listed_[listStarts_[i]] = listed_[listStarts_[i] + 1];
  }
  for (int32_t slot : listed_) {
    if (!isIn(slot, INT32_MAX)) return refuse(refusal, "listed slot", slot, INT32_MAX);
  }
  return true;
}

bool Step::copySequences(const PlanView& plan, Refusal& refusal) {
  int32_t tokenCount = plan.tokenCount;
  if (plan.queryStarts[0] != 0 || plan.queryStarts[plan.sequenceCount] != tokenCount) {
    return refuse(refusal, "query starts", plan.queryStarts[plan.sequenceCount], tokenCount);
  }
  sequences_.clear();
  List<int32_t> sorted;
  for (int32_t s = 0; s < plan.sequenceCount; s++) {
    int32_t start = plan.queryStarts[s], end = plan.queryStarts[s + 1];
    if (end <= start || end > tokenCount) return refuse(refusal, "query start", end, tokenCount);
    Sequence sequence{start, end - start, 0, 0, plan.borders[s], 0};
    for (int32_t row = start; row < end; row++) {
      sequence.seen = std::max(sequence.seen, seen_[row]);
      sequence.places = std::max(sequence.places, placesOf(row));
      sequence.lastSlot = std::max({sequence.lastSlot, slots_[row], seen_[row] - 1});
    }
    if (!listStarts_.empty()) {
      for (int32_t i = listStarts_[start]; i < listStarts_[end]; i++) {
        sequence.lastSlot = std::max(sequence.lastSlot, listed_[i]);
      }
    }
    sequences_.push(sequence);
    const int32_t *slots = slots_.data() + start, *slotsEnd = slots_.data() + end;
    auto doesNotRise = [](int32_t a, int32_t b) { return a >= b; };
    if (std::adjacent_find(slots, slotsEnd, doesNotRise) == slotsEnd) continue;
    if (!sorted.assign(slots, static_cast<size_t>(sequence.rows))) return refuseMemory(refusal);
    std::sort(sorted.begin(), sorted.end());
    const int32_t* twice = std::adjacent_find(sorted.begin(), sorted.end());
    if (twice != sorted.end()) return refuse(refusal, "two rows of a sequence have one slot", *twice, tokenCount);
  }
  return true;
}

bool Step::copyAdapters(const PlanView& plan, Refusal& refusal) {
  auto places = static_cast<int64_t>(program_.adapters.size());
  for (int32_t s = 0; s < plan.sequenceCount; s++) {
    int32_t place = plan.adapters[static_cast<size_t>(s)];
    bool has = isIn(place, places) && program_.adapters[static_cast<size_t>(place)];
    if (!has && place != -1) return refuse(refusal, "the place of an adapter, which is empty or none", place, places);
  }
  return true;
}

// Every block that a row writes or reads must exist.
bool Step::copyTables(const PlanView& plan, Refusal& refusal) {
  const Pool& pool = *program_.pool;
  auto groups = static_cast<int64_t>(pool.groups.size());
  if (static_cast<int64_t>(plan.tables.size()) != groups) {
    return refuse(refusal, "block tables", static_cast<int64_t>(plan.tables.size()), groups);
  }
  for (size_t g = 0; g < pool.groups.size(); g++) {
    const PoolGroup& group = *pool.groups[g];
    GroupPlan& planned = groups_[g];
    planned.tables.clear();
    planned.tableOf.clear();
    int64_t stride = plan.tables[g].stride;
    if (plan.sequenceCount == 0) continue;
    if (stride < 1 || !holds(plan.tables[g].ids, stride * plan.sequenceCount)) {
      return refuse(refusal, "block table's stride", stride, static_cast<int64_t>(plan.tables[g].ids.size));
    }
    for (size_t s = 0; s < sequences_.size(); s++) {
      const Sequence& sequence = sequences_[s];
      const int32_t* table = plan.tables[g].ids.data + static_cast<int64_t>(s) * stride;
      if (group.isGranules) {
        auto borders = std::min<int64_t>(sequence.seen / kBorderTokens, stride);
        planned.tableOf.push(planned.tables.size());
        if (!planned.tables.grow(planned.tables.size() + static_cast<size_t>(borders))) return refuseMemory(refusal);
        for (int64_t b = 0; b < borders; b++) planned.tables.push(table[b]);
        continue;
      }
      int32_t used = sequence.lastSlot / kBlockTokens + 1;
      if (used > stride) return refuse(refusal, "blocks of a sequence", used, stride);
      auto exists = [&](int32_t slot) {
        int32_t id = table[slot / kBlockTokens];
        return isIn(id, group.blocks) || refuse(refusal, "block id", id, group.blocks);
      };
      int32_t oldest = INT32_MAX, seen = 0;
      for (int32_t row = sequence.row; row < sequence.row + sequence.rows; row++) {
        int32_t first = oldestPlace(row, group.window);
        oldest = std::min(oldest, first);
        seen = std::max(seen, seen_[row]);
        if (!exists(slots_[row])) return false;
        for (int32_t i = 0; !listStarts_.empty() && i < listStarts_[row + 1] - listStarts_[row]; i++) {
          if (seen_[row] + i >= first && !exists(listed_[listStarts_[row] + i])) return false;
        }
      }
      for (int32_t slot = oldest; slot < seen; slot = (slot / kBlockTokens + 1) * kBlockTokens) {
        if (!exists(slot)) return false;
      }
      planned.tableOf.push(planned.tables.size());
      if (!planned.tables.grow(planned.tables.size() + static_cast<size_t>(used))) return refuseMemory(refusal);
      for (int32_t b = 0; b < used; b++) planned.tables.push(table[b]);
    }
  }
  return true;
}

// Where scans go on from, and which granules they write.
bool Step::checkBorders(Refusal& refusal) {
  List<int64_t> written, read;
  for (int32_t g : program_.scans) {
    const PoolGroup& group = *program_.pool->groups[g];
    const GroupPlan& planned = groups_[g];
    written.clear();
    read.clear();
    for (size_t s = 0; s < sequences_.size(); s++) {
      const Sequence& sequence = sequences_[s];
      size_t begin = planned.tableOf[s],
             end = s + 1 < sequences_.size() ? planned.tableOf[s + 1] : planned.tables.size();
      auto borders = static_cast<int64_t>(end - begin);
      // Places in order, so that a state need not go back over a border.
      int32_t least = sequence.border;
      for (int32_t row = sequence.row; row < sequence.row + sequence.rows; row++) {
        int32_t place = ownPlace(row);
        if (least < 0 || place / kBorderTokens < least)
          return refuse(refusal, "a place before its border", place, least);
        if (row == sequence.row && place - sequence.border * int64_t{kBorderTokens} >= kHistoryTokens) {
          return refuse(refusal, "a border too far before its first row", sequence.border, place);
        }
        least = std::max(least, std::min(place, seen_[row]) / kBorderTokens);
      }
      for (int64_t b = sequence.border; b <= borders; b++) {
        if (b == 0) continue;
        int32_t id = planned.tables[begin + static_cast<size_t>(b) - 1];
        bool isRead = b == sequence.border;
        if (id == -1 && !isRead) continue;
        if (!isIn(id, group.blocks)) return refuse(refusal, "granule", id, group.blocks);
        List<int64_t>& list = isRead ? read : written;
        if (!list.grow(list.size() + 1)) return refuseMemory(refusal);
        list.push(id);
      }
      if (sequence.border > borders) return refuse(refusal, "border without a granule", sequence.border, borders);
    }
    if (collide(written, read)) return refuse(refusal, "a granule is written that is read, or written twice", g, 0);
  }
  return true;
}

bool Step::copyMoves(const PlanView& plan, Refusal& refusal) {
  const Pool& pool = *program_.pool;
  auto groups = static_cast<int64_t>(pool.groups.size());
  auto moves = static_cast<size_t>(plan.moveCount), copies = static_cast<size_t>(plan.copyCount);
  List<int64_t> targets, sources;
  if (!moves_.assign(plan.moves.data, 5 * moves) || !copies_.assign(plan.copies.data, 3 * copies) ||
      !targets.reserve(std::max(moves, copies)) || !sources.reserve(std::max(moves, copies))) {
    return refuseMemory(refusal);
  }
  auto isBlock = [&](int32_t group, int32_t block, const char* what) {
    if (!isIn(group, groups)) return refuse(refusal, "state group of a move or copy", group, groups);
    return isIn(block, pool.groups[group]->blocks) || refuse(refusal, what, block, pool.groups[group]->blocks);
  };
  for (size_t i = 0; i < moves_.size(); i += 5) {
    const int32_t* move = moves_.data() + i;
    if (isIn(move[0], groups) && pool.groups[move[0]]->isGranules) {
      return refuse(refusal, "a move in a group of granules", move[0], groups);
    }
    if (!isBlock(move[0], move[1], "block of a move") || !isBlock(move[0], move[3], "block of a move")) return false;
    for (int32_t offset : {move[2], move[4]}) {
      if (!isIn(offset, kBlockTokens)) return refuse(refusal, "place in a block", offset, kBlockTokens);
    }
    auto key = [&](int32_t block, int32_t offset) {
      return (static_cast<int64_t>(move[0]) << 40) + static_cast<int64_t>(block) * kBlockTokens + offset;
    };
    sources.push(key(move[1], move[2]));
    targets.push(key(move[3], move[4]));
  }
  if (collide(targets, sources)) return refuse(refusal, "a move's target is a source, or a target twice", 0, 0);
  targets.clear();
  sources.clear();
  for (size_t i = 0; i < copies_.size(); i += 3) {
    const int32_t* copy = copies_.data() + i;
    if (!isBlock(copy[0], copy[1], "block of a copy") || !isBlock(copy[0], copy[2], "block of a copy")) return false;
    sources.push((static_cast<int64_t>(copy[0]) << 32) + copy[1]);
    targets.push((static_cast<int64_t>(copy[0]) << 32) + copy[2]);
  }
  if (collide(targets, sources)) return refuse(refusal, "a copy's target is a source, or a target twice", 0, 0);
  return true;
}

// What is open once the closings and openings have happened; commits and samples name open slots.
bool Step::copySlots(PlanView& plan, Refusal& refusal) {
  int32_t slots = program_.spec.samplerSlots;
  auto count = static_cast<size_t>(plan.closeCount);
  if (!open_.assign(program_.openSlots.data(), program_.openSlots.size()) || !closes_.assign(plan.closes.data, count)) {
    return refuseMemory(refusal);
  }
  for (int32_t slot : closes_) {
    if (!isIn(slot, slots)) return refuse(refusal, "no such sampler slot", slot, slots);
    open_[slot] = 0;
  }
  for (const auto& [slot, opening] : plan.opens) {
    if (!isIn(slot, slots)) return refuse(refusal, "no such sampler slot", slot, slots);
    open_[slot] = 1;
  }
  auto isOpen = [&](int32_t slot) {
    return (isIn(slot, slots) && open_[slot] != 0) || refuse(refusal, "sampler slot isn't open", slot, slots);
  };
  for (size_t i = 0; i < commits_.size(); i += 2) {
    if (!isOpen(commits_[i])) return false;
  }
  for (int32_t i = 0; i < plan.sampleCount; i++) {
    if (!isOpen(plan.sampleSlots[i])) return false;
    if (!isIn(plan.sampleTop[i], kMaxTop + 1)) return refuse(refusal, "alternatives", plan.sampleTop[i], kMaxTop);
  }
  return true;
}

bool Step::copySamples(const PlanView& plan, Refusal& refusal) {
  const ProgramSpec& spec = program_.spec;
  auto isRow = [&](int32_t row, const char* what) {
    return isIn(row, plan.tokenCount) || refuse(refusal, what, row, plan.tokenCount);
  };
  samples_.clear();
  logprobs_.clear();
  maskSample_.clear();
  if (plan.countedCount > 0 &&
      !areStarts(plan.countStarts.data, static_cast<size_t>(plan.sampleCount), plan.countedCount)) {
    return refuse(refusal, "count starts", plan.countStarts[plan.sampleCount], plan.countedCount);
  }
  for (int32_t i = 0; i < plan.countedCount; i++) {
    if (!isRow(plan.counted[i], "counted row")) return false;
  }
  if (!counted_.assign(plan.counted.data, static_cast<size_t>(plan.countedCount))) return refuseMemory(refusal);
  for (int32_t i = 0; i < plan.sampleCount; i++) {
    int32_t row = plan.sampleRows[i], from = 0, to = 0;
    if (!isRow(row, "output row")) return false;
    if (plan.countedCount > 0) {
      from = plan.countStarts[i];
      to = plan.countStarts[i + 1];
    }
    auto mask = plan.sampleMasked[i] != 0 ? static_cast<int32_t>(maskSample_.size()) : -1;
    if (mask >= 0) maskSample_.push(i);
    samples_.push({plan.sampleSlots[i], plan.sampleTop[i], plan.positions[row] + 1, row, from, to, mask});
  }
  for (int32_t i = 0; i < plan.logprobCount; i++) {
    int32_t id = plan.logprobIds[i], top = plan.logprobTop[i];
    if (!isRow(plan.logprobRows[i], "output row")) return false;
    if (!isIn(id, spec.vocab)) return refuse(refusal, "token id of a logprob", id, spec.vocab);
    if (!isIn(top, kMaxTop + 1)) return refuse(refusal, "alternatives", top, kMaxTop);
    logprobs_.push({id, top});
  }
  size_t words = (static_cast<size_t>(spec.vocab) + 31) / 32;
  if (!maskWords_.fill(words * maskSample_.size(), 0)) return refuseMemory(refusal);
  for (size_t m = 0; m < maskSample_.size(); m++) maskStates_[m].store(Missing, std::memory_order_relaxed);
  return true;
}

bool Step::copyInputs(const PlanView& plan, Refusal& refusal) {
  const ProgramSpec& spec = program_.spec;
  if (plan.inputs.size() != spec.inputs.size()) {
    return refuse(refusal, "named inputs", static_cast<int64_t>(plan.inputs.size()),
                  static_cast<int64_t>(spec.inputs.size()));
  }
  int64_t total = 0;
  for (size_t i = 0; i < plan.inputs.size(); i++) {
    const PlanView::Input& input = plan.inputs[i];
    auto& [rows, placeOf, values] = inputs_[i];
    for (int32_t row : rows) placeOf[row] = -1;
    rows.clear();
    auto count = static_cast<size_t>(std::max(0, input.count)), cols = static_cast<size_t>(spec.inputs[i]);
    total += input.count;
    if (input.count < 0 || total > spec.maxInputRows) return refuse(refusal, "input rows", total, spec.maxInputRows);
    if (!holds(input.rows, input.count) || input.size / cols < count) {
      return refuse(refusal, "an array is shorter than its count", input.count, spec.maxInputRows);
    }
    if (!rows.grow(count) || !values.assign(input.values, count * cols)) return refuseMemory(refusal);
    for (size_t r = 0; r < count; r++) {
      int32_t row = input.rows[r];
      if (!isIn(row, plan.tokenCount)) return refuse(refusal, "input row", row, plan.tokenCount);
      if (placeOf[row] >= 0) return refuse(refusal, "a row is given twice", row, plan.tokenCount);
      placeOf[row] = static_cast<int32_t>(r);
      rows.push(row);
    }
  }
  return true;
}

bool Step::copyOutputs(const PlanView& plan, Refusal& refusal) {
  const ProgramSpec& spec = program_.spec;
  for (const PlanView::Output& output : plan.outputs) {
    for (int32_t i = 0; i < output.count; i++) {
      if (!isIn(output.rows[i], plan.tokenCount)) return refuse(refusal, "output row", output.rows[i], plan.tokenCount);
    }
  }
  for (size_t s = 0; s < spec.sections.size(); s++) {
    auto& wanted = sections_[s].wanted;
    wanted.clear();
    if (static_cast<int32_t>(s) == spec.logits) {
      for (int32_t i = 0; i < plan.sampleCount; i++) wanted.push({plan.sampleRows[i], Want::Sample, i});
      for (int32_t i = 0; i < plan.logprobCount; i++) wanted.push({plan.logprobRows[i], Want::Logprob, i});
    }
    if (int32_t o = spec.sections[s].output; o >= 0) {
      for (int32_t i = 0; i < plan.outputs[o].count; i++) wanted.push({plan.outputs[o].rows[i], Want::Output, i});
    }
    orderOutputs(s);
  }
  return true;
}

// Gives each row that is wanted a place among the section's rows. Rows with a mask go last, so that the others needn't
// wait for them where there are several passes.
void Step::orderOutputs(size_t section) {
  constexpr int32_t kNone = -1, kLate = -2;
  auto& [rows, wanted] = sections_[section];
  int32_t passRows = program_.spec.sections[section].rows;
  auto isMasked = [&](const Wanted& w) { return w.want == Want::Sample && samples_[w.index].mask >= 0; };
  rows.clear();
  for (const Wanted& w : wanted) {
    if (isMasked(w)) rowOutput_[w.outputRow] = kLate;
  }
  for (bool late : {false, true}) {
    for (const Wanted& w : wanted) {
      int32_t& place = rowOutput_[w.outputRow];
      if (place >= 0 || (place == kLate) != late) continue;
      place = static_cast<int32_t>(rows.size());
      rows.push(w.outputRow);
    }
  }
  for (Wanted& w : wanted) w.outputRow = rowOutput_[w.outputRow];
  for (int32_t row : rows) rowOutput_[row] = kNone;
  auto order = [&](const Wanted& w) { return std::tuple(w.outputRow / passRows, isMasked(w), w.outputRow); };
  std::stable_sort(wanted.begin(), wanted.end(), [&](const Wanted& a, const Wanted& b) { return order(a) < order(b); });
}

}  // namespace millrace
