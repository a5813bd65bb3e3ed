// The executor: runs a compiled list of instructions over the rows of a step, on all threads of a team. It knows
// kernels, buffers and row counts; what the instructions mean together (a model) is the lowering's business
// (src/backend/cpu/lowering.ts).
//
// Two kinds of instruction take turns. A *wide* one (linear, attention) is cut across its output columns or heads and
// is a phase of the team's job (team.h). *Row* ops (norms, rope, KV writes, quantisation …) that follow need only their
// own row: a chunk is all of them for some rows. Where the rows are few, the thread that completed the wide phase does
// them at once, so a decode step of a transformer has five phases a layer. No result depends on who computes it or on
// how the chunks are cut.
#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "kernels.h"
#include "os.h"
#include "pool.h"
#include "sampler.h"
#include "team.h"
#include "weights.h"

namespace millrace {

enum class Op : int32_t {
  // Row ops.
  Embed,
  PositionEmbed,
  Rows,
  RmsNorm,
  LayerNorm,
  RopeTable,
  Rope,
  KvWrite,
  AttendMerge,
  Gate,
  Activate,
  Add,
  Scale,
  Softcap,
  Quantize,
  Route,
  Combine,
  // Serial: between two barriers, on one thread.
  GroupExperts,
  // Wide.
  Linear,
  LinearGate,
  ExpertLinear,
  Attend,
};

// In the order of Op: what instructions are called in the lowering and in timings.
inline constexpr const char* kOpNames[] = {
    "embed",   "positionEmbed", "rows",     "rmsNorm",    "layerNorm",    "ropeTable", "rope",     "kvWrite",
    "merge",   "gate",          "activate", "add",        "scale",        "softcap",   "quantize", "route",
    "combine", "groupExperts",  "linear",   "linearGate", "expertLinear", "attend",
};

// Rows in the arena: where row 0 begins (bytes), and how many values (of 4 bytes) lie from a row to the next.
struct Span {
  size_t at = 0;
  size_t stride = 0;
};

// Rows of int8 codes, scales and sums in the arena; `cols` codes a row.
struct Span8 {
  size_t codes = 0, scales = 0, sums = 0;
  int32_t cols = 0;
};

// The rows of experts: offsets [experts + 1] into the list of assignments, the active experts' count and ids, the
// token row of each assignment, and for each (row, k) its place in the list.
struct ExpertSpan {
  size_t offsets = 0, active = 0, rowIndex = 0, place = 0;
};

// A matrix that fills the output columns from `column` on.
struct LinearPart {
  const Matrix* w = nullptr;
  int32_t column = 0;
  // Of the matrix, here so that opening an instruction touches no other memory.
  int32_t groups = 0;
  Format format{};
};

// What each op reads of this stands at its case in program.cpp.
struct Instruction {
  Op op{};
  bool outputs = false;  // over the step's output rows, else over its tokens
  int32_t perRow = 1;    // rows of this instruction for each of those (experts)
  Span x, y, z, t;
  Span8 q;
  bool int8 = false;    // a linear reads q
  bool emits8 = false;  // LinearGate writes q2
  Span8 q2;
  ExpertSpan experts;
  std::vector<LinearPart> parts;
  const float* weight = nullptr;
  const float* bias = nullptr;
  bool hasResidual = false, interleaved = false, normalize = false, gather = false;
  int32_t cols = 0, groupSize = 0, heads = 0, headDim = 0, n = 0, topK = 0;
  float eps = 0, offset = 0, factor = 1;
  Activation activation{};
  int32_t group = 0;  // state group
  KvState kv{};
  std::vector<float> frequencies;

  // Wide ops: the first unit of each chunk, and the end of the last. A unit is 16 rows of weights (32 for LinearGate).
  std::vector<int32_t> chunks;
  int32_t rowBlock = 0;
  int32_t mostUnits = 1;  // that stay in the cache
};

// How a linear over `rows` rows is cut: chunks of units (falling sizes where the weights are read once, even ones where
// they are read again for each block of rows), times blocks of rows, block by block: a kernel lays a block's
// activations out once (LinearArgs::panelKey) and uses them for all its chunks.
struct Grid {
  const std::vector<int32_t>* falling = nullptr;
  int units = 0, even = 1, rows = 0, rowBlock = 1, rowBlocks = 0;
  uint64_t key = 0;  // of the first block of rows

