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
}

/** Proposes what may follow. `tokens` are the sequence's, prompt and answer. */
export interface Drafter {
  /** A tree of at most `room` nodes; undefined where it has nothing to say. */
  propose(tokens: Int32Array, room: number): DraftTree | undefined;
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

/** One tree of several chains: what they begin with alike is there once. */
export function mergeChains(chains: readonly (readonly number[])[]): DraftTree {
  const tokens: number[] = [];
  const parents: number[] = [];
  for (const chain of chains) {
    let at = -1;
    for (const token of chain) {
      let next = tokens.findIndex((one, i) => one === token && parents[i] === at);
      if (next < 0) next = tokens.push(token) - 1;
      parents[next] = at;
      at = next;
    }
  }
  return { tokens, parents };
}

/** Whether each node follows the one before. */
export function isChain({ parents }: DraftTree): boolean {
  return parents.every((parent, i) => parent === i - 1);
}

/** The nodes that the samples confirm, in order; `sampleAt(-1)` is the root's sample. */
export function verify(tree: DraftTree, sampleAt: (node: number) => number): number[] {
  const path: number[] = [];
  for (let at = -1; ;) {
    const sample = sampleAt(at);
    const next = tree.tokens.findIndex((token, i) => tree.parents[i] === at && token === sample);
    if (next < 0) return path;
    path.push(next);
    at = next;
  }
}
