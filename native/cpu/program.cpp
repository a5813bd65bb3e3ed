#include "program.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace millrace {

namespace {

constexpr size_t kPartialFloats = size_t{2} << 20;
// Up to here row ops are done by one thread: about a microsecond of work, what a phase costs.
constexpr int64_t kSerialCost = 4096;
constexpr int kRowChunk = 8;
constexpr size_t kChunkBytes = size_t{16} << 10;
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
  seen_.resize(maxTokens);
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
