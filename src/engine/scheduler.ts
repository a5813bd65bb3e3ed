/**
 * The scheduler: which rows the next step computes, in whose memory, and what becomes of its result. Mechanism only: who
 * is served is a Policy's business (policies/), what outputs mean is a kind of work's (work/). Pure: no clock, randomness,
 * I/O or backend inside. Several steps may be in flight: `planned` runs ahead of `computed`, tokens that are still to come
 * are references, and memory is given back with the last step that names it (flights.ts).
 */
import type { StepPlan, StepResult } from "../backend/contract.ts";
import type { StepPlanBuffer } from "../backend/step-plan.ts";
import { invariant, StepError } from "../errors.ts";
import { releaseBlocks, type SequenceState } from "../state/sequence-state.ts";
import { Drafting } from "./drafting.ts";
import { Flights } from "./flights.ts";
import { needOf } from "./limits.ts";
import { placeDraft } from "./placed-draft.ts";
import type { EngineRequest, Sequence } from "./request.ts";
import { Residents } from "./residents.ts";
import { addShare, type Flight, isLive, type SchedulerOptions, type Share } from "./share.ts";
import { View } from "./view.ts";

/** A step, and the program that runs it: 0: the model that answers; 1 …: those that draft. */
export interface ScheduledStep {
  readonly program: number;
  readonly plan: StepPlan;
}

