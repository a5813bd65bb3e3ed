/**
 * What running sequences hold: a sampler slot and memory. A request starts with what the prefix tree has of its prompt; its
 * answers are forked off where the prompt ends; whoever leaves, for good or to wait again, gives everything back by one
 * path.
 */
import { invariant } from "../errors.ts";
import type { BlockPool } from "../state/block-pool.ts";
import type { Flights } from "./flights.ts";
import { PrefixCache } from "./prefix-cache.ts";
import type { EngineRequest, Sequence } from "./request.ts";
import type { SchedulerOptions, Share } from "./share.ts";

const NONE: readonly number[] = [];

export class Residents {
  readonly prefixes: PrefixCache;
  readonly #flights: Flights;
  readonly #slots: SamplerSlots;

  constructor({ groups, prefixCache, swap, limits, drafting = [] }: SchedulerOptions, flights: Flights) {
    this.#flights = flights;
    this.prefixes = new PrefixCache(groups, prefixCache, swap);
    this.#slots = new SamplerSlots(limits.maxSequences, 1 + drafting.length);
  }

  /** Sampler slots that nobody holds. */
  get seats(): number {
    return this.#slots.free;
  }

  /** A slot for each answer, memory for the one that computes the prompt; false where there are too few slots. */
  start(request: EngineRequest): boolean {
    const answers = request.unfinished;
    const [first] = answers;
    invariant(first !== undefined && request.status === "waiting", "a request is started that does not wait");
    if (answers.length > this.#slots.free) return false;
    for (const answer of answers) answer.slot = this.#slots.take();
    this.prefixes.begin(first);
    return true;
  }

  /** Once the prompt is in memory, the other answers get theirs of it. `makeRoom`: false where no block can be had. */
  fork(request: EngineRequest, makeRoom: (answer: Sequence) => boolean): void {
    const prompt = request.work.prompt.length;
    if (!request.hasUnforked) return;
    const parent = request.sequences.find(({ state, computed }) => state !== undefined && computed === prompt);
    if (parent?.state === undefined) return;
    for (const answer of request.unforked) {
      do answer.state = parent.state.fork(prompt);
      while (answer.state === undefined && makeRoom(answer));
      if (answer.state === undefined) return;
      answer.computed = answer.planned = prompt;
      this.prefixes.fork(parent, answer);
    }
    if (parent.finished) this.drop(parent);
  }

  /** A step has given a sequence what its share was for: that enters the prefix tree, or the sequence has ended. */
  keep({ sequence, state }: Share, hasEnded: boolean): void {
    if (sequence.state !== state) return;
    if (hasEnded) this.drop(sequence);
    else {
      this.prefixes.enter(sequence, this.#later(sequence));
      // Only now: what a window has passed, or a later border follows, may serve others.
      state.slide(sequence.computed);
    }
  }

  /** The one path on which a sequence's slot and memory become free. */
  drop(sequence: Sequence): void {
    const { state, slot, isOpen, lastStep, drafts } = sequence;
    if (slot >= 0) this.#slots.giveBack(slot, [isOpen, ...drafts.map((draft) => draft.isOpen)]);
    for (const draft of drafts) draft.forget();
    this.prefixes.leave(sequence, this.#later(sequence));
    sequence.slot = -1;
    sequence.isOpen = sequence.isDrafted = false;
    sequence.coming.length = sequence.computed = sequence.planned = 0;
    sequence.state = undefined;
    if (state !== undefined) this.#flights.whenDone(lastStep, () => state.release());
  }

  /** The sampler slots that a program's next plan must close; it may open them again. */
  takeClosing(program: number): readonly number[] {
    return this.#slots.takeClosing(program);
  }

  /** Releases a block of a sequence when no step names it any more. */
  #later({ lastStep }: Sequence): (pool: BlockPool, block: number) => void {
    return (pool, block) => this.#flights.whenDone(lastStep, () => pool.release(block));
  }
}

/** Sampler slots: an answer holds one while it runs, of the same number in each program. */
class SamplerSlots {
  readonly #free: number[];
  readonly #toClose: readonly Set<number>[];

  constructor(count: number, programs: number) {
    this.#toClose = Array.from({ length: programs }, () => new Set());
    this.#free = Array.from({ length: count }, (_, i) => count - 1 - i);
  }

  get free(): number {
    return this.#free.length;
  }

  /** −1 where none is free. */
  take(): number {
    return this.#free.pop() ?? -1;
  }

  /** `isOpen`: in which programs. */
  giveBack(slot: number, isOpen: readonly boolean[]): void {
    this.#free.push(slot);
    for (const [program, slots] of this.#toClose.entries()) if (isOpen[program] === true) slots.add(slot);
  }

  takeClosing(program: number): readonly number[] {
    const closing = this.#toClose[program];
    if (closing === undefined || closing.size === 0) return NONE;
    const slots = [...closing];
    closing.clear();
    return slots;
  }
}
