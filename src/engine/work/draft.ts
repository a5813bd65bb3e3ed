/**
 * What a drafting model does for a sequence: it follows the known tokens, then its own samples, a row a step, until it has
 * as many as are wanted or isn't sure any more (Leviathan et al. 2023). It draws with the answer's own seed and places, so
 * with the same noise, which brings its samples near the answer's (Daliri et al. 2024). It counts no penalties: it only
 * guesses, and the answer's own samples decide.
 */
import type { SamplerParams, StepResult } from "../../backend/contract.ts";
import type { StepPlanBuffer } from "../../backend/step-plan.ts";
import { chain, type DraftTree, merge } from "../../decode/speculative/draft-tree.ts";

export interface DraftingModel {
  /** Filled anew for each of its steps. */
  readonly plan: StepPlanBuffer;
  /** Rows of a step. */
  readonly stepTokens: number;
  /** Tokens of a draft, at most. */
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

export class ModelDraft {
  /** Places whose keys and values this model has put in memory; and those that steps in flight will have put there. */
  computed = 0;
  planned = 0;
  /** The sequence's sampler slot in this model's program. */
  isOpen = false;
  /** The draft: tokens behind the sequence's first `behind` ones. */
  behind = -1;
  tokens: number[] = [];
  /** The probability that the model gave each. */
  chances: number[] = [];
  isDone = false;

  /** A draft that follows the sequence's known tokens, unless that is what it is already. */
  begin(length: number): void {
    if (this.behind === length) return;
    this.behind = length;
    this.tokens = [];
    this.chances = [];
    this.isDone = false;
  }

  /** Rows that it lacks for its next token. */
  get pending(): number {
    return this.behind + this.tokens.length - this.planned;
  }

  /** Adds its next `count` rows, and their sample where they reach the draft's end; gives the sample's index, or −1. */
  addRows(plan: StepPlanBuffer, { tokens, slot, params }: DraftedAnswer, count: number): number {
    const first = this.planned;
    const known = Math.min(first + count, this.behind);
    if (first < known) plan.addRows(tokens.subarray(first, known), first);
    const drafted = Math.max(first, this.behind);
    plan.addRows(this.tokens.slice(drafted - this.behind, first + count - this.behind), drafted);
    this.planned = first + count;
    if (this.pending > 0) return -1;
    if (!this.isOpen) {
      const unpenalised = { repetitionPenalty: 1, presencePenalty: 0, frequencyPenalty: 0, minTokens: 0 };
      const none = new Int32Array();
      plan.addOpen({ slot, params: { ...params, ...unpenalised }, prompt: none, answer: none });
      this.isOpen = true;
    }
    return plan.addSample(plan.tokenCount - 1, slot);
  }

  /** Takes in a step: its rows are computed, and its sample is the draft's next token, if the model is sure enough. */
  take(result: StepResult, sample: number, most: number, minProbability: number, stopIds: Int32Array): void {
    this.computed = this.planned;
    if (sample < 0) return;
    const id = result.sampleIds[sample] ?? -1;
    const chance = Math.exp(result.sampleLogprobs[sample] ?? -Infinity);
    const isSure = id >= 0 && chance >= minProbability;
    if (isSure) {
      this.tokens.push(id);
      this.chances.push(chance);
    }
    this.isDone = !isSure || this.tokens.length >= most || stopIds.includes(id);
  }

  /** Keeps what it computed of the first `length` places, as far as its tokens are those that came. */
  keep(tokens: Int32Array, length: number): void {
    let end = Math.min(this.computed, length);
    const wrong = this.tokens.findIndex((token, i) => token !== tokens[this.behind + i]);
    if (wrong >= 0) end = Math.min(end, this.behind + wrong);
    this.computed = this.planned = end;
  }

  /** A step that never ran is as if it had not been planned; the backend has closed its sampler slot. */
  rewind(): void {
    this.planned = this.computed;
    this.isOpen = false;
  }

  /** The sequence's memory is gone, and its slot. */
  forget(): void {
    this.computed = this.planned = 0;
    this.isOpen = false;
    this.behind = -1;
  }
}

/** What the drafting models propose behind the first `length` tokens; undefined: nothing. */
export function proposalOf(drafts: readonly ModelDraft[], length: number): DraftTree | undefined {
  const chains = drafts.filter(({ behind, tokens }) => behind === length && tokens.length > 0);
  return merge(chains.map(({ tokens, chances }) => chain(tokens, chances)));
}
