#include "program.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace millrace {

namespace {

// Query rows of a prefill that one thread does together.
constexpr int kAttendRows = 32;
// Up to here a sequence's rows may be cut by tiles.
constexpr int kSplitRows = 4;
constexpr size_t kPartialFloats = size_t{2} << 20;
// Up to here row ops are done by one thread: about a microsecond of work, what a phase costs.
constexpr int64_t kSerialCost = 4096;
constexpr int kRowChunk = 8;
constexpr size_t kChunkBytes = size_t{16} << 10;
// Rows up to which a linear counts as flat.
constexpr int kFlatRows = 16;
// A chunk of weights that is read again for each block of rows should stay in the second-level cache, as should rows.
constexpr size_t kCacheBytes = size_t{192} << 10;
// Rows of activations that a linear kernel lays out at once (at two bytes a column) and then keeps in that cache.
constexpr size_t kPanelBytes = size_t{256} << 10;
constexpr size_t kPanelRows = 128;

bool isWide(Op op) { return op >= Op::Linear; }
size_t alignUp(size_t bytes) { return (bytes + 63) / 64 * 64; }

int unitsOf(const Instruction& in) {
  int units = 0;
  for (const LinearPart& part : in.parts) units += groupsOf(*part.w);
  return units;
}

size_t unitBytes(const Instruction& in) {
  size_t most = 1;
  for (const LinearPart& part : in.parts) most = std::max(most, part.w->groupBytes);
  return most;
}

// Chunks of falling size: few at first, small ones at the end, so that the threads end at about the same time even
// where one of them is slow.
std::vector<int32_t> fallingChunks(int units, int threads, int least) {
  std::vector<int32_t> starts{0};
  for (int done = 0; done < units;) {
    int size = threads == 1 ? units : std::max(least, (units - done) / (2 * threads));
    done = std::min(units, done + size);
    starts.push_back(done);
  }
  return starts;
}

// About the values that a row op touches for one row, transcendental functions counted as several.
int64_t costOf(const Instruction& in) {
  int64_t cols = in.cols;
  switch (in.op) {
    case Op::RopeTable:
      return 16 * static_cast<int64_t>(in.n);
    case Op::Gate:
    case Op::Activate:
    case Op::Softcap:
      return 4 * cols;
    case Op::Route:
      return 8 * cols;
    case Op::Combine:
      return cols * in.topK;
    case Op::KvWrite:
      return static_cast<int64_t>(in.kv.kvHeads) * (in.kv.keyDim + in.kv.valueDim);
    case Op::Quantize:
      return in.q.cols;
    case Op::AttendMerge:
      return in.heads * in.kv.valueDim;
    default:
      return cols;
  }
}

}  // namespace

std::shared_ptr<Program> Program::create(std::shared_ptr<Team> team, const Kernels& kernels,
                                         std::shared_ptr<Weights> weights, std::shared_ptr<Pool> pool, ProgramSpec spec,
                                         std::string& error) {
  std::shared_ptr<Program> program(new Program());
  program->team_ = std::move(team);
  program->kernels_ = &kernels;
  program->weights_ = std::move(weights);
  program->pool_ = std::move(pool);
  program->spec_ = std::move(spec);
  program->counters_ = std::make_shared<Counters>();
  if (!program->build(error)) return nullptr;
  return program;
}

