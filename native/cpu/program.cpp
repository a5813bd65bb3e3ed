#include "program.h"

#include <algorithm>
#include <cstdio>

#include "step.h"

namespace millrace {

namespace {

constexpr size_t kPartialFloats = size_t{2} << 20;
constexpr size_t kChunkBytes = size_t{16} << 10;
// A chunk of weights that is read again for each block of rows should stay in the second-level cache.
constexpr size_t kCacheBytes = size_t{192} << 10;
// Rows of a call of a linear kernel, at most: Kernels::linearRows never says more.
constexpr int kMostRows = 128;

size_t alignUp(size_t bytes) { return (bytes + 63) / 64 * 64; }

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
int64_t costOf(const op::RopeTable& in) { return 16 * static_cast<int64_t>(in.frequencies.size()); }
int64_t costOf(const op::Rope& in) { return static_cast<int64_t>(in.heads) * in.headDim; }
int64_t costOf(const op::Gate& in) { return int64_t{4} * in.cols; }
int64_t costOf(const op::Activate& in) { return int64_t{4} * in.cols; }
int64_t costOf(const op::Softcap& in) { return int64_t{4} * in.cols; }
int64_t costOf(const op::Route& in) { return int64_t{8} * in.experts; }
int64_t costOf(const op::Combine& in) { return static_cast<int64_t>(in.cols) * in.topK; }
int64_t costOf(const op::KvWrite& in) { return static_cast<int64_t>(in.kv.kvHeads) * (in.kv.keyDim + in.kv.valueDim); }
int64_t costOf(const op::Quantize& in) { return in.q.cols; }
template <typename Op>
int64_t costOf(const Op& in) {
  return in.cols;
}

}  // namespace

std::shared_ptr<Program> Program::create(std::shared_ptr<EffectQueue> queue, const Kernels& kernels,
                                         std::vector<std::shared_ptr<Weights>> weights, std::shared_ptr<Pool> pool,
                                         std::shared_ptr<Counters> counters, ProgramSpec spec, bool timing,
                                         std::string& error) {
  std::shared_ptr<Program> program(new (std::nothrow) Program());
  if (!program) {
    error = "no memory for a program";
    return nullptr;
  }
  program->threads_ = queue->team().threads();
  program->queue = std::move(queue);
  program->kernels = &kernels;
  program->weights = std::move(weights);
  program->pool = std::move(pool);
  program->counters = std::move(counters);
  program->spec = std::move(spec);
  program->timing = timing;
  return program->build(error) ? program : nullptr;
}

Program::~Program() = default;

void Program::cut(Cut& cut, const std::vector<Part>& parts, int groupsPerUnit) {
  int groups = 0;
  size_t groupBytes = 1;
  for (const Part& part : parts) {
    groups += part.groups;
    groupBytes = std::max(groupBytes, part.w->groupBytes);
  }
  cut.rowBlock = kernels->linearRows(*parts[0].w);
  // A chunk of few rows is some KiB at least: handing it out takes as long as reading one or two.
  int least = std::max(1, static_cast<int>(kChunkBytes / groupBytes) / groupsPerUnit);
  cut.chunks = fallingChunks(groups / groupsPerUnit, threads_, least);
  cut.mostUnits = std::max(1, static_cast<int>(kCacheBytes / (groupBytes * static_cast<size_t>(groupsPerUnit))));
  for (const Part& part : parts) {
    scratchBytes_ = std::max(scratchBytes_, kernels->linearScratchBytes(*part.w, cut.rowBlock));
  }
}

void Program::prepare(Stage& stage) {
  if (auto* linear = std::get_if<op::Linear>(&stage.wide)) {
    cut(linear->cut, linear->parts, 1);
  } else if (auto* gate = std::get_if<op::LinearGate>(&stage.wide)) {
    cut(gate->cut, gate->parts, 4);
  } else if (auto* experts = std::get_if<op::ExpertLinear>(&stage.wide)) {
    cut(experts->cut, experts->parts, 1);
  } else if (auto* byHead = std::get_if<op::HeadLinear>(&stage.wide)) {
    cut(byHead->cut, byHead->parts, 1);
  } else if (auto* attend = std::get_if<op::Attend>(&stage.wide)) {
    scratchBytes_ = std::max(scratchBytes_, kernels->attendScratchBytes(attend->kv, attend->heads, kAttendRows));
    heads[attend->group] = std::max(heads[attend->group], attend->heads);
  } else if (auto* scan = std::get_if<op::Scan>(&stage.wide)) {
    // A state that is carried over borders, and one of a drafted path's own.
    size_t matrix = static_cast<size_t>(scan->keyDim) * static_cast<size_t>(scan->valueDim);
    scratchBytes_ = std::max(scratchBytes_, 2 * matrix * sizeof(float));
    if (std::find(scans.begin(), scans.end(), scan->states) == scans.end()) scans.push_back(scan->states);
  } else if (auto* recur = std::get_if<op::Recur>(&stage.wide)) {
    // A run's constants, its state, and that of a drafted path.
    scratchBytes_ = std::max(scratchBytes_, 4 * recur->runValues() * sizeof(float));
    if (std::find(scans.begin(), scans.end(), recur->states) == scans.end()) scans.push_back(recur->states);
  } else if (auto* matrix = std::get_if<op::MatrixScan>(&stage.wide)) {
    // A run's state, and that of a drafted path.
    scratchBytes_ = std::max(scratchBytes_, 2 * matrix->runValues() * sizeof(float));
    if (std::find(scans.begin(), scans.end(), matrix->states) == scans.end()) scans.push_back(matrix->states);
  }
  if (auto* down = std::get_if<op::LoraDown>(&stage.wide)) {
    // A is as wide as the input, B as A x: plain floats need the most room.
    Matrix widest{};
    widest.format = Format::F32;
    widest.cols = std::max(down->inputs, down->cols);
    loraScratchBytes_ = std::max(loraScratchBytes_, kernels->linearScratchBytes(widest, kMostRows));
  }
  for (const RowOp& row : stage.rows) stage.rowCost += std::visit([](const auto& in) { return costOf(in); }, row);
}

bool Program::build(std::string& error) {
  heads.assign(pool->groups.size(), 1);
  // For a sampler: adjusted logits and ids, and the tokens seen with those of a drafted path.
  scratchBytes_ = 4 * static_cast<size_t>(spec.vocab) * sizeof(float);
  size_t stages = spec.tokens.size();
  for (Stage& stage : spec.tokens) prepare(stage);
  for (Section& section : spec.sections) {
    stages += section.stages.size();
    for (Stage& stage : section.stages) prepare(stage);
  }
  loraScratchBytes_ = alignUp(loraScratchBytes_);
  scratchBytes_ = alignUp(scratchBytes_) + 64 + loraScratchBytes_;
  adapters.resize(static_cast<size_t>(spec.maxAdapters));
  partialFloats_ = kPartialFloats;
  size_t arena = alignUp(spec.arenaBytes) + 256;
  size_t total = arena + scratchBytes_ * static_cast<size_t>(threads_) + partialFloats_ * sizeof(float);
  if (!memory_.allocate(total)) {
    error = "the step's buffers need " + std::to_string(total) + " bytes, which the system refuses";
    return false;
  }
  arena_ = memory_.data();
  scratch_ = arena_ + arena;
  partials_ = reinterpret_cast<float*>(scratch_ + scratchBytes_ * static_cast<size_t>(threads_));

  // Before any of it is touched: what the caller's limits ask for.
  double slotBytes = static_cast<double>(spec.samplerSlots) * sizeof(SamplerSlot);
  double needed = slotBytes + kStepsInFlight * Step::bytesFor(spec, pool->groups.size());
  if (needed > static_cast<double>(os::availableMemory())) {
    error = "steps of this size need " + std::to_string(static_cast<uint64_t>(needed)) + " bytes for their plans";
    return false;
  }
  auto slotCount = static_cast<size_t>(spec.samplerSlots);
  slots.reset(new (std::nothrow) SamplerSlot[slotCount]);
  if (!slots || !openSlots.fill(slotCount, 0)) {
    error = "there is no memory for " + std::to_string(slotCount) + " sampler slots";
    return false;
  }
  stageTimes.assign(stages, 0);
  for (int i = 0; i < kStepsInFlight; i++) {
    if (addPlace()) continue;
    error = "a step of this size needs more memory than the system gives";
    return false;
  }
  return true;
}

bool Program::addPlace() {
  std::unique_ptr<Step> step(new (std::nothrow) Step(*this));
  if (!step || !step->reserve()) return false;
  places.push_back({std::move(step)});
  return true;
}

Program::Place* Program::freePlace() {
  auto isFree = [](const Place& place) { return place.job == nullptr; };
  auto found = std::find_if(places.begin(), places.end(), isFree);
  if (found != places.end()) return &*found;
  return addPlace() ? &places.back() : nullptr;
}

void Program::learn(const Step& step) {
  if (step.era() < era) return;
  era = step.era() + 1;
  for (Place& place : places) {
    if (place.job && place.step->id() >= step.id()) place.step->forget();
  }
}

void Program::settle(Step& step, bool failed) {
  if (failed) learn(step);
  for (Place& place : places) {
    if (place.step.get() == &step) place.job = nullptr;
  }
  step.release();
}

std::string Program::timings() const {
  std::string text;
  double count = steps == 0 ? 1 : static_cast<double>(steps);
  char line[160];
  size_t index = 0;
  auto add = [&](const Stage& stage) {
    std::string name;
    auto shape = [&](const std::vector<Part>& parts) {
      snprintf(line, sizeof line, "[%d,%d]", parts[0].w->rows, parts[0].w->cols);
      name += line;
    };
    std::visit(
        [&](const auto& in) {
          if constexpr (requires { in.name; }) name = in.name;
          if constexpr (requires { in.parts; }) shape(in.parts);
        },
        stage.wide);
    for (const RowOp& row : stage.rows) {
      std::visit([&](const auto& in) { name += std::string(name.empty() ? "" : " ") + in.name; }, row);
    }
    snprintf(line, sizeof line, "%9.2f µs  ", static_cast<double>(stageTimes[index++]) / count / 1000);
    text += line + name + "\n";
  };
  for (const Stage& stage : spec.tokens) add(stage);
  for (const Section& section : spec.sections) {
    for (const Stage& stage : section.stages) add(stage);
  }
  snprintf(line, sizeof line, "%9.2f µs  outputs (%.0f steps)\n", static_cast<double>(outputTime) / count / 1000,
           static_cast<double>(steps));
  return text + line;
}

}  // namespace millrace