  int chunks() const;
  int items() const { return chunks() * rowBlocks; }
  int unitBegin(int item) const;
  int unitEnd(int item) const;
  int rowBegin(int item) const { return item / chunks() * rowBlock; }
  uint64_t keyOf(int item) const { return key + static_cast<uint64_t>(item / chunks()); }
  int rowEnd(int item) const;
};

struct ProgramSpec {
  std::vector<std::unique_ptr<Instruction>> instructions;  // those over tokens first
  size_t arenaBytes = 0;
  int32_t maxTokens = 0, maxSequences = 0, maxOutputs = 0, samplerSlots = 0;
  int32_t outputRows = 0;  // output rows that the arena holds; more are done in several passes
  int32_t vocab = 0;       // columns of the logits
  int32_t tokenIds = 0;    // rows of the embedding
  int32_t tableRows = 0;   // rows of the learned positions, 0: none
  Span logits;
};

// The caller's arrays; see StepPlan in src/backend/contract.ts. Copied before a step starts.
struct PlanView {
  int32_t tokenCount, sequenceCount, copyCount, sampleCount, logprobCount, logitCount;
  struct Ints {
    const int32_t* data = nullptr;
    size_t size = 0;
  };
  Ints tokens, positions, queryStarts, copies, sampleRows, sampleSlots, sampleTop, logprobRows, logprobIds, logitRows;
  std::vector<Ints> tables;
  std::vector<int32_t> strides;
};

constexpr int kMaxTop = 20;
// Query rows of a prefill that one thread does together.
constexpr int kAttendRows = 32;

class Program {
 public:
  // Null with a reason where memory isn't there or the spec doesn't fit the pool.
  static std::shared_ptr<Program> create(std::shared_ptr<Team> team, const Kernels& kernels,
                                         std::shared_ptr<Weights> weights, std::shared_ptr<Pool> pool, ProgramSpec spec,
                                         std::string& error);

  // Checks and copies a plan. False with a reason: nothing has changed then.
  bool prepare(const PlanView& plan, std::string& error);
  // The prepared step, as Job::next and Job::work.
  int next();
  void work(int chunk, int thread);

  // A step is in flight; of interest to the JavaScript thread alone.
  bool busy = false;

  SamplerSlot* slot(int index) {
    return index >= 0 && index < static_cast<int>(slots_.size()) ? &slots_[index] : nullptr;
  }
  const Team& team() const { return *team_; }
  const std::shared_ptr<Team>& teamPointer() const { return team_; }
  int vocab() const { return spec_.vocab; }

  struct Results {
    std::vector<int32_t> sampleIds, topIds;
    std::vector<float> sampleLogprobs, topLogprobs, logprobs;
    os::Pages logits;
    int32_t samples = 0, logprobCount = 0, logits_ = 0;
  };
  const Results& results() const { return results_; }

  // Rows that linears computed, by kernel class (1 row, 2 … 16, more) and format; attention by kind and KV type.
  struct Counters {
    std::atomic<uint64_t> linear[3][static_cast<int>(Format::Count)] = {};
    std::atomic<uint64_t> attend[2][3] = {};
  };
  void shareCounters(std::shared_ptr<Counters> counters) { counters_ = std::move(counters); }

  // Where the time goes: nanoseconds of each stage, summed over the steps; empty unless asked for.
  void enableTimings() { timing_ = true; }
  std::string timings() const;