bool Program::build(std::string& error) {
  int threads = team_->threads();
  size_t scratch = 2 * static_cast<size_t>(spec_.vocab) * sizeof(float);
  for (size_t g = 0; g < pool_->groups.size(); g++) groups_.push_back(std::make_unique<GroupPlan>());
  for (auto& pointer : spec_.instructions) {
    Instruction& in = *pointer;
    if (in.op == Op::Linear || in.op == Op::LinearGate || in.op == Op::ExpertLinear) {
      int cols = in.parts[0].w->cols;
      size_t rowBytes = static_cast<size_t>(cols) * (in.int8 ? 2 : sizeof(float));
      in.rowBlock = static_cast<int32_t>(std::clamp<size_t>(kPanelBytes / rowBytes / 8 * 8, 16, kPanelRows));
      // A chunk of few rows is some KiB at least: handing it out takes as long as reading one or two.
      int least = std::max(1, static_cast<int>(kChunkBytes / unitBytes(in)));
      int units = in.op == Op::LinearGate ? unitsOf(in) / 4 : unitsOf(in);
      in.chunks = fallingChunks(units, threads, in.op == Op::LinearGate ? std::max(1, least / 4) : least);
      int perUnit = in.op == Op::LinearGate ? 4 : 1;
      in.mostUnits = std::max(1, static_cast<int>(kCacheBytes / (unitBytes(in) * perUnit)));
      for (LinearPart& part : in.parts) {
        part.groups = groupsOf(*part.w);
        part.format = part.w->format;
        scratch = std::max(scratch, kernels_->linearScratchBytes(*part.w, in.rowBlock));
      }
    }
    if (in.op == Op::Attend) {
      scratch = std::max(scratch, kernels_->attendScratchBytes(in.kv, in.heads, kAttendRows));
      GroupPlan& group = *groups_[in.group];
      group.heads = std::max(group.heads, in.heads);
    }
  }
  scratchBytes_ = alignUp(scratch) + 64;
  partialFloats_ = kPartialFloats;
  size_t arena = alignUp(spec_.arenaBytes) + 256;
  size_t total = arena + scratchBytes_ * threads + partialFloats_ * sizeof(float);
  if (!memory_.allocate(total)) {
    error = "the step's buffers need " + std::to_string(total) + " bytes, which the system refuses";
    return false;
  }
  arena_ = memory_.data();
  scratch_ = arena_ + arena;
  partials_ = reinterpret_cast<float*>(scratch_ + scratchBytes_ * threads);

  stagesOf(false, tokenStages_);
  stagesOf(true, outputStages_);

  size_t maxTokens = spec_.maxTokens, maxOutputs = spec_.maxOutputs;
  tokens_.resize(maxTokens);
  positions_.resize(maxTokens);
  rowOutput_.assign(maxTokens, -1);
  sequences_.reserve(spec_.maxSequences);
  outputRow_.reserve(maxOutputs);
  wanted_.reserve(maxOutputs);
  logprobIds_.resize(maxOutputs);
  sampleSlots_.resize(maxOutputs);
  sampleTop_.resize(maxOutputs);
  samplePositions_.resize(maxOutputs);
  results_.sampleIds.resize(maxOutputs);
  results_.sampleLogprobs.resize(maxOutputs);
  results_.topIds.resize(maxOutputs * kMaxTop);
  results_.topLogprobs.resize(maxOutputs * kMaxTop);
  results_.logprobs.resize(maxOutputs);
  slots_.resize(spec_.samplerSlots);
  return true;
}

void Program::stagesOf(bool outputs, std::vector<std::unique_ptr<Stage>>& stages) {
  for (auto& pointer : spec_.instructions) {
    Instruction* in = pointer.get();
    if (in->outputs != outputs) continue;
    bool follows = !stages.empty() && !stages.back()->serial;
    if (isWide(in->op) || !follows) stages.push_back(std::make_unique<Stage>());
    Stage& stage = *stages.back();
    if (isWide(in->op)) {
      stage.wide = in;
    } else if (in->op == Op::GroupExperts) {
      stage.serial = in;
    } else {
      // The rows of one thread must be the same in all ops of a stage.
      bool first = stage.rows.empty();
      if (!first && stage.rows[0]->perRow != in->perRow) {
        stages.push_back(std::make_unique<Stage>());
        stages.back()->rows.push_back(in);
        stages.back()->rowCost = costOf(*in);
        continue;
      }
      stage.rows.push_back(in);
      stage.rowCost += costOf(*in);
    }
  }
}

// --- a step's plan --------------------------------------------------------------------------------------------------

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
  bool few = pieces * group.kvHeads < int64_t{4} * team_->threads();
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

// --- a step ---------------------------------------------------------------------------------------------------------

void Program::prefetch(const Stage& stage) {
  auto lines = [](const void* from, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(static_cast<const char*>(from) + i);
  };
  lines(&stage, sizeof stage);
  if (stage.wide) lines(stage.wide, sizeof *stage.wide);
}

