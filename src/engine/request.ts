/**
 * What the engine works on. A request is a group of sequences over one prompt, one for each answer; while its prompt is
 * computed, one of them does it for all. A sequence has known tokens, of which `computed` are in the KV cache, and every
 * step lets `computed` catch up: that one rule covers prefill, chunked prefill, decode, drafts, and the way back after a
 * preemption.
 */
import type { StepResult } from "../backend/contract.ts";
import type { StepPlanBuffer } from "../backend/step-plan.ts";
import { type DraftTree, merge } from "../decode/speculative/draft-tree.ts";
import type { PrefixNode } from "../state/prefix-tree.ts";
import type { SequenceState } from "../state/sequence-state.ts";
import type { HeldAdapter } from "./adapters.ts";
import type { Work, WorkEvent } from "./client.ts";
import type { Given } from "./given.ts";
import type { SequenceDraft } from "./work/draft.ts";

/** A sample of a step in flight. */
export interface SampleReference {
  readonly step: number;
  readonly sample: number;
}

export class Sequence {
  readonly request: EngineRequest;
  /** Which of the request's answers. */
  readonly index: number;
  /** `[capacity]`, of which the first `length` are known. */
  readonly tokens: Int32Array;
  length: number;
  /** Samples of steps in flight: the tokens behind the known ones. */
  readonly coming: SampleReference[] = [];
  /** Tokens whose keys and values are in memory; and those that steps in flight will have put there. */
  computed = 0;
  planned = 0;
  /** Tokens that a finished step has put in memory for good, blocks of them in the prefix tree, and where they end there. */
  stored = 0;
  entered = 0;
  prefix: PrefixNode | undefined;
  /** Its memory; without one it waits: to be admitted, or to be forked off the sequence that computes the prompt. */
  state: SequenceState | undefined;
  /** The sampler slot that it holds, −1: none; whether it is open, and how many of the answer's tokens it counts. */
  slot = -1;
  isOpen = false;
  committed = 0;
  /** The last step that names its memory. */
  lastStep = 0;
  /** A draft of it is in flight, or made by one: what follows depends on more than a sample's id. */
  isDrafted = false;
  finished = false;
  /** How far each drafting model has come with it. */
  readonly drafts: readonly SequenceDraft[];

  constructor(request: EngineRequest, index: number, drafts: readonly SequenceDraft[]) {
    this.request = request;
    this.drafts = drafts;
    this.index = index;
    this.tokens = new Int32Array(request.capacity);
    this.tokens.set(request.work.prompt);
    this.length = request.work.prompt.length;
  }

  /** Tokens that are known or coming. */
  get reach(): number {
    return this.length + this.coming.length;
  }

  /** What stands for the tokens `from … to − 1` where prefixes are compared: their ids, negative where a row was given. */
  keys(from: number, to: number): Int32Array {
    const { given } = this.request;
    if (given.length === 0) return this.tokens.subarray(from, to);
    const keys = this.tokens.slice(from, to);
    for (const { begin, end, key } of given) {
      if (begin < to && end > from) keys.fill(key, Math.max(0, begin - from), end - from);
    }
    return keys;
  }

  /** As many of its next `count` rows as leave no span cut in two; if need be more, but at most `room`. */
  uncut(count: number, room: number): number {
    const end = this.planned + count;
    const span = this.request.work.spans?.find((one) => one.begin < end && end < one.end);
    if (span === undefined) return count;
    if (span.begin > this.planned) return span.begin - this.planned;
    return span.end - this.planned <= room ? span.end - this.planned : 0;
  }

  /** What its kinds of work tell to be likely behind the known tokens. */
  get likely(): DraftTree | undefined {
    return merge(this.request.kinds.flatMap((kind) => kind.likely?.(this) ?? []));
  }

  /** Rows that the next step may compute. An answer's last possible token needs none. */
  get pending(): number {
    const { capacity, work } = this.request;
    const end = work.generate === undefined ? this.reach : Math.min(this.reach, capacity - 1);
    return Math.max(0, end - this.planned);
  }
}

