// The part of the addon that compiles and runs programs: reads the lowering's instructions, a sampler's parameters and
// a step's plan into the executor's own structures.
#include <cstring>

#include "addon.h"

namespace millrace {

namespace {

struct Reader {
  Call& call;
  Weights& weights;
  Pool& pool;
  size_t arenaBytes;

  size_t offset(napi_value value) {
    size_t at = call.size(value);
    if (!call.failed && (at > arenaBytes || at % 4 != 0)) call.fail(kNativeError, "a buffer lies outside of the arena");
    return at;
  }
  Span span(napi_value object, const char* name) {
    napi_value list = call.property(object, name);
    if (call.failed || call.isUndefined(list)) return {};
    return {offset(call.element(list, 0)), call.size(call.element(list, 1))};
  }
  Span8 span8(napi_value object, const char* name, bool& present) {
    napi_value list = call.property(object, name);
    present = !call.failed && !call.isUndefined(list);
    if (!present) return {};
    return {offset(call.element(list, 0)), offset(call.element(list, 1)), offset(call.element(list, 2)),
            call.int32(call.element(list, 3))};
  }
  int32_t int32(napi_value object, const char* name, int32_t otherwise = 0) {
    napi_value value = call.property(object, name);
    return call.failed || call.isUndefined(value) ? otherwise : call.int32(value);
  }
  float number(napi_value object, const char* name, float otherwise = 0) {
    napi_value value = call.property(object, name);
    return call.failed || call.isUndefined(value) ? otherwise : static_cast<float>(call.number(value));
  }
  bool flag(napi_value object, const char* name) {
    napi_value value = call.property(object, name);
    return !call.failed && !call.isUndefined(value) && call.boolean(value);
  }
  const float* vector(napi_value object, const char* name, int32_t length) {
    napi_value value = call.property(object, name);
    if (call.failed || call.isUndefined(value)) return nullptr;
    const float* data = weights.vector(call.int32(value), static_cast<size_t>(length));
    if (!data) call.fail(kNativeError, std::string("no vector for ") + name);
    return data;
  }