// Opens phases until one has work for several threads; what a single thread should do, it does here.
int Program::next() {
  auto* stages = outputs_ ? &outputStages_ : &tokenStages_;
  while (true) {
    Stage* stage = stage_ < stages->size() ? (*stages)[stage_].get() : nullptr;
    switch (part_) {
      case Part::Start:
        for (int i = 0; i < copyCount_; i++) pool_->copyBlock(copies_[3 * i], copies_[3 * i + 1], copies_[3 * i + 2]);
        if (timing_) lastTime_ = os::nanoseconds();
        steps_++;
        part_ = Part::Wide;
        break;
      case Part::Wide:
        if (!stage) {
          // The end of the tokens, or of a pass over output rows.
          if (outputs_) {
            part_ = Part::Finish;
            if (wantedEnd_ > wantedBegin_) return static_cast<int>(wantedEnd_ - wantedBegin_);
            break;
          }
          if (outputRow_.empty()) return 0;
          outputs_ = true;
          stages = &outputStages_;
          stage_ = 0;
          rows_ = passRows_;
          break;
        }
        part_ = Part::Rows;
        if (stage->wide) {
          // The weights that stream through drive all else out of the caches: ask for the next stage in time.
          if (stage_ + 1 < stages->size()) prefetch(*(*stages)[stage_ + 1]);
          if (int items = openWide(*stage->wide); items > 0) return items;
        }
        break;
      case Part::Rows:
        part_ = Part::End;
        if (int chunks = openRows(*stage); chunks > 0) return chunks;
        break;
      case Part::End:
        if (stage->serial) groupExperts(*stage->serial);
        if (timing_) lap(stage->nanoseconds);
        stage_++;
        part_ = Part::Wide;
        break;
      case Part::Finish:
        endPass();
        if (passRows_ <= 0) return 0;
        stage_ = 0;
        rows_ = passRows_;
        part_ = Part::Wide;
        break;
    }
  }
}

void Program::work(int chunk, int thread) {
  uint8_t* scratch = scratch_ + scratchBytes_ * thread;
  if (part_ == Part::Finish) {
    output(wanted_[wantedBegin_ + chunk], scratch);
    return;
  }
  const Stage& stage = *(outputs_ ? outputStages_ : tokenStages_)[stage_];
  // The part that was opened is the one before `part_`.
  if (part_ == Part::End) {
    int end = std::min(rows_ * stage.rows[0]->perRow, (chunk + 1) * rowChunk_);
    for (const Instruction* in : stage.rows) runRow(*in, chunk * rowChunk_, end);
    return;
  }
  switch (stage.wide->op) {
    case Op::Linear:
      linear(*stage.wide, chunk, scratch);
      return;
    case Op::LinearGate:
      linearGate(*stage.wide, chunk, scratch);
      return;
    case Op::ExpertLinear:
      expertLinear(*stage.wide, chunk, scratch);
      return;
    case Op::Attend:
      attend(*stage.wide, chunk, scratch);
      return;
    default:
      return;
  }
}

// Runs the row ops here where they are few; else the number of chunks.
int Program::openRows(const Stage& stage) {
  if (stage.rows.empty()) return 0;
  int rows = rows_ * stage.rows[0]->perRow;
  int threads = team_->threads();
  if (rows > 1 && threads > 1 && stage.rowCost * rows > kSerialCost) {
    rowChunk_ = std::clamp(rows / (4 * threads), 1, kRowChunk);
    return (rows + rowChunk_ - 1) / rowChunk_;
  }
  // In pieces, so that what one op wrote is in the cache when the next reads it.
  for (int begin = 0; begin < rows; begin += kRowChunk) {
    for (const Instruction* in : stage.rows) runRow(*in, begin, std::min(rows, begin + kRowChunk));
  }
  return 0;
}

void Program::lap(uint64_t& sum) {
  uint64_t now = os::nanoseconds();
  sum += now - lastTime_;
  lastTime_ = now;
}

