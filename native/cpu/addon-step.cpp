// The part of the addon that runs steps: reads a plan, keeps the caller's result arrays while the step is in flight,
// and tells the caller how it ended.
#include <algorithm>

#include "addon.h"
#include "step.h"

namespace millrace {

namespace {

// Codes that src/backend/cpu/native.ts turns into StepErrors.
constexpr const char* kStepFailed = "ERR_STEP_FAILED";
constexpr const char* kStepCancelled = "ERR_STEP_CANCELLED";
constexpr const char* kStepUnrun = "ERR_STEP_UNRUN";

struct RunStep final : AsyncJob {
  std::shared_ptr<Program> program;
  Step* step = nullptr;
  napi_ref result = nullptr;

  int next() override { return step->next(); }
  void work(int chunk, int thread) override { step->work(chunk, thread); }
  void settled(napi_env env) override {
    napi_delete_reference(env, result);
    switch (step->state()) {
      case Step::State::Done:
        break;
      case Step::State::Cancelled:
        code = kStepCancelled;
        error = "the step was cancelled";
        break;
      case Step::State::Unrun:
        code = kStepUnrun;
        error = "an earlier step of the program failed or was cancelled";
        break;
      default:
        code = kStepFailed;
        error = "the step failed";
    }
    program->settle(*step, !error.empty());
  }
};

class PlanReader {
 public:
  PlanReader(Call& call, napi_value plan) : call_(call), plan_(plan) {}

  PlanView read() {
    PlanView v;
    v.id = int32("id");
    v.tokenCount = int32("tokenCount");
    v.sequenceCount = int32("sequenceCount");
    v.listedCount = int32("listedCount");
    v.moveCount = int32("moveCount");
    v.copyCount = int32("copyCount");
    v.referenceCount = int32("referenceCount");
    v.closeCount = int32("closeCount");
    v.commitCount = int32("commitCount");
    v.sampleCount = int32("sampleCount");
    v.countedCount = int32("countedCount");
    v.logprobCount = int32("logprobCount");
    v.tokens = ints("tokens");
    v.positions = ints("positions");
    v.slots = ints("slots");
    v.seen = ints("seen");
    v.listStarts = ints("listStarts");
    v.listed = ints("listed");
    v.queryStarts = ints("queryStarts");
    v.borders = ints("borders");
    v.adapters = ints("adapters");
    v.moves = ints("moves");
    v.copies = ints("copies");
    v.references = ints("references");
    v.closes = ints("closes");
    v.commits = ints("commits");
    v.sampleRows = ints("sampleRows");
    v.sampleSlots = ints("sampleSlots");
    v.sampleTop = ints("sampleTop");
    v.sampleMasked = ints("sampleMasked");
    v.countStarts = ints("countStarts");
    v.counted = ints("counted");
    v.logprobRows = ints("logprobRows");
    v.logprobIds = ints("logprobIds");
    v.logprobTop = ints("logprobTop");
    each("blockTables", [&](napi_value table) {
      v.tables.push_back({ints(table, "ids"), call_.int32(call_.property(table, "stride"))});
    });
    each("inputs", [&](napi_value input) {
      auto values = call_.floats(call_.property(input, "values"));
      v.inputs.push_back({call_.int32(call_.property(input, "count")), ints(input, "rows"), values.data, values.size});
    });
    each("outputs", [&](napi_value output) {
      v.outputs.push_back({call_.int32(call_.property(output, "count")), ints(output, "rows")});
    });
    return v;
  }

  // The openings, which the plan's view has by value.
  void openings(const Program& program, PlanView& view) {
    each("opens", [&](napi_value opening) {
      int32_t slot = call_.int32(call_.property(opening, "slot"));
      SamplerSlot fresh = params(call_.property(opening, "params"), program.spec.vocab);
      auto prompt = ids(opening, "prompt", program.spec.vocab), answer = ids(opening, "answer", program.spec.vocab);
      if (call_.failed) return;
      fresh.start(prompt.data, static_cast<int>(prompt.size), answer.data, static_cast<int>(answer.size));
      view.opens.emplace_back(slot, std::move(fresh));
    });
  }