export class EngineRequest {
  readonly work: Work;
  readonly listen: (event: WorkEvent) => void;
  readonly kinds: readonly WorkKind[];
  /** One for each answer; a score alone has one, too. */
  readonly sequences: readonly Sequence[];
  status: "waiting" | "running" | "ended" = "waiting";
  /** The most blocks that it may come to need, for each state group. */
  need: readonly number[] = [];
  /** Tokens of the prompt that were in memory when it first started; −1: it has not started yet. */
  cachedTokens = -1;
  /** Of the prompt: a score that was told already. */
  scored = 0;
  /** Steps that gave one of its answers tokens, tokens that were drafted for it, and those that came true. */
  steps = 0;
  drafted = 0;
  accepted = 0;
  /** Of these, the ones from its own prediction. */
  predicted = { drafted: 0, accepted: 0 };
  /** Set by a kind of work: the request can't go on. */
  failure: Error | undefined;
  /** Rows of its prompt that are no tokens' but the caller's. */
  given: readonly Given[] = [];
  /** Held from the submission to the end. */
  adapter: HeldAdapter | undefined;

  constructor(
    work: Work,
    listen: (event: WorkEvent) => void,
    kinds: readonly WorkKind[],
    makeDrafts: () => readonly SequenceDraft[] = () => [],
  ) {
    this.work = work;
    this.listen = listen;
    this.kinds = kinds;
    const answers = work.generate?.samplers.length ?? 1;
    this.sequences = Array.from({ length: answers }, (_, index) => new Sequence(this, index, makeDrafts()));
  }

  /** Prefixes are shared in memory under an equal one: what the caller says, and the adapter that computed them. */
  get salt(): string {
    return saltOf(this.work.cacheSalt, this.adapter);
  }

  /** Positions that one sequence of the request may come to hold. */
  get capacity(): number {
    return this.work.prompt.length + (this.work.generate?.maxTokens ?? 0);
  }

  get unfinished(): readonly Sequence[] {
    return this.sequences.filter(({ finished }) => !finished);
  }

  get isFinished(): boolean {
    return this.sequences.every(({ finished }) => finished);
  }

  /** Whether some of its answers wait to be forked off another. */
  get hasUnforked(): boolean {
    return this.sequences.some(isUnforked);
  }

  /** Answers that wait to be forked off the sequence that computes the prompt for all. */
  get unforked(): readonly Sequence[] {
    return this.sequences.filter(isUnforked);
  }
}

function isUnforked({ finished, state }: Sequence): boolean {
  return !finished && state === undefined;
}

export function saltOf(cacheSalt = "", adapter?: HeldAdapter): string {
  return `${adapter?.serial ?? 0} ${cacheSalt}`;
}

/** Some rows of a sequence in a step: its tokens `first … first + count − 1`, then a draft's nodes. */
export interface Rows {
  readonly step: number;
  readonly sequence: Sequence;
  readonly first: number;
  readonly count: number;
  /** The first one's index in the step; the others follow. */
  readonly row: number;
  readonly draft: DraftTree | undefined;
}

/**
 * A kind of work: which outputs it wants of the rows that a sequence computes, and what they mean. The scheduler knows
 * nothing else of it. Each file of work/ is one.
 */
export interface WorkKind {
  /** Output rows that it wants of the next `count` rows, drafts aside. */
  outputs(sequence: Sequence, count: number): number;
  /** Rows from the beginning that need not be computed, where the prefix tree has them. */
  skippable(sequence: Sequence): number;
  /** What it can tell to be likely behind the known tokens, with chances. */
  likely?(sequence: Sequence): DraftTree | undefined;
  /** A draft without the nodes that it can tell to be wrong. */
  trim?(sequence: Sequence, draft: DraftTree): DraftTree;
  /** Asks for outputs; undefined where it wants nothing of these rows. */
  ask(rows: Rows, plan: StepPlanBuffer): Asked | undefined;
}

/** What a kind of work has asked of a step. */
export interface Asked {
  /** The sample at a draft's root; those at its nodes follow. */
  readonly root?: number;
  /** Takes in the outputs. */
  take(result: StepResult): Taken;
  /** Masks of its samples: made when every earlier step has been taken in, while this one runs. */
  readonly masks?: readonly MaskWish[];
}

export interface MaskWish {
  readonly sample: number;
  /** The allowed tokens, one bit each; "drop": nobody wants the sample any more. */
  make(): Uint32Array | "drop";
}

/** Which nodes of the draft, from the root down, turned out to be the sequence's next tokens. */
export type Taken = readonly number[];