void Program::runRow(const Instruction& in, int begin, int end) {
  const Kernels& k = *kernels_;
  switch (in.op) {
    case Op::Embed:  // y = rows of parts[0] that the tokens name · factor
    case Op::PositionEmbed:
      for (int row = begin; row < end; row++) {
        int n = in.op == Op::Embed ? tokens_[row] : positions_[row];
        const LinearPart* part = &in.parts[0];
        while (n >= part->column + part->w->rows) part++;
        k.dequantizeRow(*part->w, 0, n - part->column, in.factor, at(in.y, row));
      }
      return;
    case Op::Rows:  // y[i] = x[outputRow[i]]
      for (int row = begin; row < end; row++) {
        memcpy(at(in.y, row), at(in.x, outputRow_[passBegin_ + row]), sizeof(float) * in.cols);
      }
      return;
    case Op::RmsNorm:
      k.rmsNorm(at(in.x), in.x.stride, at(in.y), in.y.stride, in.cols, in.groupSize, in.weight, in.offset, in.eps,
                begin, end);
      return;
    case Op::LayerNorm:
      k.layerNorm(at(in.x), in.x.stride, at(in.y), in.y.stride, in.cols, in.weight, in.bias, in.eps, begin, end);
      return;
    case Op::RopeTable:  // y, z: cos and sin [rows, n]
      k.ropeTable(positions_.data(), in.frequencies.data(), in.n, in.factor, at(in.y), at(in.z), begin, end);
      return;
    case Op::Rope:  // z, t: cos and sin
      k.rope(at(in.x), in.x.stride, at(in.y), in.y.stride, in.heads, in.headDim, in.n, in.interleaved, at(in.z),
             at(in.t), begin, end);
      return;
    case Op::KvWrite: {  // x: keys, y: values
      const GroupPlan& plan = *groups_[in.group];
      auto after = std::upper_bound(sequences_.begin(), sequences_.end(), begin,
                                    [](int row, const Sequence& s) { return row < s.row; });
      for (auto s = after - 1; s != sequences_.end() && s->row < end; ++s) {
        int from = std::max(begin, s->row) - s->row, to = std::min(end, s->row + s->rows) - s->row;
        const int32_t* table = plan.tables.data() + plan.tableOf[s - sequences_.begin()];
        k.kvWrite(in.kv, table, s->firstPosition, at(in.x, s->row), in.x.stride, at(in.y, s->row), in.y.stride, from,
                  to);
      }
      return;
    }
    case Op::AttendMerge: {
      const GroupPlan& plan = *groups_[in.group];
      size_t perTile = static_cast<size_t>(in.heads) * (in.kv.valueDim + 2);
      for (const Split& split : plan.splits) {
        const Sequence& sequence = sequences_[split.sequence];
        int row = sequence.row + split.row;
        if (row < begin || row >= end) continue;
        AttendArgs args = attendArgs(in, sequence, split.sequence);
        for (int head = 0; head < in.kv.kvHeads; head++) {
          const float* partials = partials_ + split.partial * perTile + head * (perTile / in.kv.kvHeads);
          k.attendMerge(args, head, split.row, partials, perTile, split.tileBegin, split.tileEnd);
        }
      }
      return;
    }
    case Op::Gate:
      k.gate(at(in.x), in.x.stride, at(in.z), in.z.stride, at(in.y), in.y.stride, in.cols, in.activation, begin, end);
      return;
    case Op::Activate:
      k.activate(at(in.x), in.x.stride, at(in.y), in.y.stride, in.cols, in.activation, begin, end);
      return;
    case Op::Add:
      k.add(at(in.x), in.x.stride, at(in.z), in.z.stride, at(in.y), in.y.stride, in.cols, begin, end);
      return;
    case Op::Scale:
      k.scale(at(in.x), in.x.stride, at(in.y), in.y.stride, in.cols, in.factor, begin, end);
      return;
    case Op::Softcap:
      k.softcap(at(in.x), in.x.stride, at(in.y), in.y.stride, in.cols, in.factor, begin, end);
      return;
    case Op::Quantize:
      k.quantizeRows(at(in.x), in.x.stride, in.q.cols, rows8(in.q), begin, end);
      return;
    case Op::Route:  // x: router logits; y: ids, z: weights
      k.route(at(in.x), in.x.stride, in.cols, in.topK, in.normalize, at<int32_t>(in.y), at(in.z), begin, end);
      return;
    case Op::Combine:  // y[row] = Σ z[row, k] · x[place of (row, k)], in order of the experts' ids
      for (int row = begin; row < end; row++) {
        const int32_t* place = reinterpret_cast<int32_t*>(arena_ + in.experts.place) + size_t(row) * in.topK;
        const float* weights = at(in.z, row);
        float* y = at(in.y, row);
        const float* x = at(in.x, place[0]);
        for (int c = 0; c < in.cols; c++) y[c] = weights[0] * x[c];
        for (int e = 1; e < in.topK; e++) {
          x = at(in.x, place[e]);
          for (int c = 0; c < in.cols; c++) y[c] += weights[e] * x[c];
        }
      }
      return;
    default:
      return;
  }
}

