/**
 * How often drafts come true, measured. A drafter gives each node a chance; nodes of about equal chance are a class, and
 * what the sequence really went on with says how often that class is right. It is counted for every proposal, verified or
 * not: the tokens don't depend on it. A sequence's own counts stand upon those of all sequences, as those stand upon what
 * the drafter says, so that little experience changes little.
 */
import { childOf, type DraftTree } from "./draft-tree.ts";

const CLASSES = 20;
/** What is believed before weighs as much as so many trials. */
const PRIOR = 4;
/** Beyond so many trials the older ones count half: texts change. */
const MEMORY = 64;

export class Acceptance {
  readonly #above: Acceptance | undefined;
  readonly #trials = new Float64Array(CLASSES);
  readonly #hits = new Float64Array(CLASSES);
  /** A proposal, made at this length, that is not decided yet; and the last node that came true. */
  #open: { readonly tree: DraftTree; readonly length: number; node: number; depth: number } | undefined;

  constructor(above?: Acceptance) {
    this.#above = above;
  }

  /** The measured chance of nodes to which their drafter gives this one. */
  chance(stated: number): number {
    const one = classOf(stated);
    const before = this.#above?.chance(stated) ?? stated;
    return ((this.#hits[one] ?? 0) + PRIOR * before) / ((this.#trials[one] ?? 0) + PRIOR);
  }

  /** A tree with measured chances. */
  measured(tree: DraftTree): DraftTree {
    return { ...tree, chances: tree.tokens.map((_, node) => this.chance(tree.chances?.[node] ?? 0)) };
  }

  /** Something was proposed behind so many tokens. While an earlier proposal is undecided, that one is watched. */
  watch(tree: DraftTree, length: number): void {
    this.#open ??= { tree, length, node: -1, depth: 0 };
  }

  /** The sequence has these tokens now. */
  compare(tokens: Int32Array): void {
    const open = this.#open;
    if (open === undefined) return;
    while (open.length + open.depth < tokens.length) {
      const { tree } = open;
      const next = childOf(tree, open.node, tokens[open.length + open.depth] ?? -1);
      let hasChildren = false;
      for (let child = open.node + 1; child < tree.tokens.length; child++) {
        if (tree.parents[child] !== open.node) continue;
        hasChildren = true;
        this.#count(tree.chances?.[child] ?? 0, child === next);
      }
      if (next < 0 || !hasChildren) {
        this.#open = undefined;
        return;
      }
      open.node = next;
      open.depth += 1;
    }
  }

  #count(stated: number, hit: boolean): void {
    if (this.#above !== undefined) this.#above.#count(stated, hit);
    const one = classOf(stated);
    const fade = (this.#trials[one] ?? 0) < MEMORY ? 1 : 0.5;
    this.#trials[one] = fade * (this.#trials[one] ?? 0) + 1;
    this.#hits[one] = fade * (this.#hits[one] ?? 0) + (hit ? 1 : 0);
  }
}

function classOf(stated: number): number {
  return Math.min(CLASSES - 1, Math.floor(stated * CLASSES));
}
