// One step of a program: a copy of its plan, where it stands in the program's stages, and what it gives. A program has
// two of these and uses them again. The plan is checked and copied on the JavaScript thread (step-plan.cpp); all else
// happens on the team's threads: `next` between two phases, alone, `work` within them.
//
// A phase is the wide op of a stage, or its row ops; where the rows are few, the thread that completed the wide phase
// does them at once, so a decode step of a transformer has five phases a layer. No result depends on who computes it or
// on how the chunks are cut.
#pragma once
#include <atomic>
#include <memory>
#include <string>

#include "list.h"
#include "program.h"
#include "sampler.h"

namespace millrace {

// The caller's arrays; see StepPlan in src/backend/contract.ts.
struct PlanView {
  struct Ints {
    const int32_t* data = nullptr;
    size_t size = 0;
    int32_t operator[](size_t i) const { return data[i]; }
  };
  struct Output {
    int32_t count = 0;
    Ints rows;
  };
  struct Input {
    int32_t count = 0;
    Ints rows;
    const float* values = nullptr;
    size_t size = 0;
  };
  struct Table {
    Ints ids;
    int32_t stride = 0;
  };
  int32_t id = 0;
  int32_t tokenCount = 0, sequenceCount = 0, listedCount = 0, moveCount = 0, copyCount = 0, referenceCount = 0;
  int32_t closeCount = 0, commitCount = 0, sampleCount = 0, countedCount = 0, logprobCount = 0;
  Ints tokens, positions, slots, seen, listStarts, listed, queryStarts, borders, adapters, moves, copies, references,
      closes, commits;
  Ints sampleRows, sampleSlots, sampleTop, sampleMasked, countStarts, counted, logprobRows, logprobIds, logprobTop;
  std::vector<Table> tables;
  std::vector<Output> outputs;
  std::vector<Input> inputs;
  std::vector<std::pair<int32_t, SamplerSlot>> opens;
};

// The caller's arrays for what the step gives, exactly as long as it gives them; they live until the step has ended.
struct ResultView {
  int32_t* sampleIds = nullptr;
  float* sampleLogprobs = nullptr;
  int32_t* topIds = nullptr;
  float* topLogprobs = nullptr;
  float* logprobs = nullptr;
  int32_t* logprobTopIds = nullptr;  // null: no row asked for any
  float* logprobTopLogprobs = nullptr;
  std::vector<float*> outputs;
};

// Why a plan is refused.
struct Refusal {
  enum Kind { Bad, Unsupported, Memory } kind = Bad;
  std::string text;
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

// Fewer pieces of attention (of rows and kv heads) a thread than this are cut by tiles, too.
constexpr size_t kFewPieces = 4;

class Step {
 public:
  enum class State { Free, Submitted, Running, Waiting, Done, Failed, Cancelled, Unrun };

  explicit Step(Program& program) : program_(program) {}
  // All memory whose size is known; false where there is none.
  bool reserve();
  // About the bytes of that.
  static double bytesFor(const ProgramSpec& spec, size_t groups);

  // --- on the JavaScript thread ---
  // Checks and copies a plan. False with a reason: nothing has changed then.
  bool prepare(PlanView& plan, const ResultView& result, Refusal& refusal);
  // A sample's mask, or that it is dropped. False with a reason. Under the queue's lock.
  bool deliver(int32_t sample, bool drop, const uint32_t* words, size_t count, std::string& error);
  // A request. Under the queue's lock: true where it has not begun.
  bool cancel();
  // The caller has learnt that this step failed: closes what it names for later submissions.
  void forget();
  void release();
  int32_t id() const { return id_; }
  int64_t era() const { return era_; }
  State state() const { return state_; }

  // --- under the queue's lock ---
  bool isWaiting() const { return state_ == State::Waiting; }
  bool canGoOn() const { return isCancelled() || masksAreThere(); }
  bool mustFollow(const Step& before) const;

  // --- as Job::next and Job::work ---
  int next();
  void work(int chunk, int thread);