// Sorts the (row, expert) assignments by expert, rows in ascending order. y: ids [rows, topK].
void Program::groupExperts(const Instruction& in) {
  auto list = [&](size_t offset) { return reinterpret_cast<int32_t*>(arena_ + offset); };
  int32_t *offsets = list(in.experts.offsets), *active = list(in.experts.active);
  int32_t *rowIndex = list(in.experts.rowIndex), *place = list(in.experts.place);
  int32_t* ids = at<int32_t>(in.y);
  int count = rows_ * in.topK;
  std::fill(offsets, offsets + in.n + 1, 0);
  for (int i = 0; i < count; i++) {
    if (static_cast<uint32_t>(ids[i]) >= static_cast<uint32_t>(in.n)) ids[i] = 0;  // router logits that are no numbers
    offsets[ids[i] + 1]++;
  }
  int32_t used = 0;
  for (int e = 0; e < in.n; e++) {
    if (offsets[e + 1] > 0) active[++used] = e;
    offsets[e + 1] += offsets[e];
  }
  active[0] = used;
  for (int i = 0; i < count; i++) {
    place[i] = offsets[ids[i]]++;
    rowIndex[place[i]] = i / in.topK;
  }
  for (int e = in.n; e > 0; e--) offsets[e] = offsets[e - 1];
  offsets[0] = 0;
}

void Program::countLinear(const Instruction& in, int rows) {
  int kind = rows == 1 ? 0 : rows <= kFlatRows ? 1 : 2;
  for (const LinearPart& part : in.parts) {
    auto& counter = counters_->linear[kind][static_cast<int>(part.format)];
    counter.fetch_add(static_cast<uint64_t>(rows), std::memory_order_relaxed);
  }
}

int Grid::chunks() const { return falling ? static_cast<int>(falling->size()) - 1 : (units + even - 1) / even; }
int Grid::unitBegin(int item) const { return falling ? (*falling)[item % chunks()] : item % chunks() * even; }
int Grid::unitEnd(int item) const {
  return falling ? (*falling)[item % chunks() + 1] : std::min(units, (item % chunks() + 1) * even);
}
int Grid::rowEnd(int item) const { return std::min(rows, rowBegin(item) + rowBlock); }

// Cuts a wide op into chunks, and counts what the kernels will do.
int Program::openWide(const Instruction& in) {
  int threads = team_->threads();
  switch (in.op) {
    case Op::Attend:
      return static_cast<int>(groups_[in.group]->items.size()) * in.kv.kvHeads;
    case Op::ExpertLinear: {
      auto list = [&](size_t offset) { return reinterpret_cast<int32_t*>(arena_ + offset); };
      const int32_t *offsets = list(in.experts.offsets), *active = list(in.experts.active);
      int units = in.chunks.back();
      int wanted = std::clamp(8 * threads / std::max(1, active[0]), 1, units);
      expertUnits_ = (units + wanted - 1) / wanted;
      expertChunks_ = (units + expertUnits_ - 1) / expertUnits_;
      for (int i = 0; i < active[0]; i++) {
        int rows = offsets[active[1 + i] + 1] - offsets[active[1 + i]];
        for (int row = 0; row < rows; row += in.rowBlock) {
          countLinear(in, std::min(in.rowBlock, rows - row));
        }
      }
      return active[0] * expertChunks_;
    }
    default: {
      grid_.falling = rows_ <= kFlatRows ? &in.chunks : nullptr;
      grid_.units = in.chunks.back();
      grid_.rows = rows_;
      grid_.rowBlock = in.rowBlock;
      grid_.rowBlocks = (rows_ + in.rowBlock - 1) / in.rowBlock;
      grid_.even = std::clamp(grid_.units * grid_.rowBlocks / (8 * threads), 1, in.mostUnits);
      grid_.key = panelKey_ + 1;
      panelKey_ += static_cast<uint64_t>(grid_.rowBlocks);
      for (int row = 0; row < rows_; row += in.rowBlock) countLinear(in, std::min(in.rowBlock, rows_ - row));
      return grid_.items();
    }
  }
}