 private:
  int32_t int32(const char* name) { return call_.int32(call_.property(plan_, name)); }
  PlanView::Ints ints(const char* name) { return ints(plan_, name); }
  PlanView::Ints ints(napi_value object, const char* name) {
    auto list = call_.ints(call_.property(object, name));
    return {list.data, list.size};
  }
  template <typename F>
  void each(const char* name, F&& visit) {
    napi_value list = call_.property(plan_, name);
    uint32_t count = call_.length(list);
    for (uint32_t i = 0; i < count && !call_.failed; i++) visit(call_.element(list, i));
  }
  Call::Array<int32_t> ids(napi_value object, const char* name, int32_t vocab) {
    auto list = call_.ints(call_.property(object, name));
    for (size_t i = 0; i < list.size && !call_.failed; i++) {
      if (list.data[i] >= 0 && list.data[i] < vocab) continue;
      call_.fail(kNativeError, "token id " + std::to_string(list.data[i]) + " lies outside of the vocabulary");
    }
    return list;
  }
  SamplerSlot params(napi_value object, int32_t vocab) {
    auto number = [&](const char* name) { return static_cast<float>(call_.number(call_.property(object, name))); };
    SamplerSlot slot;
    slot.params.temperature = number("temperature");
    slot.params.topK = call_.int32(call_.property(object, "topK"));
    slot.params.topP = number("topP");
    slot.params.minP = number("minP");
    slot.params.repetitionPenalty = number("repetitionPenalty");
    slot.params.presencePenalty = number("presencePenalty");
    slot.params.frequencyPenalty = number("frequencyPenalty");
    slot.params.sampleIndex = call_.int32(call_.property(object, "sampleIndex"));
    slot.minTokens = call_.int32(call_.property(object, "minTokens"));
    bool lossless = false;
    napi_value seed = call_.property(object, "seed");
    // 64 bits, whichever way the caller reads them.
    if (!call_.failed) call_.ok(napi_get_value_bigint_uint64(call_.env, seed, &slot.params.seed, &lossless));
    auto biasIds = ids(object, "biasIds", vocab), stopIds = ids(object, "stopIds", vocab);
    auto biasValues = call_.floats(call_.property(object, "biasValues"));
    if (!call_.failed && biasIds.size != biasValues.size) {
      call_.fail(kNativeError, "biasIds and biasValues differ in length");
    }
    if (call_.failed) return slot;
    slot.biasIds.assign(biasIds.data, biasIds.data + biasIds.size);
    slot.biasValues.assign(biasValues.data, biasValues.data + biasValues.size);
    slot.stopIds.assign(stopIds.data, stopIds.data + stopIds.size);
    return slot;
  }