 private:
  enum class Phase { Begin, Copies, Wide, Rows, End, Outputs, Masks, PassEnd };
  struct Sequence {
    int32_t row, rows;
    int32_t places;    // the most that a row of it sees
    int32_t lastSlot;  // the highest that it writes, sees or lists
    int32_t border;    // from which its scans go on
    int32_t seen;      // the most leading slots that a row sees
  };
  // A piece of attention: all tiles for some rows of a sequence, or one tile for all rows of a split.
  struct Item {
    int32_t sequence, rowBegin, rowEnd, tile;
    int32_t split;  // −1: all tiles
  };
  // A sequence whose tiles are done apart: [rows, tiles] partial results from `partial` on. Whoever completes a kv
  // head's last tile merges them.
  struct Split {
    int32_t sequence, tileBegin, tiles, partial;
  };
  struct GroupPlan {
    List<Item> items;
    List<Split> splits;
    std::unique_ptr<std::atomic<int32_t>[]> tilesLeft;  // [splits, kv heads]
    List<int32_t> tables;
    List<size_t> tableOf;  // by sequence
  };
  // Rows of the stage's domain that have one adapter.
  struct LoraRun {
    const Adapter* adapter;
    int32_t begin, end;
  };
  // Rows and columns of a product's output.
  struct Area {
    int32_t rowBegin, rowEnd, colBegin, colEnd;
  };
  enum class Want : int32_t { Sample, Logprob, Output };
  // What an output row of a section is wanted for, and the index among its kind.
  struct Wanted {
    int32_t outputRow;
    Want want;
    int32_t index;
  };
  struct SectionPlan {
    List<int32_t> rows;   // token rows, each once: those without a mask first
    List<Wanted> wanted;  // by pass; in a pass those without a mask first, then in order of output rows
  };
  // Rows that the plan gives of a named input.
  struct InputPlan {
    List<int32_t> rows;
    List<int32_t> placeOf;  // token row → index among `rows`, −1: none
    List<float> values;
  };
  struct Sample {
    int32_t slot, top, position, row;
    int32_t countBegin, countEnd;
    int32_t mask;  // which of the masks, −1: none
  };
  struct Logprob {
    int32_t id, top;
  };
  enum MaskState : uint8_t { Missing, Given, Dropped };

  // step-plan.cpp
  bool checkCounts(const PlanView& plan, Refusal& refusal);
  bool checkIds(const PlanView& plan, Refusal& refusal);
  bool copyRows(const PlanView& plan, Refusal& refusal);
  bool copySequences(const PlanView& plan, Refusal& refusal);
  int32_t placesOf(int32_t row) const;
  int32_t ownPlace(int32_t row) const;
  int32_t slotAt(int32_t row, int32_t place) const;
  int32_t oldestPlace(int32_t row, int32_t window) const;
  bool copyAdapters(const PlanView& plan, Refusal& refusal);
  bool copyTables(const PlanView& plan, Refusal& refusal);
  bool checkBorders(Refusal& refusal);
  bool copyMoves(const PlanView& plan, Refusal& refusal);
  bool copySlots(PlanView& plan, Refusal& refusal);
  bool copySamples(const PlanView& plan, Refusal& refusal);
  bool copyInputs(const PlanView& plan, Refusal& refusal);
  bool copyOutputs(const PlanView& plan, Refusal& refusal);
  void orderOutputs(size_t section);

  // step-attention.cpp
  bool planAttention(size_t group);

  // step.cpp
  bool isCancelled() const { return cancelled_.load(std::memory_order_relaxed) || program_.queue->stopping(); }
  void begin();
  int openCopies();
  void copyPart(int chunk);
  void fail(State why);
  void startPass(int32_t begin);
  bool masksAreThere() const;
  const std::vector<Stage>& stages() const {
    return section_ < 0 ? program_.spec.tokens : program_.spec.sections[section_].stages;
  }
  bool openSection();
  int openRows(const Stage& stage);
  void lap(uint64_t& sum);
  int32_t resolve(int32_t idOrReference) const;

