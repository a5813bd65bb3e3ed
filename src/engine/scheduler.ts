/**
 * The scheduler: which tokens the next step computes, and what its samples mean. Pure: no clock, randomness,
 * I/O or backend inside, so that tests and simulators drive the very code that serves. This one is first come,
 * first served: a request is admitted when the blocks that it may come to need are free (so nothing is ever
 * preempted), else it and all behind it wait. Another policy is another class.
 */
import { MAX_TOP_LOGPROBS, type StepPlan, type StepResult } from "../backend/contract.ts";
import { RequestError } from "../errors.ts";
import { type BlockCopy, blocksNeeded, type GroupMemory, SequenceState } from "../state/sequence-state.ts";
import { type EngineEvent, type FinishReason, type Request, type SampledToken, Sequence } from "./request.ts";
import { type StepLimits, StepPlanBuffer } from "./step-plan.ts";

export interface Scheduler {
  /** Queues a request; throws RequestError where it can never run. */
  add(request: Request): void;
  /** Takes a request out, whatever its status; its memory is free when no step in flight uses it. */
  remove(request: Request): void;
  /** Ends one answer of a running request; the others go on. */
  endAnswer(request: Request, index: number): void;
  /** The next step, or undefined where there is nothing to do. The plan holds until the next `schedule()`. */
  schedule(): StepPlan | undefined;
  /** Takes in the result of the step that `schedule()` gave; a step that failed has none. */
  update(result: StepResult | undefined): EngineEvent[];
  /** Requests admitted by the last `schedule()`: their sampler slots must be opened before the step runs. */
  readonly admitted: readonly Request[];
  /** Requests running or waiting. */
  readonly size: number;
}

/** A sequence's part in the step in flight. */
interface Share {
  readonly sequence: Sequence;
  readonly count: number;
  /** Index of its first sample, logprob or logits row in the plan; −1: none. */
  readonly output: number;
}

export class FirstComeScheduler implements Scheduler {
  readonly #limits: StepLimits;
  readonly #memory: readonly GroupMemory[];
  readonly #plan: StepPlanBuffer;
  readonly #waiting: Request[] = [];
  #running: Request[] = [];
  #admitted: Request[] = [];
  /** Blocks that are promised to running requests, by group. */
  readonly #reserved: number[];
  readonly #freeSlots: number[];
  #inFlight: Share[] | undefined;
  /** Requests removed while a step in flight still used their blocks. */
  readonly #leaving: Request[] = [];
  readonly #copies: BlockCopy[] = [];

  constructor(limits: StepLimits, memory: readonly GroupMemory[]) {
    this.#limits = limits;
    this.#memory = memory;
    this.#plan = new StepPlanBuffer(limits, memory.length);
    this.#reserved = memory.map(() => 0);
    this.#freeSlots = Array.from({ length: limits.maxSequences }, (_, i) => limits.maxSequences - 1 - i);
  }

  get admitted(): readonly Request[] {
    return this.#admitted;
  }

  get size(): number {
    return this.#running.length + this.#waiting.length;
  }

  add(request: Request): void {
    const { maxSequences, context } = this.#limits;
    if (request.answers > maxSequences) {
      throw new RequestError(
        `${request.answers} answers were asked for, and the engine runs ${maxSequences} sequences at once; ` +
          "ask for fewer (n) or raise maxSequences",
      );
    }
    if (request.capacity > context) {
      throw new RequestError(
        `the request needs ${request.capacity} positions (prompt and answer), the context has ${context}`,
      );
    }
    for (const [g, { pool, group }] of this.#memory.entries()) {
      const need = this.#need(request)[g] ?? 0;
      if (need > pool.size) {
        throw new RequestError(
          `the request needs ${need} KV blocks of 16 positions (${group.kind}), the whole cache has ${pool.size}; ` +
            "lower maxTokens or n, or raise kvBytes",
        );
      }
    }
    this.#waiting.push(request);
  }