export class Scheduler {
  readonly waiting: EngineRequest[] = [];
  readonly running: EngineRequest[] = [];
  readonly flights = new Flights();
  readonly #view: View;
  readonly #options: SchedulerOptions;
  readonly #plan: StepPlanBuffer;
  readonly residents: Residents;
  readonly #drafting: Drafting;
  #lastStep = 0;
  /** Requests that lost their memory in the step that is being made, or in one that came to nothing. */
  #preempted = 0;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#plan = options.plan;
    this.residents = new Residents(options, this.flights);
    this.#view = new View(this.waiting, this.running, this.residents, options);
    this.#drafting = new Drafting(options.drafting ?? [], this.residents, options.speculation);
  }

  /** Queues a request; throws RequestError where it could not even run alone. */
  add(request: EngineRequest): void {
    request.need = needOf(request, this.#options.limits, this.#options.groups);
    this.waiting.push(request);
  }

  /** Takes a request out, whatever its status; its memory is free when no step in flight uses it. */
  remove(request: EngineRequest): void {
    for (const list of [this.waiting, this.running]) if (list.includes(request)) list.splice(list.indexOf(request), 1);
    request.status = "ended";
    this.#options.speculation?.end(request);
    this.#options.policy.left?.(request);
    for (const sequence of request.sequences) this.residents.drop(sequence);
  }

  /** Ends one answer; the others go on. True where it was the last. */
  endAnswer(sequence: Sequence): boolean {
    sequence.finished = true;
    const { request } = sequence;
    // Others may still need the prompt that it computes for them.
    if (sequence.state === undefined || !request.hasUnforked) this.residents.drop(sequence);
    return request.isFinished;
  }

  /** The next step, or undefined where there is nothing to do now. The plan holds until the next call. */
  schedule(): ScheduledStep | undefined {
    const { speculation } = this.#options;
    if (this.flights.count > 0 && speculation?.waits(this.running) === true) return undefined;
    const mayAdmit = this.#preempted === 0;
    this.#preempted = 0;
    if (mayAdmit) this.#admit();
    const id = this.#lastStep + 1;
    for (const request of this.running.slice()) this.residents.fork(request, (one) => this.#takeMemoryFor(one, []));
    const drafts = this.#drafting.schedule(id, this.running);
    if (drafts !== undefined) return this.#launch(id, drafts.model + 1, drafts.plan, drafts.shares);
    const shares: Share[] = [];
    this.#plan.clear();
    speculation?.begin(this.running);
    for (const { sequence, rows } of this.#options.policy.turns(this.#view)) {
      this.#share(sequence, rows, id, shares);
    }
    if (shares.length === 0) return undefined;
    for (const slot of this.residents.takeClosing(0)) this.#plan.addClose(slot);
    return this.#launch(id, 0, this.#plan, shares);
  }

  #launch(id: number, program: number, plan: StepPlanBuffer, shares: Share[]): ScheduledStep {
    this.#lastStep = plan.id = id;
    this.flights.push({ id, program, shares, preempted: this.#preempted, isMasked: false, drafted: 0, accepted: 0 });
    return { program, plan };
  }

  /**
   * Takes in what became of the oldest step in flight; gives that step, and the requests that have ended by it. After an
   * error all steps in flight must be taken in before the next `schedule()`.
   */
  update(outcome: StepResult | Error): { readonly flight: Flight; readonly ended: readonly EngineRequest[] } {
    const flight = this.flights.shift();
    invariant(flight !== undefined, "no step is in flight");
    for (const share of flight.shares) {
      const live = isLive(share);
      if (live && wasNotRun(outcome)) {
        share.rewind();
        continue;
      }
      if (live && outcome instanceof Error) share.sequence.request.failure = outcome;
      else if (live) this.#settle(flight, share, outcome as StepResult);
      releaseBlocks(share.ops.held);
    }
    this.flights.settle(flight.id);
    const ended = this.running.filter(({ failure, isFinished }) => failure !== undefined || isFinished);
    for (const request of ended) this.remove(request);
    return { flight, ended };
  }

  #settle(flight: Flight, share: Share, result: StepResult): void {
    const { hasEnded, verified } = share.settle(result);
    if (verified !== undefined) {
      flight.drafted += verified.tree.tokens.length;
      flight.accepted += verified.taken.length;
      this.#options.speculation?.learn(share.sequence, verified);
    }
    this.residents.keep(share, hasEnded);
  }

  /** Takes a running request's memory; it waits again, and computes anew what it knows. */
  preempt(request: EngineRequest): void {
    this.#preempted += 1;
    for (const sequence of request.sequences) this.residents.drop(sequence);
    this.running.splice(this.running.indexOf(request), 1);
    this.waiting.unshift(request);
    request.status = "waiting";
  }

  #admit(): void {
    if (this.waiting.length === 0) return;
    for (const chosen of Array.from(this.#options.policy.admit(this.#view))) {
      const request: EngineRequest = chosen;
      if (!this.residents.start(request)) return;
      request.status = "running";
      this.waiting.splice(this.waiting.indexOf(request), 1);
      this.running.push(request);
    }
  }

  /** Adds a sequence's rows to the step, as many as fit. */
  #share(sequence: Sequence, rows: number, step: number, shares: Share[]): void {
    const { request, planned, state } = sequence;
    const { hasUnforked } = request;
    if (state === undefined || sequence.isDrafted || (sequence.finished && !hasUnforked)) return;
    // The prompt is computed once for all answers, which are forked off where it ends.
    const end = hasUnforked ? request.work.prompt.length - planned : sequence.pending;
    const left = this.#options.limits.stepTokens - this.#plan.tokenCount;
    let count = sequence.uncut(Math.min(rows, end, sequence.pending, left), left);
    const { speculation, limits } = this.#options;
    const room = limits.maxOutputs - this.#plan.outputCount;
    const outputs = (rows: number): number =>
      request.kinds.reduce((sum, kind) => sum + kind.outputs(sequence, rows), 0);
    while (count > 0 && outputs(count) > room) count = sequence.uncut(count - 1, 0);
    if (count <= 0) return;
    let draft = placeDraft(speculation, sequence, count, outputs(count), this.#plan, limits);
    const known = planned + count;
    if (draft !== undefined && !state.grow(draft.slots, known)) draft = undefined;
    if (draft === undefined && !this.#makeRoom(sequence, state, known, shares)) return;
    shares.push(addShare(this.#plan, step, sequence, state, count, draft));
  }

  /** Blocks for the first `length` tokens, if need be those of somebody whom the policy names. */
  #makeRoom(sequence: Sequence, state: SequenceState, length: number, shares: readonly Share[]): boolean {
    while (!state.grow(length)) if (!this.#takeMemoryFor(sequence, shares)) return false;
    return true;
  }

  /** Takes the memory of somebody whom the policy names for a sequence; false where that helps nothing now. */
  #takeMemoryFor(sequence: Sequence, shares: readonly Share[]): boolean {
    // What a preemption gives back may still be in use by a step in flight: one at a time.
    if (this.flights.isReleasing) return false;
    const candidates = this.running.filter((one) => !shares.some(({ sequence: { request } }) => request === one));
    const victim = this.#options.policy.victim(this.#view, sequence, candidates);
    // Nobody whose rows stand in the plan already, an answer to the same prompt for example.
    if (victim === undefined || !candidates.includes(victim)) return false;
    this.preempt(victim);
    return victim !== sequence.request;
  }
}

function wasNotRun(outcome: StepResult | Error): boolean {
  return outcome instanceof StepError && outcome.reason !== "failed";
}
