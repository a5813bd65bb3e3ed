/**
 * Policies of the literature that no user needs, each as its paper's idea: for the table of `npm run bench -- policies`.
 * What they have in common: admission by a rule, an order of who waits, an order of turns, and who gives way.
 */
import type { EngineRequest, Sequence } from "../../src/engine/request.ts";
import { optimistic } from "../../src/engine/policies/admission.ts";
import { FirstCome } from "../../src/engine/policies/first-come.ts";
import { decodesFirst, type Policy, type SchedulerView, type Turn } from "../../src/engine/policies/policy.ts";

type Request = Readonly<EngineRequest>;

/** How long a request's answer will be, as far as anybody knows. */
export type Predictor = (request: Request) => number;

/** A batch starts when the one before has ended, all of it (before Orca). */
export class StaticBatch extends FirstCome {
  override *admit(view: SchedulerView): Iterable<Request> {
    if (view.running.length === 0) yield* super.admit(view);
  }
}

/** Each request is given memory for the longest sequence there is (C4-02). */
export class Preallocate extends FirstCome {
  readonly #most: number;

  /** `most`: blocks of a whole context. */
  constructor(most: number) {
    super();
    this.#most = most;
  }

  override *admit({ waiting, running, memory }: SchedulerView): Iterable<Request> {
    const room = Math.floor((memory[0]?.size ?? 0) / this.#most) - running.length;
    yield* waiting.slice(0, Math.max(0, room));
  }
}

/** S³ (Jin et al. 2023, C4-03): memory for the predicted length, twice as much after each miss, which starts anew. */
export class LengthBuckets implements Policy {
  readonly #predict: Predictor;
  readonly #misses = new WeakMap<Request, number>();

  constructor(predict: Predictor) {
    this.#predict = predict;
  }

  *admit({ waiting, running, memory }: SchedulerView): Iterable<Request> {
    let taken = running.reduce((sum, request) => sum + this.#blocks(request), 0);
    for (const request of waiting) {
      taken += this.#blocks(request);
      if (taken > (memory[0]?.size ?? 0) && taken > this.#blocks(request)) return;
      yield request;
    }
  }

  turns(view: SchedulerView): Iterable<Turn> {
    return decodesFirst(view);
  }

  victim(
    { running }: SchedulerView,
    { request }: Readonly<Sequence>,
    candidates: readonly Request[],
  ): Request | undefined {
    // Whoever writes more than was said gives way; the oldest gets on in the end.
    const wrong = candidates.findLast((one) => one !== running[0] && this.#written(one) > this.#predicted(one));
    const victim = wrong ?? (request === running[0] ? candidates.at(-1) : request);
    if (victim === undefined || victim === running[0]) return undefined;
    this.#misses.set(victim, (this.#misses.get(victim) ?? 0) + 1);
    return victim;
  }

  #written({ sequences, work }: Request): number {
    return (sequences[0]?.length ?? 0) - work.prompt.length;
  }

  #predicted(request: Request): number {
    return this.#predict(request) * 2 ** (this.#misses.get(request) ?? 0);
  }

  #blocks(request: Request): number {
    const bucket = 2 ** Math.ceil(Math.log2(Math.max(1, this.#predicted(request))));
    return Math.ceil(Math.min(request.capacity, request.work.prompt.length + bucket) / 16);
  }
}

/** Prompts before answers: whoever comes is served a first token at once, and the others wait (vLLM's first scheduler). */
export class PrefillFirst extends FirstCome {
  override *turns({ running, stepTokens }: SchedulerView): Iterable<Turn> {
    const pending = running.flatMap(({ sequences }) => sequences.filter((one) => one.state && one.pending > 0));
    const prompts = pending.filter((one) => one.pending > 1);
    for (const sequence of prompts.length > 0 ? prompts : pending) yield { sequence, rows: stepTokens };
  }
}

/** Answers before prompts: a prompt is computed where no answer can go on. */
export class DecodeFirst extends PrefillFirst {
  override *turns({ running, stepTokens }: SchedulerView): Iterable<Turn> {
    const pending = running.flatMap(({ sequences }) => sequences.filter((one) => one.state && one.pending > 0));
    const answers = pending.filter((one) => one.pending === 1);
    for (const sequence of answers.length > 0 ? answers : pending) yield { sequence, rows: stepTokens };
  }
}

/** Those that come first by a key run; the last of them gives way. */
abstract class Ranked implements Policy {
  abstract rank(request: Request): number;

  *admit(view: SchedulerView): Iterable<Request> {
    const fits = optimistic(view);
    let { seats } = view;
    for (const request of view.waiting.toSorted((a, b) => this.rank(a) - this.rank(b))) {
      if (seats-- <= 0 || !fits(request)) return;
      yield request;
    }
  }

  *turns(view: SchedulerView): Iterable<Turn> {
    const turns = decodesFirst(view);
    yield* turns.toSorted((a, b) => this.rank(a.sequence.request) - this.rank(b.sequence.request));
  }

  victim(
    { running }: SchedulerView,
    { request }: Readonly<Sequence>,
    candidates: readonly Request[],
  ): Request | undefined {
    const last = candidates.toSorted((a, b) => this.rank(a) - this.rank(b)).at(-1);
    if (last !== undefined && this.rank(last) > this.rank(request)) return last;
    return running.length > 1 ? request : undefined;
  }
}

/** The shortest remaining answer first (C7-11). */
export class ShortestRemaining extends Ranked {
  readonly #predict: Predictor;

  constructor(predict: Predictor) {
    super();
    this.#predict = predict;
  }

  override rank(request: Request): number {
    const length = request.sequences[0]?.length ?? 0;
    const prompt = Math.max(0, request.work.prompt.length - (request.sequences[0]?.planned ?? 0)) / 16;
    return prompt + Math.max(1, this.#predict(request) - (length - request.work.prompt.length));
  }
}

/** FastServe's skip-join MLFQ (Wu et al. 2023, C7-08): a long prompt starts further down, and each doubling goes down one. */
export class SkipJoinMlfq extends Ranked {
  readonly #arrival = new WeakMap<Request, number>();
  #arrivals = 0;

  override rank(request: Request): number {
    let arrival = this.#arrival.get(request);
    if (arrival === undefined) this.#arrival.set(request, (arrival = this.#arrivals++));
    const written = (request.sequences[0]?.length ?? 0) - request.work.prompt.length;
    const level = Math.floor(Math.log2(1 + written / 8 + request.work.prompt.length / 256));
    // Of a level the oldest first; who has waited long enough goes up.
    return level + arrival / 1e6 - Math.floor((this.#arrivals - arrival) / 512);
  }
}
