/**
 * What a drafting head does for a sequence (models/heads/): its row of place i has the token of place i + 1 and the target's
 * vector of place i; further ahead it takes its own vectors. A step computes the rows of one depth of a tree: behind each
 * node that is worth it the likeliest tokens become nodes. "dynamic" goes on from the likeliest nodes of a depth (EAGLE-2, Li
 * et al. 2024), "static" from those of a fixed shape (EAGLE). At a temperature tokens are ranked with the noise that their
 * answer will be drawn with. Where prompts part right behind a shared block, the block's last row may have the other's token:
 * a draft may be worse by that, nothing else.
 */
import { MAX_TOP_LOGPROBS, type StepResult } from "../../backend/contract.ts";
import { gumbel } from "../../backend/reference/sample.ts";
import type { StepPlanBuffer } from "../../backend/step-plan.ts";
import { type DraftTree, pathTo } from "../../decode/speculative/draft-tree.ts";
import type { DraftedAnswer, DraftEnd, SequenceDraft } from "./draft.ts";

export interface TreeShape {
  readonly growth: "dynamic" | "static";
  /** Rows of a step beyond the known ones, and children of a node; 1: a chain. */
  readonly beam: number;
  /** Columns of its vectors. */
  readonly width: number;
}

/** The head's input `feature` and its output of this name are the only ones that its program has beside the logits. */
const FEATURE = 0;
/** Ids that are ranked for a node. */
const RANKED = 8;

export class HeadDraft implements SequenceDraft {
  computed = 0;
  planned = 0;
  readonly isOpen = false;
  readonly lags = true;
  behind = -1;
  isDone = false;
  depth = 0;
  readonly #shape: TreeShape;
  readonly #ids: Int32Array | undefined;
  #tokens: number[] = [];
  #parents: number[] = [];
  #chances: number[] = [];
  /** The chance that a node and all before it come true, and in a static tree the product of ranks on its path. */
  #reaches: number[] = [];
  #ranks: number[] = [];
  /** The vector that a node's row begins with: what its parent's row gave. */
  #vectors: Float32Array[] = [];
  /** Nodes whose rows come next; where the rows of nodes lie, and how many there are. */
  #frontier: number[] = [];
  #slots: number[] = [];
  #rows = 0;

  /** `ids`: the target's for those of the head, where it has others. */
  constructor(shape: TreeShape, ids?: Int32Array) {
    this.#shape = shape;
    this.#ids = ids;
  }