  remove(request: Request): void {
    if (request.status === "waiting") {
      const at = this.#waiting.indexOf(request);
      if (at >= 0) this.#waiting.splice(at, 1);
      request.status = "ended";
    } else if (request.status === "running") {
      request.status = "ended";
      this.#running = this.#running.filter((other) => other !== request);
      if (this.#inFlight) this.#leaving.push(request);
      else this.#release(request);
    }
  }

  endAnswer(request: Request, index: number): void {
    const sequence = request.sequences.find((one) => one.index === index);
    if (!sequence) return;
    if (this.#inFlight) sequence.ended = true;
    else this.#end(sequence);
  }

  schedule(): StepPlan | undefined {
    this.#admit();
    const plan = this.#plan;
    const { maxTokens, maxOutputs, maxSequences } = this.#limits;
    plan.clear();
    plan.copyBlocks(this.#copies);
    this.#copies.length = 0;
    const shares: Share[] = [];
    const sequences = this.#running.flatMap((request) => request.sequences);
    // Whoever needs one token gets it first: a long prompt slows others down, but never stops them.
    for (const sequence of sequences) {
      if (sequence.pending === 1 && plan.tokenCount < maxTokens) shares.push(this.#share(sequence, 1));
    }
    for (const sequence of sequences) {
      if (sequence.pending === 1) continue;
      let count = Math.min(sequence.pending, maxTokens - plan.tokenCount);
      // Every row of a score is an output; those that samples may need are kept back.
      if (sequence.request.work.kind === "score") {
        count = Math.min(count, maxOutputs - maxSequences - plan.logprobCount - plan.logitCount);
      }
      if (count > 0) shares.push(this.#share(sequence, count));
    }
    if (shares.length === 0) return undefined;
    this.#inFlight = shares;
    return plan;
  }

  update(result: StepResult | undefined): EngineEvent[] {
    const events: EngineEvent[] = [];
    for (const { sequence, count, output } of this.#inFlight ?? []) {
      if (sequence.request.status === "ended" || !result) continue;
      if (sequence.ended) {
        this.#end(sequence);
        continue;
      }
      const first = sequence.computed;
      sequence.computed += count;
      sequence.state.slide(sequence.computed);
      if (output < 0) continue;
      if (sequence.request.work.kind === "score") this.#readScores(sequence, first, count, output, result, events);
      else this.#readSamples(sequence, output, result, events);
    }
    this.#inFlight = undefined;
    for (const request of this.#leaving.splice(0)) this.#release(request);
    for (const request of this.#running.filter(({ sequences }) => sequences.length === 0)) {
      this.remove(request);
      events.push({ type: "done", request });
    }
    return events;
  }

  #need(request: Request): number[] {
    const { work, capacity, answers } = request;
    return this.#memory.map(({ group }) =>
      blocksNeeded(group, work.prompt.length, capacity, answers, this.#limits.maxTokens),
    );
  }

  #admit(): void {
    this.#admitted = [];
    for (;;) {
      const request = this.#waiting[0];
      if (!request || request.answers > this.#freeSlots.length) return;
      const need = this.#need(request);
      const fits = this.#memory.every(({ pool }, g) => (this.#reserved[g] ?? 0) + (need[g] ?? 0) <= pool.size);
      if (!fits) return;
      this.#waiting.shift();
      for (const [g, blocks] of need.entries()) this.#reserved[g] = (this.#reserved[g] ?? 0) + blocks;
      request.reserved = need;
      request.slots = this.#freeSlots.splice(this.#freeSlots.length - request.answers);
      request.status = "running";
      const state = new SequenceState(this.#memory);
      request.sequences.push(new Sequence(request, 0, request.slots[0] ?? 0, state, request.capacity));
      this.#running.push(request);
      this.#admitted.push(request);
    }
  }

  #share(sequence: Sequence, count: number): Share {
    const { work } = sequence.request;
    sequence.state.grow(sequence.computed + count);
    const row = this.#plan.addRows(sequence, count);
    let output = -1;
    if (work.kind === "score") {
      for (let i = 0; i < count; i++) {
        const next = sequence.tokens[sequence.computed + i + 1];
        const last = sequence.computed + i + 1 === sequence.length;
        if (work.want === "logprobs" && (last || next === undefined)) continue;
        const at = work.want === "logits" ? this.#plan.addLogits(row + i) : this.#plan.addLogprob(row + i, next ?? 0);
        if (output < 0) output = at;
      }
      // A score of one token has no log-probability; its sequence ends all the same.
      if (output < 0) output = 0;
    } else if (sequence.computed + count === sequence.length) {
      // The prompt's last row is sampled once for each answer, an answer's last row once.
      const slots = this.#isPrompt(sequence) ? sequence.request.slots : [sequence.slot];
      for (const slot of slots) {
        const at = this.#plan.addSample(row + count - 1, slot, work.topLogprobs);
        if (output < 0) output = at;
      }
    }
    return { sequence, count, output };
  }

  #isPrompt(sequence: Sequence): boolean {
    return sequence.length === sequence.request.work.prompt.length;
  }

  #readScores(
    sequence: Sequence,
    first: number,
    count: number,
    output: number,
    result: StepResult,
    events: EngineEvent[],
  ): void {
    const { request } = sequence;
    const logits = request.work.kind === "score" && request.work.want === "logits";
    for (let i = 0; i < count; i++) {
      const row = first + i;
      if (logits) {
        const { vocabSize } = this.#limits;
        const at = (output + i) * vocabSize;
        events.push({ type: "score", request, score: { row, logits: result.logits.slice(at, at + vocabSize) } });
      } else if (row + 1 < sequence.length) {
        events.push({ type: "score", request, score: { row, logprob: result.logprobs[output + i] ?? Number.NaN } });
      }
    }
    if (sequence.pending === 0) this.#end(sequence);
  }

  #readSamples(sequence: Sequence, output: number, result: StepResult, events: EngineEvent[]): void {
    const { request } = sequence;
    const answers = [sequence];
    if (this.#isPrompt(sequence)) {
      for (const [index, slot] of request.slots.entries()) {
        if (index === 0) continue;
        const state = sequence.state.fork(sequence.computed, this.#copies);
        const answer = new Sequence(request, index, slot, state, request.capacity);
        answer.computed = sequence.computed;
        answers.push(answer);
        request.sequences.push(answer);
      }
    }
    for (const [i, answer] of answers.entries()) {
      const token = this.#take(answer, output + i, result);
      events.push({ type: "token", request, token });
      if (token.finish) this.#end(answer);
    }
  }

  /** Appends sample `at` of the step to an answer. */
  #take(answer: Sequence, at: number, result: StepResult): SampledToken {
    const { work } = answer.request;
    const id = result.sampleIds[at] ?? 0;
    answer.tokens[answer.length] = id;
    answer.length += 1;
    let finish: FinishReason | undefined;
    if (work.kind === "generate" && work.stopIds.has(id)) finish = "stop";
    else if (answer.length === answer.request.capacity) finish = "length";
    const top: { id: number; logprob: number }[] = [];
    const wanted = work.kind === "generate" ? work.topLogprobs : 0;
    for (let i = 0; i < wanted; i++) {
      const from = at * MAX_TOP_LOGPROBS + i;
      top.push({ id: result.topIds[from] ?? 0, logprob: result.topLogprobs[from] ?? Number.NaN });
    }
    const token = { index: answer.index, id, logprob: result.sampleLogprobs[at] ?? Number.NaN, top };
    return finish ? { ...token, finish } : token;
  }

  /** The one path by which a sequence's blocks become free, together with #release. */
  #end(sequence: Sequence): void {
    const { sequences } = sequence.request;
    sequences.splice(sequences.indexOf(sequence), 1);
    this.#dropCopies(sequence);
    sequence.state.release();
  }

  #release(request: Request): void {
    for (let last = request.sequences.at(-1); last; last = request.sequences.at(-1)) this.#end(last);
    for (const [g, blocks] of request.reserved.entries()) this.#reserved[g] = (this.#reserved[g] ?? 0) - blocks;
    request.reserved = [];
    this.#freeSlots.push(...request.slots);
  }

  /** A copy into a block that is about to be free must not run: the block may have a new owner by then. */
  #dropCopies(sequence: Sequence): void {
    const kept = this.#copies.filter(({ group, to }) => !sequence.state.table(group).includes(to));
    this.#copies.splice(0, this.#copies.length, ...kept);
  }
}