  Call& call_;
  napi_value plan_;
};

// The caller's result arrays, which must have room for what the plan wants.
ResultView readResult(Call& call, napi_value object, const PlanView& plan, const Program& program) {
  ResultView view;
  auto require = [&](size_t have, size_t want) {
    if (!call.failed && have < want) call.fail(kNativeError, "a result array is too short");
  };
  auto ints = [&](const char* name, size_t want) {
    auto list = call.ints(call.property(object, name));
    require(list.size, want);
    return list.data;
  };
  auto floats = [&](const char* name, size_t want) {
    auto list = call.floats(call.property(object, name));
    require(list.size, want);
    return list.data;
  };
  if (plan.sampleCount < 0 || plan.logprobCount < 0) {
    call.fail(kNativeError, "bad step plan: output count");
    return view;
  }
  auto samples = static_cast<size_t>(plan.sampleCount), logprobs = static_cast<size_t>(plan.logprobCount);
  // Alternatives have room only where some row wants any.
  auto tops = [](const PlanView::Ints& wanted, size_t count) {
    for (size_t i = 0; i < std::min(count, wanted.size); i++) {
      if (wanted[i] > 0) return count * kMaxTop;
    }
    return size_t{0};
  };
  size_t sampleTops = tops(plan.sampleTop, samples), logprobTops = tops(plan.logprobTop, logprobs);
  view.sampleIds = ints("sampleIds", samples);
  view.sampleLogprobs = floats("sampleLogprobs", samples);
  view.topIds = ints("topIds", sampleTops);
  view.topLogprobs = floats("topLogprobs", sampleTops);
  view.logprobs = floats("logprobs", logprobs);
  view.logprobTopIds = ints("logprobTopIds", logprobTops);
  view.logprobTopLogprobs = floats("logprobTopLogprobs", logprobTops);
  napi_value list = call.property(object, "outputs");
  uint32_t count = call.length(list);
  require(count, plan.outputs.size());
  std::vector<size_t> widths(plan.outputs.size(), 0);
  for (const Section& section : program.spec.sections) {
    if (section.output >= 0 && static_cast<size_t>(section.output) < widths.size()) {
      widths[static_cast<size_t>(section.output)] = static_cast<size_t>(section.width);
    }
  }
  for (uint32_t i = 0; i < plan.outputs.size() && !call.failed; i++) {
    auto rows = call.floats(call.element(list, i));
    require(rows.size, static_cast<size_t>(std::max(0, plan.outputs[i].count)) * widths[i]);
    view.outputs.push_back(rows.data);
  }
  return view;
}

// The program's step in flight with this id, or null.
RunStep* stepOf(const Program& program, int32_t id) {
  for (const Program::Place& place : program.places) {
    auto* run = static_cast<RunStep*>(place.job);
    if (run && run->step->id() == id) return run;
  }
  return nullptr;
}

}  // namespace

// (program, plan, result) → promise
napi_value runStep(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto program = handle<Program>(call, call.at(0), Kind::Program);
  if (call.failed) return nullptr;
  PlanReader reader(call, call.at(1));
  PlanView plan = reader.read();
  reader.openings(*program, plan);
  if (call.failed) return nullptr;
  ResultView result = readResult(call, call.at(2), plan, *program);
  if (call.failed) return nullptr;
  auto inFlight = std::count_if(program->places.begin(), program->places.end(),
                                [](const Program::Place& place) { return place.job && place.job->deferred; });
  if (inFlight >= kStepsInFlight) {
    call.fail(kNativeError, "two steps of the program are in flight already");
    return nullptr;
  }
  Program::Place* place = program->freePlace();
  if (!place) {
    call.fail(kMemoryError, "there is no memory for another step");
    return nullptr;
  }
  if (program->queue->stopping()) {
    call.fail(kNativeError, "the backend is closed");
    return nullptr;
  }
  Step& step = *place->step;
  auto job = std::make_unique<RunStep>();
  job->program = program;
  job->step = &step;
  if (!call.ok(napi_create_reference(env, call.at(2), 1, &job->result))) return nullptr;
  Refusal refusal;
  napi_value promise = nullptr;
  if (!step.prepare(plan, result, refusal)) {
    call.fail(refusal.kind == Refusal::Memory        ? kMemoryError
              : refusal.kind == Refusal::Unsupported ? "ERR_UNSUPPORTED"
                                                     : kNativeError,
              refusal.text);
  } else {
    std::shared_ptr<EffectQueue> queue = program->queue;
    promise = promiseOf(call, *job, {queue, &queue->team()});
    if (!promise) step.release();
  }
  if (!promise) {
    napi_delete_reference(env, job->result);
    return nullptr;
  }
  RunStep* raw = job.release();
  place->job = raw;
  // Only the JavaScript thread stops the queue, and it is here.
  program->queue->submit({raw, program->pool.get(), &step});
  return promise;
}

// (program, step id, sample, words | undefined)
napi_value deliverMask(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto program = handle<Program>(call, call.at(0), Kind::Program);
  int32_t id = call.int32(call.at(1)), sample = call.int32(call.at(2));
  Call::Array<uint32_t> words;
  bool drop = call.isUndefined(call.at(3));
  if (!drop) words = call.words(call.at(3));
  if (call.failed) return nullptr;
  RunStep* run = stepOf(*program, id);
  // A step that has ended (failed, cancelled) wants no mask any more.
  if (!run) return nullptr;
  std::string error;
  bool taken = false;
  program->queue->change([&] { taken = run->step->deliver(sample, drop, words.data, words.size, error); });
  if (!taken) call.fail(kNativeError, error);
  return nullptr;
}

// (program, step id)
napi_value cancelStep(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto program = handle<Program>(call, call.at(0), Kind::Program);
  int32_t id = call.int32(call.at(1));
  if (call.failed) return nullptr;
  RunStep* run = stepOf(*program, id);
  if (!run) return nullptr;
  bool unbegun = false;
  program->queue->change([&] { unbegun = run->step->cancel(); });
  if (unbegun && run->deferred) {
    // It does nothing more than to close its slots when its turn comes; the caller needn't wait for that.
    program->learn(*run->step);
    rejectNow(env, *run, kStepCancelled, "the step was cancelled");
  }
  return nullptr;
}

}  // namespace millrace