// y = x Wᵀ (+ bias) (+ residual z)
void Program::linear(const Instruction& in, int item, uint8_t* scratch) {
  int begin = grid_.unitBegin(item), end = grid_.unitEnd(item);
  size_t row = grid_.rowBegin(item);
  LinearArgs args{};
  args.rows = grid_.rowEnd(item) - static_cast<int>(row);
  if (in.int8) {
    args.x8 = rows8(in.q, row);
  } else {
    args.x = at(in.x, row);
    args.ldx = in.x.stride;
  }
  args.ldy = in.y.stride;
  args.ldr = in.z.stride;
  args.panelKey = grid_.keyOf(item);
  for (const LinearPart& part : in.parts) {
    int groups = part.groups;
    if (begin < groups && end > 0) {
      args.w = part.w;
      args.y = at(in.y, row) + part.column;
      args.bias = in.bias ? in.bias + part.column : nullptr;
      args.residual = in.hasResidual ? at(in.z, row) + part.column : nullptr;
      kernels_->linear(args, std::max(begin, 0), std::min(end, groups), scratch);
    }
    begin -= groups;
    end -= groups;
  }
}

// y [rows, 2F] = x Wᵀ (gate columns, then up columns), then y[:F] = act(y[:F]) · y[F:], then those as int8. A unit is
// 32 columns of F, so that a chunk holds whole activation blocks.
void Program::linearGate(const Instruction& in, int item, uint8_t* scratch) {
  const Matrix& w = *in.parts[0].w;
  int half = w.rows / 2;
  int begin = grid_.unitBegin(item), end = grid_.unitEnd(item);
  size_t row = grid_.rowBegin(item);
  LinearArgs args{};
  args.w = &w;
  args.rows = grid_.rowEnd(item) - static_cast<int>(row);
  if (in.int8) {
    args.x8 = rows8(in.q, row);
  } else {
    args.x = at(in.x, row);
    args.ldx = in.x.stride;
  }
  args.y = at(in.y, row);
  args.ldy = in.y.stride;
  args.panelKey = grid_.keyOf(item);
  kernels_->linear(args, 2 * begin, 2 * end, scratch);
  kernels_->linear(args, half / 16 + 2 * begin, half / 16 + 2 * end, scratch);
  float* gate = args.y + 32 * begin;
  int cols = 32 * (end - begin);
  kernels_->gate(gate, args.ldy, gate + half, args.ldy, gate, args.ldy, cols, in.activation, 0, args.rows);
  for (int i = 0; in.emits8 && i < args.rows; i++) {
    Rows8 out = rows8(in.q2, row + i);
    out.codes += 32 * begin;
    out.scales += begin;
    out.sums += 2 * begin;
    kernels_->quantizeRows(gate + i * args.ldy, args.ldy, cols, out, 0, 1);
  }
}

// For each active expert: y[its assignments] = x[their rows] Wᵀ. `gather`: x has the token rows, else the assignments.
void Program::expertLinear(const Instruction& in, int item, uint8_t* scratch) {
  auto list = [&](size_t offset) { return reinterpret_cast<int32_t*>(arena_ + offset); };
  const int32_t *offsets = list(in.experts.offsets), *active = list(in.experts.active);
  const int32_t* rowIndex = list(in.experts.rowIndex);
  int expert = active[1 + item / expertChunks_];
  int from = item % expertChunks_ * expertUnits_, to = std::min(in.chunks.back(), from + expertUnits_);
  int last = offsets[expert + 1];
  for (int row = offsets[expert]; row < last; row += in.rowBlock) {
    int begin = from, end = to;
    LinearArgs args{};
    args.expert = expert;
    args.rows = std::min(in.rowBlock, last - row);
    size_t source = in.gather ? 0 : row;
    if (in.gather) args.rowIndex = rowIndex + row;
    if (in.int8) {
      args.x8 = rows8(in.q, source);
    } else {
      args.x = at(in.x, source);
      args.ldx = in.x.stride;
    }
    args.ldy = in.y.stride;
    for (const LinearPart& part : in.parts) {
      int groups = part.groups;
      if (begin < groups && end > 0) {
        args.w = part.w;
        args.y = at(in.y, row) + part.column;
        kernels_->linear(args, std::max(begin, 0), std::min(end, groups), scratch);
      }
      begin -= groups;
      end -= groups;
    }
  }
}

AttendArgs Program::attendArgs(const Instruction& in, const Sequence& sequence, int index) const {
  const GroupPlan& plan = *groups_[in.group];
  AttendArgs args{};
  args.kv = &in.kv;
  args.blockTable = plan.tables.data() + plan.tableOf[index];
  args.q = at(in.x, sequence.row);
  args.ldq = in.x.stride;
  args.heads = in.heads;
  args.scale = in.factor;
  args.softcap = in.eps;
  args.window = pool_->groups[in.group]->window;
  args.firstPosition = sequence.firstPosition;
  args.rows = sequence.rows;
  args.out = at(in.y, sequence.row);
  args.ldo = in.y.stride;
  return args;
}

