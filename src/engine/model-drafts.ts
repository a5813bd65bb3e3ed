/**
 * How deep the drafting models shall draft: what was measured of them, and what it says. With s: a model is sure enough to go
 * on, a: its token is right, a draft of depth k gives 1 + Σ (s a)^i tokens for Σ s^(i−1) steps of the model and one step that
 * verifies (Leviathan et al. 2023, with the cost of drafting counted).
 */
import type { CostModel } from "../decode/speculative/cost-model.ts";
import { depthsOf, type DraftTree } from "../decode/speculative/draft-tree.ts";

/** A plain step can be prepared while the one before runs: drafting must promise more. */
const LEAST_GAIN = 1.02;
/** Beyond so many tokens the older ones count half. */
const MEMORY = 256;

export class ModelDrafts {
  // High at first, so that it is tried.
  readonly #sure = new Share(0.9);
  readonly #right = new Share(0.9);

  /** A model has made a draft of so many tokens, and would not go on. */
  made(tokens: number, isDone: boolean): void {
    this.#sure.count(tokens, tokens + (isDone ? 1 : 0));
  }

  verified(tree: DraftTree, taken: readonly number[]): void {
    const deepest = Math.max(0, ...depthsOf(tree));
    this.#right.count(taken.length, Math.min(deepest, taken.length + 1));
  }

  /** The depth that makes the most tokens a millisecond, for `sequences` together; 0: none. */
  depth(most: number, sequences: number, [answering, ...drafting]: readonly CostModel[]): number {
    const plain = answering?.cost(sequences);
    // A drafting model that has not run yet is tried.
    if (plain === undefined || drafting.length === 0) return most;
    const draftMs = drafting.reduce((sum, model) => sum + (model.cost(sequences) ?? 0), 0);
    const [sure, right] = [this.#sure.value, this.#right.value];
    let [best, depth] = [LEAST_GAIN / plain, 0];
    let [tokens, drafted, ms] = [1, 0, 0];
    for (let k = 1; k <= most; k++) {
      tokens += (sure * right) ** k;
      ms += sure ** (k - 1) * draftMs;
      drafted += sure ** k;
      const rate = tokens / (ms + (answering?.cost(sequences * (1 + drafted)) ?? 0));
      if (rate > best) [best, depth] = [rate, k];
    }
    return depth;
  }
}

/** Of how many something was so, the latest ones above all. */
class Share {
  #hits: number;
  #trials = 8;

  constructor(first: number) {
    this.#hits = first * this.#trials;
  }

  get value(): number {
    return this.#hits / this.#trials;
  }

  count(hits: number, trials: number): void {
    this.#hits += hits;
    this.#trials += trials;
    if (this.#trials < MEMORY) return;
    this.#hits /= 2;
    this.#trials /= 2;
  }
}