  get tree(): DraftTree | undefined {
    if (this.#tokens.length === 0) return undefined;
    return { tokens: this.#tokens, parents: this.#parents, chances: this.#chances };
  }

  begin(length: number): void {
    if (this.behind === length) return;
    this.behind = length;
    this.isDone = false;
    this.depth = 0;
    this.#tokens = [];
    this.#parents = [];
    this.#chances = [];
    this.#reaches = [];
    this.#ranks = [];
    this.#vectors = [];
    this.#frontier = [];
    this.#slots = [];
    this.#rows = 0;
  }

  get pending(): number {
    return this.planned < this.behind - 1 ? this.behind - 1 - this.planned : this.#frontier.length;
  }

  places(count: number): number {
    return this.planned + this.#rows + count;
  }

  addRows(plan: StepPlanBuffer, answer: DraftedAnswer, count: number): (result: StepResult, end: DraftEnd) => void {
    const asked: { readonly node: number; readonly logprob: number; readonly output: number }[] = [];
    const ask = (node: number): void => {
      const row = plan.tokenCount - 1;
      asked.push({ node, logprob: plan.addLogprob(row, 0, RANKED), output: plan.addOutput(FEATURE, row) });
    };
    if (this.planned < this.behind - 1) {
      const first = this.planned;
      plan.addRows(answer.tokens.subarray(first + 1, first + 1 + count), first);
      this.planned += count;
      if (this.planned === this.behind - 1) ask(-1);
    } else {
      for (const node of this.#frontier.slice(0, count)) {
        this.#addNode(plan, node);
        ask(node);
      }
    }
    return (result, end) => {
      this.computed = this.planned;
      if (asked.length === 0) return;
      for (const { node, logprob, output } of asked) this.#grow(result, node, logprob, output, answer);
      this.depth += 1;
      this.#choose(end);
    };
  }

  /** A node's row: it sees the known places, and the rows of the nodes before it. */
  #addNode(plan: StepPlanBuffer, node: number): void {
    const base = this.behind - 1;
    const isChain = this.#shape.beam === 1;
    const slot = base + this.#rows++;
    this.#slots[node] = slot;
    const path = pathTo({ tokens: this.#tokens, parents: this.#parents }, node);
    const row = plan.addRow(this.#tokens[node] ?? -1, base + path.length - 1, slot, isChain ? slot + 1 : base);
    if (!isChain) for (const seen of path) plan.addListed(this.#slots[seen] ?? slot);
    plan.addInput(FEATURE, row, this.#vectors[node] ?? new Float32Array());
  }

  /** The likeliest tokens behind a node become its children. */
  #grow(result: StepResult, node: number, logprob: number, output: number, answer: DraftedAnswer): void {
    const { beam, width } = this.#shape;
    const vector = (result.outputs[FEATURE] ?? new Float32Array()).slice(output * width, (output + 1) * width);
    for (const [rank, { id, chance }] of this.#rank(result, logprob, answer).slice(0, beam).entries()) {
      this.#tokens.push(id);
      this.#parents.push(node);
      this.#chances.push(chance);
      this.#reaches.push((this.#reaches[node] ?? 1) * chance);
      this.#ranks.push((this.#ranks[node] ?? 1) * (1 + rank));
      this.#vectors.push(vector);
    }
  }

  /** The likeliest ids behind a row and their chances; with noise, those that win it and how clearly. */
  #rank(result: StepResult, logprob: number, { params }: DraftedAnswer): { id: number; chance: number }[] {
    const { temperature, seed, sampleIndex } = params;
    const at = logprob * MAX_TOP_LOGPROBS;
    const found = Array.from({ length: RANKED }, (_, i) => {
      const id = result.logprobTopIds[at + i] ?? -1;
      return { id: this.#ids?.[id] ?? id, score: result.logprobTopLogprobs[at + i] ?? -Infinity };
    });
    if (temperature === 0) return found.map(({ id, score }) => ({ id, chance: Math.exp(score) }));
    const noisy = found.map(({ id, score }) => ({
      id,
      score: score / temperature + gumbel(seed, sampleIndex, this.behind + this.depth, id),
    }));
    noisy.sort((a, b) => b.score - a.score);
    const most = noisy[0]?.score ?? 0;
    const sum = noisy.reduce((total, { score }) => total + Math.exp(score - most), 0);
    return noisy.map(({ id, score }) => ({ id, chance: Math.exp(score - most) / sum }));
  }

  /** Which of the newest nodes get rows of their own, and whether any do. */
  #choose({ depth, minProbability, stopIds }: DraftEnd): void {
    const { beam, growth } = this.#shape;
    const reach = (node: number): number => this.#reaches[node] ?? 0;
    const newest = this.#tokens.flatMap((token, node) =>
      depthOf(this.#parents, node) === this.depth && !stopIds.includes(token) ? [node] : [],
    );
    const rank = (node: number): number => (growth === "static" ? (this.#ranks[node] ?? Infinity) : -reach(node));
    newest.sort((a, b) => rank(a) - rank(b) || a - b);
    const kept =
      growth === "dynamic"
        ? newest.filter((node) => reach(node) >= minProbability)
        : newest.filter((node) => (this.#ranks[node] ?? Infinity) <= beam);
    this.#frontier = kept.slice(0, beam).sort((a, b) => a - b);
    this.isDone = kept.length === 0 || this.depth >= depth;
  }

  keep(_tokens: Int32Array, length: number): void {
    // Rows further ahead began with its own vectors: none of them is kept.
    this.computed = this.planned = Math.min(this.computed, length);
  }

  rewind(): void {
    this.planned = this.computed;
  }

  forget(): void {
    this.computed = this.planned = 0;
    this.behind = -1;
  }
}

function depthOf(parents: readonly number[], node: number): number {
  let depth = 1;
  for (let at = parents[node] ?? -1; at >= 0; at = parents[at] ?? -1) depth += 1;
  return depth;
}
