// A compiled program: its stages, the weights and the pool that it reads, and the memory that its steps share, because
// only one of them computes at a time. What is compiled never changes; all that belongs to one step is step.h's. What
// the instructions mean together (a model) is the lowering's business (src/backend/cpu/lowering.ts).
#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "adapter.h"
#include "instructions.h"
#include "os.h"
#include "pool.h"
#include "sampler.h"
#include "weights.h"

namespace millrace {

class Step;
struct AsyncJob;

constexpr int kMaxTop = 20;
// Query rows of a prefill that one thread does together.
constexpr int kAttendRows = 32;
// Steps of a program in flight: the second one's plan is checked and copied while the first one runs.
constexpr int kStepsInFlight = 2;

// Rows that linears computed, by kernel class (1 row, 2 … 16, more) and format; attention by kind and KV type.
struct Counters {
  std::atomic<uint64_t> linear[3][static_cast<int>(Format::Count)] = {};
  std::atomic<uint64_t> attend[2][3] = {};
  std::atomic<uint64_t> lora{0};  // rows that adapters were applied to, by linear
};

// What is computed for the rows that are wanted of one output. The arena holds some of them; more are done in several
// passes.
struct Section {
  std::vector<Stage> stages;
  int32_t rows = 0;
  Span place;
  int32_t width = 0;
  int32_t output = -1;  // index into the plan's named outputs, −1: only samples and log-probabilities read it
};

// A linear that adapters may change: what their matrices must fit.
struct LoraSite {
  int32_t inputs = 0, cols = 0;
  int32_t inner = 0;  // room for a row of A x
  std::vector<int32_t>
      starts;  // the first columns of the linear's matrices: 16 of them are done together from there on
};

struct ProgramSpec {
  std::vector<Stage> tokens;      // over the step's tokens
  std::vector<Section> sections;  // then these, one after another
  int32_t logits = -1;            // the section whose rows are sampled from
  int32_t outputs = 0;            // named outputs that plans may ask for
  std::vector<int32_t> inputs;    // columns of the named inputs that plans may give rows for
  size_t arenaBytes = 0;
  int32_t stepTokens = 0, maxSequences = 0, maxOutputs = 0, samplerSlots = 0;
  int32_t maxListed = 0, maxMoves = 0, maxCopies = 0, maxInputRows = 0;
  int32_t vocab = 0;      // columns of the logits
  int32_t tokenIds = 0;   // rows of the embedding
  int32_t tableRows = 0;  // rows of the learned positions, 0: none
  int32_t maxAdapters = 0;
  std::vector<LoraSite> loraSites;
};

class Program {
 public:
  struct Place {
    std::unique_ptr<Step> step;
    AsyncJob* job = nullptr;  // null: the step is free
  };

  // Null with a reason where memory isn't there.
  static std::shared_ptr<Program> create(std::shared_ptr<EffectQueue> queue, const Kernels& kernels,
                                         std::vector<std::shared_ptr<Weights>> weights, std::shared_ptr<Pool> pool,
                                         std::shared_ptr<Counters> counters, ProgramSpec spec, bool timing,
                                         std::string& error);
  ~Program();

  int threads() const { return threads_; }
  template <typename T = float>
  T* at(const Span& span, size_t row = 0) const {
    return reinterpret_cast<T*>(arena_ + span.at) + row * span.stride;
  }
  int32_t* list(size_t offset) const { return reinterpret_cast<int32_t*>(arena_ + offset); }
  Rows8 rows8(const Span8& q, size_t row = 0) const {
    return {reinterpret_cast<int8_t*>(arena_ + q.codes) + row * q.cols,
            reinterpret_cast<float*>(arena_ + q.scales) + row * (q.cols / kActBlock),
            reinterpret_cast<int32_t*>(arena_ + q.sums) + row * (q.cols / 16)};
  }
  uint8_t* scratch(int thread) const { return scratch_ + scratchBytes_ * static_cast<size_t>(thread); }
  // For adapters' products, which must leave alone what a linear has in its scratch.
  uint8_t* loraScratch(int thread) const { return scratch(thread) + scratchBytes_ - loraScratchBytes_; }
  float* partials() const { return partials_; }
  size_t partialFloats() const { return partialFloats_; }

  // --- on the JavaScript thread ---
  // A free step, made where there is none; null where there is no memory.
  Place* freePlace();
  // The caller learns that this step comes to nothing: so do those that were submitted after it, up to now.
  void learn(const Step& step);
  // The step has ended, and the caller knows.
  void settle(Step& step, bool failed);

  // Where the time goes: nanoseconds of each stage, summed over the steps.
  std::string timings() const;

  std::shared_ptr<EffectQueue> queue;
  const Kernels* kernels = nullptr;
  std::vector<std::shared_ptr<Weights>> weights;
  std::shared_ptr<Pool> pool;
  std::shared_ptr<Counters> counters;
  ProgramSpec spec;
  std::vector<int32_t> heads;  // by state group: the most query heads of a layer
  std::vector<int32_t> scans;  // the state groups of its scans, each once
  bool timing = false;

  // --- what steps leave behind, in their order ---
  std::unique_ptr<SamplerSlot[]> slots;
  uint64_t panelKey = 0;             // the last one used (LinearArgs::panelKey)
  int64_t failedEra = -1;            // steps that were submitted in this era or before are unrun
  std::vector<uint64_t> stageTimes;  // of the tokens' stages, then of all sections'
  uint64_t outputTime = 0, steps = 0;

  // --- of the JavaScript thread ---
  // A cancelled step that has not begun keeps its place until its turn comes, so there may be more than two.
  std::vector<Place> places;
  std::vector<std::shared_ptr<const Adapter>> adapters;  // by place; for the steps that will be submitted
  List<uint8_t> openSlots;                               // once all that was submitted has run
  // Rises with each failure that the caller learns of: what was submitted before must not run.
  int64_t era = 0;

 private:
  Program() = default;
  bool build(std::string& error);
  bool addPlace();
  void prepare(Stage& stage);
  void cut(Cut& cut, const std::vector<Part>& parts, int groupsPerUnit);

  int threads_ = 1;
  os::Pages memory_;
  uint8_t* arena_ = nullptr;
  uint8_t* scratch_ = nullptr;  // one a thread
  size_t scratchBytes_ = 0, loraScratchBytes_ = 0;
  float* partials_ = nullptr;
  size_t partialFloats_ = 0;
};

}  // namespace millrace