// x: queries, y: out. factor: scale, eps: softcap (0: none).
void Program::attend(const Instruction& in, int i, uint8_t* scratch) {
  const GroupPlan& plan = *groups_[in.group];
  int kvHeads = in.kv.kvHeads;
  const Item& item = plan.items[i / kvHeads];
  int head = i % kvHeads;
  AttendArgs args = attendArgs(in, sequences_[item.sequence], item.sequence);
  int type = static_cast<int>(in.kv.type);
  if (item.tile < 0) {
    kernels_->attendRows(args, head, item.rowBegin, item.rowEnd, scratch);
    counters_->attend[0][type].fetch_add(item.rowEnd - item.rowBegin, std::memory_order_relaxed);
  } else {
    size_t perTile = static_cast<size_t>(in.heads) * (in.kv.valueDim + 2);
    float* partial = partials_ + item.partial * perTile + head * (perTile / kvHeads);
    kernels_->attendTile(args, head, item.rowBegin, item.tile, partial, scratch);
    counters_->attend[1][type].fetch_add(1, std::memory_order_relaxed);
  }
}

// What an output row is wanted for.
void Program::output(const Wanted& wanted, uint8_t* scratch) {
  const float* logits = at(spec_.logits, wanted.outputRow - passBegin_);
  switch (wanted.want) {
    case Want::Sample: {
      SampleArgs args{};
      slots_[sampleSlots_[wanted.index]].fill(args);
      args.logits = logits;
      args.vocab = spec_.vocab;
      args.position = samplePositions_[wanted.index];
      args.top = sampleTop_[wanted.index];
      args.topIds = results_.topIds.data() + static_cast<size_t>(wanted.index) * kMaxTop;
      args.topLogprobs = results_.topLogprobs.data() + static_cast<size_t>(wanted.index) * kMaxTop;
      args.scratch = reinterpret_cast<float*>(scratch);
      kernels_->sample(args);
      results_.sampleIds[wanted.index] = args.id;
      results_.sampleLogprobs[wanted.index] = args.logprob;
      return;
    }
    case Want::Logprob:
      results_.logprobs[wanted.index] = logits[logprobIds_[wanted.index]] - kernels_->logSumExp(logits, spec_.vocab);
      return;
    case Want::Logits:
      memcpy(results_.logits.data() + static_cast<size_t>(wanted.index) * spec_.vocab * sizeof(float), logits,
             static_cast<size_t>(spec_.vocab) * sizeof(float));
      return;
  }
}

void Program::endPass() {
  // Counted in order, once all of the pass have been chosen.
  for (size_t i = wantedBegin_; i < wantedEnd_; i++) {
    if (wanted_[i].want != Want::Sample) continue;
    slots_[sampleSlots_[wanted_[i].index]].add(results_.sampleIds[wanted_[i].index]);
  }
  startPass(passBegin_ + passRows_);
  if (timing_) lap(finishTime_);
}

std::string Program::timings() const {
  std::string text;
  double steps = steps_ == 0 ? 1 : static_cast<double>(steps_);
  char line[160];
  for (const auto* stages : {&tokenStages_, &outputStages_}) {
    for (const auto& stage : *stages) {
      std::string name;
      if (stage->wide) {
        name = kOpNames[static_cast<int>(stage->wide->op)];
        if (!stage->wide->parts.empty()) {
          const Matrix& w = *stage->wide->parts[0].w;
          snprintf(line, sizeof line, "[%d,%d]", w.rows, w.cols);
          name += line;
        }
      }
      for (const Instruction* in : stage->rows)
        name += std::string(name.empty() ? "" : " ") + kOpNames[static_cast<int>(in->op)];
      snprintf(line, sizeof line, "%9.2f µs  ", static_cast<double>(stage->nanoseconds) / steps / 1000);
      text += line + name + "\n";
    }
  }
  snprintf(line, sizeof line, "%9.2f µs  sample (%.0f steps)\n", static_cast<double>(finishTime_) / steps / 1000,
           steps);
  return text + line;
}

}  // namespace millrace