  std::unique_ptr<Instruction> instruction(napi_value object) {
    auto in = std::make_unique<Instruction>();
    std::string name = call.string(call.property(object, "op"));
    int op = 0;
    for (const char* known : kOpNames) {
      if (name == known) break;
      op++;
    }
    if (op == static_cast<int>(std::size(kOpNames))) call.fail(kNativeError, "unknown instruction " + name);
    in->op = static_cast<Op>(op);
    in->outputs = flag(object, "outputs");
    in->perRow = int32(object, "perRow", 1);
    in->x = span(object, "x");
    in->y = span(object, "y");
    in->z = span(object, "z");
    in->t = span(object, "t");
    in->q = span8(object, "q", in->int8);
    in->q2 = span8(object, "q2", in->emits8);
    in->cols = int32(object, "cols");
    in->groupSize = int32(object, "groupSize", in->cols);
    in->heads = int32(object, "heads");
    in->headDim = int32(object, "headDim");
    in->n = int32(object, "n");
    in->topK = int32(object, "topK");
    in->eps = number(object, "eps");
    in->offset = number(object, "offset");
    in->factor = number(object, "factor", 1);
    in->hasResidual = flag(object, "residual");
    in->interleaved = flag(object, "interleaved");
    in->normalize = flag(object, "normalize");
    in->gather = flag(object, "gather");
    in->weight = vector(object, "weight", in->op == Op::RmsNorm ? in->groupSize : in->cols);
    in->bias = vector(object, "bias", in->cols);
    if (call.has(object, "activation")) {
      std::string activation = call.string(call.property(object, "activation"));
      if (activation == "silu") in->activation = Activation::Silu;
      else if (activation == "gelu") in->activation = Activation::Gelu;
      else if (activation == "geluTanh") in->activation = Activation::GeluTanh;
      else if (activation == "relu") in->activation = Activation::Relu;
      else call.fail(kNativeError, "unknown activation " + activation);
    }
    if (call.has(object, "frequencies")) {
      auto list = call.floats(call.property(object, "frequencies"));
      in->frequencies.assign(list.data, list.data + list.size);
      in->n = static_cast<int32_t>(list.size);
    }
    if (call.has(object, "group")) {
      in->group = int32(object, "group");
      int32_t layer = int32(object, "layer");
      if (call.failed) return in;
      if (in->group < 0 || in->group >= static_cast<int32_t>(pool.groups.size()) || layer < 0 ||
          layer >= pool.groups[in->group]->layers) {
        call.fail(kNativeError, "an instruction names a state that the pool doesn't have");
        return in;
      }
      in->kv = pool.layer(in->group, layer);
    }
    if (call.has(object, "experts")) {
      napi_value list = call.property(object, "experts");
      in->experts = {offset(call.element(list, 0)), offset(call.element(list, 1)), offset(call.element(list, 2)),
                     offset(call.element(list, 3))};
    }
    if (call.has(object, "parts")) {
      napi_value list = call.property(object, "parts");
      uint32_t count = call.length(list);
      for (uint32_t i = 0; i < count && !call.failed; i++) {
        napi_value part = call.element(list, i);
        const Matrix* matrix = weights.matrix(call.int32(call.element(part, 0)));
        if (!matrix) call.fail(kNativeError, "an instruction names a matrix that isn't there");
        in->parts.push_back({matrix, call.int32(call.element(part, 1))});
      }
    }
    bool needsParts = in->op == Op::Linear || in->op == Op::LinearGate || in->op == Op::ExpertLinear ||
                      in->op == Op::Embed || in->op == Op::PositionEmbed;
    if (!call.failed && needsParts && in->parts.empty()) call.fail(kNativeError, name + " without a matrix");
    return in;
  }
};

struct Run final : AsyncJob {
  std::shared_ptr<Program> program;
  int next() override { return program->next(); }
  void work(int chunk, int thread) override { program->work(chunk, thread); }
  void settled(napi_env) override { program->busy = false; }
};

}  // namespace

// (team, weights, pool, { instructions, arenaBytes, … }, timings) → handle
napi_value compileProgram(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto computer = handle<Computer>(call, call.at(0), Kind::Team);
  auto weights = handle<Weights>(call, call.at(1), Kind::Weights);
  auto pool = handle<Pool>(call, call.at(2), Kind::Pool);
  napi_value object = call.at(3);
  if (call.failed) return nullptr;
  ProgramSpec spec;
  spec.arenaBytes = call.size(call.property(object, "arenaBytes"));
  Reader read{call, *weights, *pool, spec.arenaBytes};
  auto count = [&](const char* name, int64_t least) {
    return static_cast<int32_t>(call.integer(call.property(object, name), least, INT32_MAX));
  };
  spec.maxTokens = count("maxTokens", 1);
  spec.maxSequences = count("maxSequences", 1);
  spec.maxOutputs = count("maxOutputs", 1);
  spec.outputRows = count("outputRows", 1);
  spec.samplerSlots = count("samplerSlots", 0);
  spec.vocab = count("vocab", 1);
  spec.tokenIds = count("tokenIds", 1);
  spec.tableRows = count("tableRows", 0);
  spec.logits = read.span(object, "logits");
  napi_value list = call.property(object, "instructions");
  uint32_t length = call.length(list);
  for (uint32_t i = 0; i < length && !call.failed; i++) {
    spec.instructions.push_back(read.instruction(call.element(list, i)));
  }
  bool timings = call.boolean(call.at(4));
  if (call.failed) return nullptr;
  std::string error;
  auto program = Program::create(computer->team, *computer->kernels, weights, pool, std::move(spec), error);
  if (!program) {
    call.fail(kMemoryError, error);
    return nullptr;
  }
  program->shareCounters(computer->counters);
  if (timings) program->enableTimings();
  return makeHandle(call, Kind::Program, program);
}

// (program, slot, params, history)
napi_value openSampler(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto program = handle<Program>(call, call.at(0), Kind::Program);
  int32_t index = call.int32(call.at(1));
  napi_value object = call.at(2);
  auto history = call.ints(call.at(3));
  if (call.failed) return nullptr;
  if (program->busy) {
    call.fail(kNativeError, "a sampler can't be opened while a step runs");
    return nullptr;
  }
  SamplerSlot* slot = program->slot(index);
  if (!slot) {
    call.fail(kNativeError, "there is no sampler slot " + std::to_string(index));
    return nullptr;
  }
  auto number = [&](const char* name) { return call.number(call.property(object, name)); };
  SamplerSlot fresh;
  fresh.params.temperature = static_cast<float>(number("temperature"));
  fresh.params.topK = call.int32(call.property(object, "topK"));
  fresh.params.topP = static_cast<float>(number("topP"));
  fresh.params.minP = static_cast<float>(number("minP"));
  fresh.params.repetitionPenalty = static_cast<float>(number("repetitionPenalty"));
  fresh.params.presencePenalty = static_cast<float>(number("presencePenalty"));
  fresh.params.frequencyPenalty = static_cast<float>(number("frequencyPenalty"));
  fresh.params.sampleIndex = call.int32(call.property(object, "sampleIndex"));
  fresh.minTokens = call.int32(call.property(object, "minTokens"));
  bool lossless = false;
  if (!call.failed) {
    // 64 bits, whichever way the caller read them.
    napi_value seed = call.property(object, "seed");
    call.ok(napi_get_value_bigint_uint64(env, seed, &fresh.params.seed, &lossless));
  }
  auto ids = call.ints(call.property(object, "biasIds"));
  auto values = call.floats(call.property(object, "biasValues"));
  auto stops = call.ints(call.property(object, "stopIds"));
  if (!call.failed && ids.size != values.size) call.fail(kNativeError, "biasIds and biasValues differ in length");
  auto inVocabulary = [&](Call::Array<int32_t> list) {
    for (size_t i = 0; i < list.size && !call.failed; i++) {
      if (list.data[i] < 0 || list.data[i] >= program->vocab()) {
        call.fail(kNativeError, "token id " + std::to_string(list.data[i]) + " lies outside of the vocabulary");
      }
    }
  };
  inVocabulary(ids);
  inVocabulary(stops);
  inVocabulary(history);
  if (call.failed) return nullptr;
  fresh.biasIds.assign(ids.data, ids.data + ids.size);
  fresh.biasValues.assign(values.data, values.data + values.size);
  fresh.stopIds.assign(stops.data, stops.data + stops.size);
  fresh.open = true;
  fresh.start(history.data, static_cast<int>(history.size));
  *slot = std::move(fresh);
  return nullptr;
}

// (program, slot)
napi_value closeSampler(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto program = handle<Program>(call, call.at(0), Kind::Program);
  int32_t index = call.int32(call.at(1));
  if (call.failed) return nullptr;
  SamplerSlot* slot = program->slot(index);
  if (!slot || program->busy) {
    call.fail(kNativeError, slot ? "a sampler can't be closed while a step runs" : "there is no such sampler slot");
    return nullptr;
  }
  slot->close();
  return nullptr;
}

// (program, counts, tokens, positions, queryStarts, copies, sampleRows, sampleSlots, sampleTop, logprobRows,
// logprobIds, logitRows, block tables, strides) → promise. counts: tokens, sequences, copies, samples, logprobs,
// logits.
napi_value runProgram(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto program = handle<Program>(call, call.at(0), Kind::Program);
  auto ints = [&](napi_value value) {
    auto list = call.ints(value);
    return PlanView::Ints{list.data, list.size};
  };
  auto counts = call.ints(call.at(1));
  if (call.failed) return nullptr;
  if (counts.size < 6) {
    call.fail(kNativeError, "a step plan needs six counts");
    return nullptr;
  }
  PlanView plan{};
  plan.tokenCount = counts.data[0];
  plan.sequenceCount = counts.data[1];
  plan.copyCount = counts.data[2];
  plan.sampleCount = counts.data[3];
  plan.logprobCount = counts.data[4];
  plan.logitCount = counts.data[5];
  PlanView::Ints* lists[] = {&plan.tokens,      &plan.positions, &plan.queryStarts, &plan.copies,     &plan.sampleRows,
                             &plan.sampleSlots, &plan.sampleTop, &plan.logprobRows, &plan.logprobIds, &plan.logitRows};
  size_t next = 2;
  for (PlanView::Ints* list : lists) *list = ints(call.at(next++));
  napi_value tables = call.at(next++);
  auto strides = call.ints(call.at(next));
  uint32_t groups = call.length(tables);
  for (uint32_t g = 0; g < groups && !call.failed; g++) plan.tables.push_back(ints(call.element(tables, g)));
  if (call.failed) return nullptr;
  plan.strides.assign(strides.data, strides.data + strides.size);
  if (program->busy) {
    call.fail(kNativeError, "the program runs a step already");
    return nullptr;
  }
  std::string error;
  if (!program->prepare(plan, error)) {
    call.fail(kNativeError, error);
    return nullptr;
  }
  auto job = std::make_unique<Run>();
  job->program = program;
  program->busy = true;
  return start(call, std::move(job), program->teamPointer());
}

// (program, sampleIds, sampleLogprobs, topIds, topLogprobs, logprobs, logits): copies out what the last step gave
napi_value programResults(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto program = handle<Program>(call, call.at(0), Kind::Program);
  auto sampleIds = call.ints(call.at(1));
  auto sampleLogprobs = call.floats(call.at(2));
  auto topIds = call.ints(call.at(3));
  auto topLogprobs = call.floats(call.at(4));
  auto logprobs = call.floats(call.at(5));
  auto logits = call.floats(call.at(6));
  if (call.failed) return nullptr;
  if (program->busy) {
    call.fail(kNativeError, "the step still runs");
    return nullptr;
  }
  const Program::Results& results = program->results();
  size_t samples = static_cast<size_t>(results.samples), top = samples * kMaxTop;
  size_t logitCount = static_cast<size_t>(results.logits_) * program->vocab();
  size_t logprobCount = static_cast<size_t>(results.logprobCount);
  if (sampleIds.size < samples || sampleLogprobs.size < samples || topIds.size < top || topLogprobs.size < top ||
      logprobs.size < logprobCount || logits.size < logitCount) {
    call.fail(kNativeError, "a result array is too short");
    return nullptr;
  }
  auto copy = [](void* to, const void* from, size_t bytes) {
    if (bytes > 0) memcpy(to, from, bytes);
  };
  copy(sampleIds.data, results.sampleIds.data(), samples * 4);
  copy(sampleLogprobs.data, results.sampleLogprobs.data(), samples * 4);
  copy(topIds.data, results.topIds.data(), top * 4);
  copy(topLogprobs.data, results.topLogprobs.data(), top * 4);
  copy(logprobs.data, results.logprobs.data(), logprobCount * 4);
  copy(logits.data, results.logits.data(), logitCount * 4);
  return nullptr;
}

// (program) → where the time went
napi_value programTimings(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto program = handle<Program>(call, call.at(0), Kind::Program);
  return program ? call.make(program->timings().c_str()) : nullptr;
}

}  // namespace millrace