 private:
  struct Stage {
    Instruction* wide = nullptr;
    std::vector<Instruction*> rows;
    Instruction* serial = nullptr;
    int64_t rowCost = 0;  // about the values that the row ops touch for one row
    uint64_t nanoseconds = 0;
  };
  enum class Part { Start, Wide, Rows, End, Finish };
  struct Sequence {
    int32_t row, rows, firstPosition;
  };
  // A piece of attention: all tiles for some rows of a sequence, or one tile for one row.
  struct Item {
    int32_t sequence, rowBegin, rowEnd, tile, partial;
  };
  // A row whose tiles are done apart.
  struct Split {
    int32_t sequence, row, tileBegin, tileEnd, partial;
  };
  struct GroupPlan {
    std::vector<Item> items;
    std::vector<Split> splits;  // in order of rows
    std::vector<int32_t> tables;
    std::vector<size_t> tableOf;  // by sequence
    int32_t heads = 1;            // the most query heads of a layer
  };
  enum class Want : int32_t { Sample, Logprob, Logits };
  struct Wanted {
    int32_t outputRow;
    Want want;
    int32_t index;
  };

  Program() = default;
  bool build(std::string& error);
  void stagesOf(bool outputs, std::vector<std::unique_ptr<Stage>>& stages);
  void planAttention(int group);
  void startPass(int begin);
  int openWide(const Instruction& in);
  int openRows(const Stage& stage);
  void runRow(const Instruction& in, int begin, int end);
  void groupExperts(const Instruction& in);
  void linear(const Instruction& in, int item, uint8_t* scratch);
  void linearGate(const Instruction& in, int item, uint8_t* scratch);
  void expertLinear(const Instruction& in, int item, uint8_t* scratch);
  void attend(const Instruction& in, int item, uint8_t* scratch);
  void output(const Wanted& wanted, uint8_t* scratch);
  void endPass();
  void lap(uint64_t& sum);
  static void prefetch(const Stage& stage);
  void countLinear(const Instruction& in, int rows);
  AttendArgs attendArgs(const Instruction& in, const Sequence& sequence, int index) const;

  template <typename T = float>
  T* at(const Span& span, size_t row = 0) const {
    return reinterpret_cast<T*>(arena_ + span.at) + row * span.stride;
  }
  Rows8 rows8(const Span8& q, size_t row = 0) const {
    return {reinterpret_cast<int8_t*>(arena_ + q.codes) + row * q.cols,
            reinterpret_cast<float*>(arena_ + q.scales) + row * (q.cols / kActBlock),
            reinterpret_cast<int32_t*>(arena_ + q.sums) + row * (q.cols / 16)};
  }

  std::shared_ptr<Team> team_;
  const Kernels* kernels_ = nullptr;
  std::shared_ptr<Weights> weights_;
  std::shared_ptr<Pool> pool_;
  ProgramSpec spec_;
  os::Pages memory_;
  uint8_t* arena_ = nullptr;
  uint8_t* scratch_ = nullptr;  // one a thread
  size_t scratchBytes_ = 0;
  float* partials_ = nullptr;
  size_t partialFloats_ = 0;
  std::vector<std::unique_ptr<Stage>> tokenStages_, outputStages_;
  std::vector<SamplerSlot> slots_;
  std::shared_ptr<Counters> counters_;
  bool timing_ = false;
  uint64_t lastTime_ = 0, finishTime_ = 0, steps_ = 0;

  // Where the step is: written between two phases.
  Part part_ = Part::Start;
  bool outputs_ = false;
  size_t stage_ = 0;
  int rows_ = 0;  // of the stage's domain
  int rowChunk_ = 1;
  Grid grid_;
  uint64_t panelKey_ = 0;  // the last one used
  int expertChunks_ = 1, expertUnits_ = 1;

  // The step.
  std::vector<int32_t> tokens_, positions_, seen_, copies_, logprobIds_;
  std::vector<Sequence> sequences_;
  std::vector<std::unique_ptr<GroupPlan>> groups_;
  std::vector<int32_t> outputRow_;  // token rows that outputs name, each once
  std::vector<int32_t> rowOutput_;  // token row → index into outputRow_, −1: none
  std::vector<Wanted> wanted_;      // in order of output rows
  std::vector<int32_t> sampleSlots_, sampleTop_, samplePositions_;
  size_t wantedBegin_ = 0, wantedEnd_ = 0;
  int32_t passBegin_ = 0, passRows_ = 0;
  int32_t copyCount_ = 0, sampleCount_ = 0;
  Results results_;
};

}  // namespace millrace
