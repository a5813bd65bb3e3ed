/**
 * Drafts: tokens that may follow a sequence's last one, as a tree, and what a step's samples make of it. A sample is
 * drawn at the last token (the root) and at every node; the path of nodes that equal the sample before them is what the
 * sequence would have got without a draft (Leviathan et al. 2023 for chains, Miao et al. 2024 for trees; here the noise
 * is a function of position, so equality is the whole test). A plain step is a tree without nodes.
 */
import { invariant } from "../../errors.ts";

export interface DraftTree {
  readonly tokens: readonly number[];
  /** `parents[i] < i`: the node before node i; −1: the root. */
  readonly parents: readonly number[];
  /** How likely each node is right once its parent is, 0 to 1; absent: its drafter can't tell. */
  readonly chances?: readonly number[];
  /** The nodes that stand in the text which the request itself predicted. */
  readonly predicted?: ReadonlySet<number>;
}

/** Steps from the root to each node, the root's children being at 1. */
export function depthsOf({ parents }: DraftTree): number[] {
  const depths: number[] = [];
  for (const [i, parent] of parents.entries()) {
    invariant(parent >= -1 && parent < i, `node ${i} of a draft has the parent ${parent}`);
    depths.push((depths[parent] ?? 0) + 1);
  }
  return depths;
}

/** The nodes from the root's child down to `node`. */
export function pathTo({ parents }: DraftTree, node: number): number[] {
  const path: number[] = [];
  for (let at = node; at >= 0; at = parents[at] ?? -1) path.push(at);
  return path.reverse();
}

/** Whether each node follows the one before. */
export function isChain({ parents }: DraftTree): boolean {
  return parents.every((parent, i) => parent === i - 1);
}

/** Each token following the one before. */
export function chain(tokens: readonly number[], chances?: readonly number[]): DraftTree {
  return { tokens, parents: tokens.map((_, i) => i - 1), ...(chances && { chances }) };
}

/** The child of `node` that has this token; −1: none. */
export function childOf({ tokens, parents }: DraftTree, node: number, token: number): number {
  for (let i = node + 1; i < tokens.length; i++) if (parents[i] === node && tokens[i] === token) return i;
  return -1;
}

/** The nodes that the samples confirm, in order; `sampleAt(-1)` is the root's sample. */
export function verify(tree: DraftTree, sampleAt: (node: number) => number): number[] {
  const path: number[] = [];
  for (let at = -1; ; at = path.at(-1) ?? -1) {
    const next = childOf(tree, at, sampleAt(at));
    if (next < 0) return path;
    path.push(next);
  }
}

/** A part of a tree: the nodes that `keeps` names, of those whose parent is kept. */
export function cut(tree: DraftTree, keeps: (node: number) => boolean): DraftTree {
  const places = new Map<number, number>([[-1, -1]]);
  const kept: number[] = [];
  const parents: number[] = [];
  for (const node of tree.tokens.keys()) {
    const parent = places.get(tree.parents[node] ?? -1);
    if (parent === undefined || !keeps(node)) continue;
    places.set(node, kept.length);
    kept.push(node);
    parents.push(parent);
  }
  const { tokens, chances, predicted } = tree;
  return {
    tokens: kept.map((node) => tokens[node] ?? -1),
    parents,
    ...(chances && { chances: kept.map((node) => chances[node] ?? 0) }),
    ...(predicted && { predicted: new Set([...predicted].flatMap((node) => places.get(node) ?? [])) }),
  };
}

/** The chance of each node that it and all before it come true. */
export function pathChances({ parents, chances = [] }: DraftTree): number[] {
  const all: number[] = [];
  for (const [node, parent] of parents.entries()) all.push((all[parent] ?? 1) * (chances[node] ?? 0));
  return all;
}

/** The `most` likeliest nodes of a tree. */
export function likeliest(tree: DraftTree, most: number): DraftTree {
  if (tree.tokens.length <= most) return tree;
  const all = pathChances(tree);
  // A child is never likelier than its parent, and stands behind it.
  const order = [...all.keys()].sort((a, b) => (all[b] ?? 0) - (all[a] ?? 0) || a - b);
  const kept = new Set(order.slice(0, most));
  return cut(tree, (node) => kept.has(node));
}

/** Several drafts as one: equal paths are one path, with the better chance (SpecInfer, Miao et al. 2024). */
export function merge(trees: readonly DraftTree[]): DraftTree | undefined {
  const [first, ...others] = trees;
  if (first === undefined || others.length === 0) return first;
  const tokens = [...first.tokens];
  const parents = [...first.parents];
  const chances = first.tokens.map((_, node) => first.chances?.[node] ?? 0);
  const predicted = new Set(first.predicted);
  for (const tree of others) {
    const places: number[] = [];
    for (const [node, token] of tree.tokens.entries()) {
      const parent = places[tree.parents[node] ?? -1] ?? -1;
      const chance = tree.chances?.[node] ?? 0;
      let place = childOf({ tokens, parents }, parent, token);
      if (place < 0) {
        place = tokens.push(token) - 1;
        parents.push(parent);
        chances.push(chance);
      } else chances[place] = Math.max(chances[place] ?? 0, chance);
      places.push(place);
      if (tree.predicted?.has(node)) predicted.add(place);
    }
  }
  return { tokens, parents, chances, ...(predicted.size > 0 && { predicted }) };
}
