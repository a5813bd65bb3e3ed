/**
 * What a drafting model does for a sequence: it follows the known tokens, then its own samples, a row a step, until it has
 * as many as are wanted or isn't sure any more (Leviathan et al. 2023). It draws with the answer's own seed and places, so
 * with the same noise, which brings its samples near the answer's (Daliri et al. 2024). It counts no penalties: it only
 * guesses, and the answer's own samples decide. Heads do the same with trees (head-draft.ts).
 */
import type { SamplerParams, StepResult } from "../../backend/contract.ts";
import type { StepPlanBuffer } from "../../backend/step-plan.ts";
import { chain, type DraftTree, merge } from "../../decode/speculative/draft-tree.ts";
import type { ModelMethod } from "../../decode/speculative/methods.ts";

export interface DraftingModel {
  readonly method: ModelMethod;
  /** Filled anew for each of its steps. */
  readonly plan: StepPlanBuffer;
  /** Rows of a step. */
  readonly stepTokens: number;
  /** Tokens of a draft, one behind the other, at most. */
  readonly depth: number;
  /** A draft ends where the model gives its sample less. */
  readonly minProbability: number;
}

/** What an answer gives to a model that drafts for it. */
export interface DraftedAnswer {
  readonly tokens: Int32Array;
  readonly slot: number;
  readonly params: SamplerParams;
}

/** Where a draft ends. */
export interface DraftEnd {
  readonly depth: number;
  readonly minProbability: number;
  readonly stopIds: Int32Array;
}

/** How far one drafting model has come with one sequence. */
export interface SequenceDraft {
  /** Places of known tokens that it has computed; and those that steps in flight will have computed. */
  computed: number;
  planned: number;
  /** The sequence's sampler slot in this model's program. */
  readonly isOpen: boolean;
  /** The draft stands behind the sequence's first `behind` tokens. */
  readonly behind: number;
  isDone: boolean;
  /** Tokens of the draft one behind the other. */
  readonly depth: number;
  readonly tree: DraftTree | undefined;
  /** Whether it lags: its own memory of the known tokens must be filled, and may be shared. */
  readonly lags: boolean;
  /** Rows that it lacks for its next tokens. */
  readonly pending: number;
  /** A draft that follows the sequence's known tokens, unless that is what it is already. */
  begin(length: number): void;
  /** Places in memory that its next `count` rows need. */
  places(count: number): number;
  /** Adds its next `count` rows, and what is wanted of them. */
  addRows(plan: StepPlanBuffer, answer: DraftedAnswer, count: number): (result: StepResult, end: DraftEnd) => void;
  /** Keeps what it computed of the first `length` places, as far as its tokens are those that came. */
  keep(tokens: Int32Array, length: number): void;
  /** A step that never ran is as if it had not been planned; the backend has closed its sampler slot. */
  rewind(): void;
  /** The sequence's memory is gone, and its slot. */
  forget(): void;
}

export class ModelDraft implements SequenceDraft {
  computed = 0;
  planned = 0;
  isOpen = false;
  behind = -1;
  isDone = false;
  readonly lags: boolean;
  /** The draft, and the probability that the model gave each token. */
  #tokens: number[] = [];
  #chances: number[] = [];

  /** `lags`: false where it reads the target's own memory (skipped layers), which is there already. */
  constructor(lags = true) {
    this.lags = lags;
  }

  get depth(): number {
    return this.#tokens.length;
  }

  get tree(): DraftTree | undefined {
    return this.#tokens.length === 0 ? undefined : chain(this.#tokens, this.#chances);
  }

  begin(length: number): void {
    if (this.behind === length) return;
    this.behind = length;
    this.#tokens = [];
    this.#chances = [];
    this.isDone = false;
    if (!this.lags) this.computed = this.planned = length - 1;
  }

  get pending(): number {
    return this.behind + this.#tokens.length - this.planned;
  }

  places(count: number): number {
    return this.planned + count;
  }

  addRows(
    plan: StepPlanBuffer,
    { tokens, slot, params }: DraftedAnswer,
    count: number,
  ): (result: StepResult, end: DraftEnd) => void {
    const first = this.planned;
    const known = Math.min(first + count, this.behind);
    if (first < known) plan.addRows(tokens.subarray(first, known), first);
    const drafted = Math.max(first, this.behind);
    plan.addRows(this.#tokens.slice(drafted - this.behind, first + count - this.behind), drafted);
    this.planned = first + count;
    if (this.pending > 0) return () => this.#arrive();
    if (!this.isOpen) {
      const unpenalised = { repetitionPenalty: 1, presencePenalty: 0, frequencyPenalty: 0, minTokens: 0 };
      const none = new Int32Array();
      plan.addOpen({ slot, params: { ...params, ...unpenalised }, prompt: none, answer: none });
      this.isOpen = true;
    }
    const sample = plan.addSample(plan.tokenCount - 1, slot);
    return (result, end) => this.#take(result, sample, end);
  }

  #arrive(): void {
    this.computed = this.planned;
  }

  /** Takes in a step: its rows are computed, and its sample is the draft's next token, if the model is sure enough. */
  #take(result: StepResult, sample: number, { depth, minProbability, stopIds }: DraftEnd): void {
    this.#arrive();
    const id = result.sampleIds[sample] ?? -1;
    const chance = Math.exp(result.sampleLogprobs[sample] ?? -Infinity);
    const isSure = id >= 0 && chance >= minProbability;
    if (isSure) {
      this.#tokens.push(id);
      this.#chances.push(chance);
    }
    this.isDone = !isSure || this.#tokens.length >= depth || stopIds.includes(id);
  }

  keep(tokens: Int32Array, length: number): void {
    let end = Math.min(this.computed, length);
    const wrong = this.#tokens.findIndex((token, i) => token !== tokens[this.behind + i]);
    if (wrong >= 0) end = Math.min(end, this.behind + wrong);
    this.computed = this.planned = end;
  }

  rewind(): void {
    this.planned = this.computed;
    this.isOpen = false;
  }

  forget(): void {
    this.computed = this.planned = 0;
    this.isOpen = false;
    this.behind = -1;
  }
}

/** What drafting models propose behind the first `length` tokens; undefined: nothing. */
export function proposalOf(drafts: readonly SequenceDraft[], length: number): DraftTree | undefined {
  return merge(drafts.flatMap(({ behind, tree }) => (behind === length && tree !== undefined ? [tree] : [])));
}
