// A step's plan: every number of it is checked and copied before the step starts, and attention is cut into pieces.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "program.h"

namespace millrace {

namespace {

// Up to here a sequence's rows may be cut by tiles.
constexpr int kSplitRows = 4;

}  // namespace

bool Program::prepare(const PlanView& plan, std::string& error) {
  auto fail = [&](const char* what, long long value, long long limit) {
    char text[200];
    snprintf(text, sizeof text, "bad step plan: %s (%lld, limit %lld)", what, value, limit);
    error = text;
    return false;
  };
  auto holds = [](const PlanView::Ints& ints, int64_t count) {
    return count >= 0 && static_cast<uint64_t>(count) <= ints.size;
  };
  int tokenCount = plan.tokenCount, sequenceCount = plan.sequenceCount;
  if (tokenCount < 1 || tokenCount > spec_.maxTokens) return fail("token count", tokenCount, spec_.maxTokens);
  if (sequenceCount < 1 || sequenceCount > spec_.maxSequences) {
    return fail("sequence count", sequenceCount, spec_.maxSequences);
  }
  int64_t outputs = static_cast<int64_t>(plan.sampleCount) + plan.logprobCount + plan.logitCount;
  if (plan.sampleCount < 0 || plan.logprobCount < 0 || plan.logitCount < 0 || outputs > spec_.maxOutputs) {
    return fail("output count", outputs, spec_.maxOutputs);
  }
  if (!holds(plan.tokens, tokenCount) || !holds(plan.positions, tokenCount) ||
      !holds(plan.queryStarts, sequenceCount + 1) || !holds(plan.copies, int64_t{3} * plan.copyCount) ||
      !holds(plan.sampleRows, plan.sampleCount) || !holds(plan.sampleSlots, plan.sampleCount) ||
      !holds(plan.sampleTop, plan.sampleCount) || !holds(plan.logprobRows, plan.logprobCount) ||
      !holds(plan.logprobIds, plan.logprobCount) || !holds(plan.logitRows, plan.logitCount)) {
    return fail("an array is shorter than its count", tokenCount, spec_.maxTokens);
  }
  if (plan.tables.size() != groups_.size() || plan.strides.size() != groups_.size()) {
    return fail("block tables", static_cast<long long>(plan.tables.size()), static_cast<long long>(groups_.size()));
  }

  // Token ids; a negative one names a sample of the step before, whose results are still here.
  for (int i = 0; i < tokenCount; i++) {
    int32_t token = plan.tokens.data[i];
    if (token < 0) {
      int64_t sample = -1 - static_cast<int64_t>(token);
      if (sample >= results_.samples) return fail("reference to a sample", sample, results_.samples);
      token = results_.sampleIds[sample];
    }
    if (token < 0 || token >= spec_.tokenIds) return fail("token id", token, spec_.tokenIds);
    tokens_[i] = token;
  }
  const int32_t* starts = plan.queryStarts.data;
  if (starts[0] != 0 || starts[sequenceCount] != tokenCount) return fail("query starts", starts[0], tokenCount);
  sequences_.clear();
  for (int s = 0; s < sequenceCount; s++) {
    if (starts[s + 1] <= starts[s] || starts[s + 1] > tokenCount) return fail("query start", starts[s + 1], tokenCount);
    int32_t first = plan.positions.data[starts[s]];
    int32_t rows = starts[s + 1] - starts[s];
    int32_t limit = spec_.tableRows > 0 ? spec_.tableRows : INT32_MAX;
    if (first < 0 || first > limit - rows) return fail("position", static_cast<int64_t>(first) + rows, limit);
    for (int i = 0; i < rows; i++) {
      int32_t position = plan.positions.data[starts[s] + i];
      if (position != first + i) return fail("positions of a sequence aren't consecutive", position, first + i);
      positions_[starts[s] + i] = position;
      seen_[starts[s] + i] = position + 1;
    }
    sequences_.push_back({starts[s], rows, first});
  }

  // Block tables: every block that a row writes or reads must exist.
  for (size_t g = 0; g < groups_.size(); g++) {
    const PoolGroup& group = *pool_->groups[g];
    GroupPlan& planned = *groups_[g];
    int64_t stride = plan.strides[g];
    if (stride < 1 || !holds(plan.tables[g], stride * sequenceCount)) return fail("block table's stride", stride, 0);
    planned.tables.clear();
    planned.tableOf.clear();
    for (int s = 0; s < sequenceCount; s++) {
      const Sequence& sequence = sequences_[s];
      const int32_t* table = plan.tables[g].data + s * stride;
      int32_t used = (sequence.firstPosition + sequence.rows - 1) / kBlockTokens + 1;
      if (used > stride) return fail("blocks of a sequence", used, stride);
      int32_t oldest = group.window > 0 ? std::max(0, sequence.firstPosition - group.window + 1) : 0;
      int32_t firstBlock = oldest / kBlockTokens;
      for (int32_t b = firstBlock; b < used; b++) {
        if (table[b] < 0 || table[b] >= group.blocks) return fail("block id", table[b], group.blocks);
      }
      planned.tableOf.push_back(planned.tables.size());
      planned.tables.insert(planned.tables.end(), table, table + used);
    }
  }
  for (int i = 0; i < plan.copyCount; i++) {
    const int32_t* copy = plan.copies.data + 3 * i;
    if (copy[0] < 0 || copy[0] >= static_cast<int32_t>(groups_.size())) {
      return fail("state group of a copy", copy[0], static_cast<long long>(groups_.size()));
    }
    int32_t blocks = pool_->groups[copy[0]]->blocks;
    if (copy[1] < 0 || copy[1] >= blocks) return fail("block of a copy", copy[1], blocks);
    if (copy[2] < 0 || copy[2] >= blocks) return fail("block of a copy", copy[2], blocks);
  }
  for (int i = 0; i < plan.sampleCount; i++) {
    SamplerSlot* slot = this->slot(plan.sampleSlots.data[i]);
    if (!slot || !slot->open) return fail("sampler slot isn't open", plan.sampleSlots.data[i], spec_.samplerSlots);
    int32_t top = plan.sampleTop.data[i];
    if (top < 0 || top > kMaxTop) return fail("alternatives", top, kMaxTop);
  }
  for (int i = 0; i < plan.logprobCount; i++) {
    int32_t id = plan.logprobIds.data[i];
    if (id < 0 || id >= spec_.vocab) return fail("token id of a logprob", id, spec_.vocab);
  }
  const PlanView::Ints* rowLists[3] = {&plan.sampleRows, &plan.logprobRows, &plan.logitRows};
  const int32_t rowCounts[3] = {plan.sampleCount, plan.logprobCount, plan.logitCount};
  for (int list = 0; list < 3; list++) {
    for (int i = 0; i < rowCounts[list]; i++) {
      int32_t row = rowLists[list]->data[i];
      if (row < 0 || row >= tokenCount) return fail("output row", row, tokenCount);
    }
  }
  size_t logitBytes = static_cast<size_t>(plan.logitCount) * spec_.vocab * sizeof(float);
  if (logitBytes > results_.logits.bytes() && !results_.logits.allocate(logitBytes)) {
    error = "the logits need " + std::to_string(logitBytes) + " bytes, which the system refuses";
    return false;
  }

  // From here on nothing fails.
  copyCount_ = plan.copyCount;
  copies_.assign(plan.copies.data, plan.copies.data + 3 * static_cast<size_t>(plan.copyCount));
  outputRow_.clear();
  wanted_.clear();
  for (int list = 0; list < 3; list++) {
    for (int i = 0; i < rowCounts[list]; i++) {
      int32_t row = rowLists[list]->data[i];
      if (rowOutput_[row] < 0) {
        rowOutput_[row] = static_cast<int32_t>(outputRow_.size());
        outputRow_.push_back(row);
      }
      wanted_.push_back({rowOutput_[row], static_cast<Want>(list), i});
    }
  }
  for (int32_t row : outputRow_) rowOutput_[row] = -1;
  std::stable_sort(wanted_.begin(), wanted_.end(),
                   [](const Wanted& a, const Wanted& b) { return a.outputRow < b.outputRow; });
  for (int i = 0; i < plan.sampleCount; i++) {
    sampleSlots_[i] = plan.sampleSlots.data[i];
    sampleTop_[i] = plan.sampleTop.data[i];
    samplePositions_[i] = positions_[plan.sampleRows.data[i]] + 1;
    slots_[sampleSlots_[i]].reserve(plan.sampleCount);
  }
  if (plan.logprobCount > 0) {
    memcpy(logprobIds_.data(), plan.logprobIds.data, sizeof(int32_t) * static_cast<size_t>(plan.logprobCount));
  }
  sampleCount_ = plan.sampleCount;
  results_.samples = plan.sampleCount;
  results_.logprobCount = plan.logprobCount;
  results_.logits_ = plan.logitCount;
  for (size_t g = 0; g < groups_.size(); g++) planAttention(static_cast<int>(g));
  startPass(0);
  part_ = Part::Start;
  outputs_ = false;
  stage_ = 0;
  rows_ = tokenCount;
  return true;
}

void Program::planAttention(int index) {
  GroupPlan& plan = *groups_[index];
  const PoolGroup& group = *pool_->groups[index];
  plan.items.clear();
  plan.splits.clear();
  int64_t pieces = 0;
  for (const Sequence& sequence : sequences_) pieces += (sequence.rows + kAttendRows - 1) / kAttendRows;
  // Tiles are a way to share work; where there is enough of it, or one thread, whole rows cost less.
  bool few = team_->threads() > 1 && pieces * group.kvHeads < int64_t{4} * team_->threads();
  size_t perTile = static_cast<size_t>(plan.heads) * (group.valueDim + 2);
  size_t tilesLeft = partialFloats_ / perTile;
  int32_t partial = 0;
  for (int32_t s = 0; s < static_cast<int32_t>(sequences_.size()); s++) {
    const Sequence& sequence = sequences_[s];
    for (int32_t end = sequence.rows; end > 0;) {
      // A chunk of rows, or a row cut by tiles.
      int32_t row = end - 1;
      int32_t position = sequence.firstPosition + row;
      int32_t tileBegin = group.window > 0 ? std::max(0, position - group.window + 1) / kTileTokens : 0;
      int32_t tileEnd = position / kTileTokens + 1;
      int32_t tiles = tileEnd - tileBegin;
      if (few && sequence.rows <= kSplitRows && tiles > 1 && static_cast<size_t>(tiles) <= tilesLeft) {
        for (int32_t tile = tileBegin; tile < tileEnd; tile++) {
          plan.items.push_back({s, row, row + 1, tile, partial + tile - tileBegin});
        }
        plan.splits.push_back({s, row, tileBegin, tileEnd, partial});
        partial += tiles;
        tilesLeft -= static_cast<size_t>(tiles);
        end = row;
        continue;
      }
      int32_t begin = sequence.rows <= kSplitRows ? row : std::max(0, end - kAttendRows);
      plan.items.push_back({s, begin, end, -1, 0});
      end = begin;
    }
  }
}

void Program::startPass(int begin) {
  passBegin_ = begin;
  passRows_ = std::min(spec_.outputRows, static_cast<int32_t>(outputRow_.size()) - begin);
  wantedBegin_ = begin == 0 ? 0 : wantedEnd_;
  wantedEnd_ = wantedBegin_;
  while (wantedEnd_ < wanted_.size() && wanted_[wantedEnd_].outputRow < begin + passRows_) wantedEnd_++;
}

}  // namespace millrace