  // step-ops.cpp
  int openWide(const WideOp& wide);
  int openProduct(const Cut& cut, const std::vector<Part>& parts);
  void wide(const WideOp& wide, int item, int thread);
  void run(const op::Embed&, int begin, int end);
  void run(const op::PositionEmbed&, int begin, int end);
  void run(const op::Input&, int begin, int end);
  void run(const op::Rows&, int begin, int end);
  void run(const op::RmsNorm&, int begin, int end);
  void run(const op::LayerNorm&, int begin, int end);
  void run(const op::RopeTable&, int begin, int end);
  void run(const op::Rope&, int begin, int end);
  void run(const op::KvWrite&, int begin, int end);
  void run(const op::WriteRows&, int begin, int end);
  void run(const op::ReadRows&, int begin, int end);
  void run(const op::Conv&, int begin, int end);
  void run(const op::Bias&, int begin, int end);
  void run(const op::Pick&, int begin, int end);
  void run(const op::ColumnScale&, int begin, int end);
  void run(const op::Gate&, int begin, int end);
  void run(const op::Activate&, int begin, int end);
  void run(const op::Add&, int begin, int end);
  void run(const op::Scale&, int begin, int end);
  void run(const op::Clamp&, int begin, int end);
  void run(const op::Concat&, int begin, int end);
  void run(const op::Softcap&, int begin, int end);
  void run(const op::PositionScale&, int begin, int end);
  void run(const op::Weigh&, int begin, int end);
  void run(const op::Quantize&, int begin, int end);
  void run(const op::Route&, int begin, int end);
  void run(const op::Combine&, int begin, int end);
  void runRows(const Stage& stage, int begin, int end);
  void groupExperts(const op::GroupExperts& in);
  void linear(const op::Linear& in, int item, int thread);
  void linearGate(const op::LinearGate& in, int item, int thread);
  void headLinear(const op::HeadLinear& in, int item, uint8_t* scratch);
  void expertLinear(const op::ExpertLinear& in, int item, uint8_t* scratch);
  void attend(const op::Attend& in, int item, uint8_t* scratch);
  void attendTile(const op::Attend& in, const AttendArgs& args, int kvHead, const Item& item, uint8_t* scratch);
  template <typename F>
  void eachRow(int32_t group, int begin, int end, F&& visit) const;
  LinearArgs argsOf(const Operand& x, size_t row) const;
  AttendArgs attendArgs(const op::Attend& in, int32_t sequence) const;
  void countProduct(const std::vector<Part>& parts, int rows);

  // step-scan.cpp
  void scan(const op::Scan& in, int item, uint8_t* scratch);
  void recur(const op::Recur& in, int item, uint8_t* scratch);
  void matrixScan(const op::MatrixScan& in, int item, uint8_t* scratch);
  // The rows of one sequence through a recurrence, whose states go through places one by one.
  struct Replay;
  template <typename Rule>
  void replay(const Replay& of, const Rule& rule);

  // step-lora.cpp
  void planLora();
  int openLora(const op::LoraDown& in);
  void loraDown(const op::LoraDown& in, int item, uint8_t* scratch);
  void addLora(const op::Lora& in, const Span& y, const float* bias, Area area, uint8_t* scratch);

  // step-outputs.cpp
  void output(const Wanted& wanted, uint8_t* scratch);
  void sample(int32_t index, const float* logits, uint8_t* scratch);
  void logprob(int32_t index, const float* logits);

  Program& program_;
  std::atomic<State> state_{State::Free};
  std::atomic<bool> cancelled_{false};
  int32_t id_ = 0;
  int64_t era_ = 0;

  // The plan. Token ids may be references until the step begins.
  List<int32_t> tokens_, positions_, slots_, seen_;
  List<int32_t> listStarts_, listed_;  // empty: no row lists any
  List<Sequence> sequences_;
  std::unique_ptr<GroupPlan[]> groups_;
  std::unique_ptr<std::shared_ptr<const Adapter>[]> adapters_;  // by sequence
  bool hasAdapters_ = false;
  List<int32_t> moves_, copies_;
  std::vector<std::pair<std::shared_ptr<Samples>, int32_t>> references_;
  List<int32_t> closes_, commits_;
  List<uint8_t> open_;  // Program::openSlots after this step
  std::vector<std::pair<int32_t, SamplerSlot>> opens_;
  List<Sample> samples_;
  List<int32_t> counted_;
  List<Logprob> logprobs_;
  std::unique_ptr<InputPlan[]> inputs_;
  std::unique_ptr<SectionPlan[]> sections_;
  List<int32_t> rowOutput_;  // token row → index into a section's rows, −1: none
  ResultView result_;
  std::shared_ptr<Samples> ids_;

  // Masks: their states, their words one after another, and each one's sample.
  std::unique_ptr<std::atomic<uint8_t>[]> maskStates_;
  List<uint32_t> maskWords_;
  List<int32_t> maskSample_;

  // Where the step is: written between two phases.
  Phase phase_ = Phase::Begin;
  int section_ = -1;  // −1: the tokens
  size_t stage_ = 0;
  size_t timed_ = 0;  // the stage's place in Program::stageTimes
  int rows_ = 0;      // of the stage's domain
  int rowChunk_ = 1;
  int copyParts_ = 1;  // into which a block is cut
  Grid grid_;
  int expertChunks_ = 1, expertUnits_ = 1;
  List<LoraRun> loraRuns_, loraBlocks_;
  int loraChunks_ = 1;
  int32_t passBegin_ = 0, passRows_ = 0;
  size_t wantedBegin_ = 0, wantedMasked_ = 0, wantedEnd_ = 0;  // of the pass: those before `masked` have no mask
  uint64_t lastTime_ = 0;
};

}  // namespace millrace
