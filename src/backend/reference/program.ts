/**
 * A reference program: sampler slots, and the step around the graph (block copies first, then the nodes, then
 * samples, log-probabilities and logits of the rows that the plan names).
 */
import { invariant } from "../../errors.ts";
import type { Graph } from "../../graph/graph.ts";
import {
  MAX_TOP_LOGPROBS,
  type CompileOptions,
  type Program,
  type SamplerParams,
  type StepPlan,
  type StepResult,
} from "../contract.ts";
import { evaluate } from "./evaluate.ts";
import type { ReferencePool } from "./pool.ts";
import { logSumExp, sampleToken, topIds } from "./sample.ts";
import type { ReferenceWeights } from "./weights.ts";

interface Slot {
  readonly params: SamplerParams;
  /** Tokens of prompt and answer, with their number in the answer. */
  readonly seen: Map<number, number>;
  generated: number;
}

export class ReferenceProgram implements Program {
  readonly graph: Graph;
  /** The reference lowers nothing: it runs what it is given. */
  readonly lowered: Graph;
  readonly #weights: ReferenceWeights;
  readonly #pool: ReferencePool;
  readonly #options: CompileOptions;
  readonly #slots: (Slot | undefined)[];
  readonly #result: Omit<StepResult, "logits">;
  #logits: Float32Array;
  #running = false;

  constructor(graph: Graph, weights: ReferenceWeights, pool: ReferencePool, options: CompileOptions) {
    this.graph = graph;
    this.lowered = graph;
    this.#weights = weights;
    this.#pool = pool;
    this.#options = options;
    this.#slots = Array.from({ length: options.samplerSlots });
    const outputs = options.maxOutputs;
    this.#result = {
      sampleIds: new Int32Array(outputs),
      sampleLogprobs: new Float32Array(outputs),
      topIds: new Int32Array(outputs * MAX_TOP_LOGPROBS),
      topLogprobs: new Float32Array(outputs * MAX_TOP_LOGPROBS),
      logprobs: new Float32Array(outputs),
    };
    this.#logits = new Float32Array(0);
  }

  openSampler(slot: number, params: SamplerParams, history: Int32Array): void {
    invariant(slot >= 0 && slot < this.#slots.length, `there is no sampler slot ${slot}`);
    // The caller keeps its arrays.
    const own = {
      ...params,
      biasIds: params.biasIds.slice(),
      biasValues: params.biasValues.slice(),
      stopIds: params.stopIds.slice(),
    };
    this.#slots[slot] = { params: own, seen: new Map(Array.from(history, (id) => [id, 0])), generated: 0 };
  }

  closeSampler(slot: number): void {
    this.#slots[slot] = undefined;
  }

  async run(plan: StepPlan): Promise<StepResult> {
    invariant(!this.#running, "a step is running already");
    this.#running = true;
    try {
      return this.#step(plan);
    } finally {
      this.#running = false;
    }
  }

  close(): void {
    this.#slots.fill(undefined);
  }

  #step(plan: StepPlan): StepResult {
    const { maxTokens, maxSequences, maxOutputs } = this.#options;
    const outputs = plan.sampleCount + plan.logprobCount + plan.logitCount;
    invariant(plan.tokenCount <= maxTokens, `${plan.tokenCount} tokens in a step of at most ${maxTokens}`);
    invariant(
      plan.sequenceCount <= maxSequences,
      `${plan.sequenceCount} sequences in a step of at most ${maxSequences}`,
    );
    invariant(outputs <= maxOutputs, `${outputs} output rows in a step of at most ${maxOutputs}`);

    for (let i = 0; i < plan.copyCount; i++) {
      const [group = -1, from = -1, to = -1] = plan.copies.subarray(3 * i, 3 * i + 3);
      this.#pool.copy(group, from, to);
    }
    const sampled = this.#result.sampleIds;
    const tokens = plan.tokens.slice(0, plan.tokenCount).map((id) => (id < 0 ? (sampled[-1 - id] ?? -1) : id));

    // Each named row goes through the head once, however many outputs name it.
    const named = [
      ...plan.sampleRows.subarray(0, plan.sampleCount),
      ...plan.logprobRows.subarray(0, plan.logprobCount),
      ...plan.logitRows.subarray(0, plan.logitCount),
    ];
    const outputRows = [...new Set(named)];
    const { graph } = this;
    const all = evaluate({ graph, weights: this.#weights, pool: this.#pool, plan, tokens, outputRows });
    const logitsOf = (row: number): Float32Array => {
      const at = outputRows.indexOf(row) * graph.vocabSize;
      return all.subarray(at, at + graph.vocabSize);
    };

    for (let i = 0; i < plan.sampleCount; i++) this.#sample(plan, i, logitsOf(plan.sampleRows[i] ?? 0));
    for (let i = 0; i < plan.logprobCount; i++) {
      const logits = logitsOf(plan.logprobRows[i] ?? 0);
      this.#result.logprobs[i] = (logits[plan.logprobIds[i] ?? 0] ?? NaN) - logSumExp(logits);
    }
    const wanted = plan.logitCount * graph.vocabSize;
    if (this.#logits.length < wanted) this.#logits = new Float32Array(wanted);
    for (let i = 0; i < plan.logitCount; i++) this.#logits.set(logitsOf(plan.logitRows[i] ?? 0), i * graph.vocabSize);
    return { ...this.#result, logits: this.#logits };
  }

  #sample(plan: StepPlan, i: number, logits: Float32Array): void {
    const slot = this.#slots[plan.sampleSlots[i] ?? -1];
    invariant(slot !== undefined, `sampler slot ${plan.sampleSlots[i]} is not open`);
    const position = (plan.positions[plan.sampleRows[i] ?? 0] ?? 0) + 1;
    const id = sampleToken(logits, position, slot.params, slot.seen, slot.generated);
    slot.generated++;
    slot.seen.set(id, (slot.seen.get(id) ?? 0) + 1);
    const normalizer = logSumExp(logits);
    const { sampleIds, sampleLogprobs, topIds: ids, topLogprobs } = this.#result;
    sampleIds[i] = id;
    sampleLogprobs[i] = (logits[id] ?? NaN) - normalizer;
    const first = i * MAX_TOP_LOGPROBS;
    ids.fill(-1, first, first + MAX_TOP_LOGPROBS);
    topLogprobs.fill(-Infinity, first, first + MAX_TOP_LOGPROBS);
    topIds(logits, Math.min(plan.sampleTop[i] ?? 0, MAX_TOP_LOGPROBS)).forEach((top, rank) => {
      ids[first + rank] = top;
      topLogprobs[first + rank] = (logits[top] ?? NaN) - normalizer;
    });
  }
}
