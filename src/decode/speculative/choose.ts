/**
 * Which nodes of the proposed drafts are worth their rows, for all sequences of a step together: nodes are taken in order
 * of the chance that they come true, as many as make the most tokens a millisecond (goodput: SmartSpec, Liu et al. 2024; the tree
 * of the likeliest nodes: EAGLE-2, Li et al. 2024). Pure: costs and chances are given.
 */
import { cut, type DraftTree, pathChances } from "./draft-tree.ts";

/** Drafting must promise so much over a plain step: it hinders the next step's preparation, and chances are guesses. */
const LEAST_GAIN = 1.05;

export interface Chosen {
  /** What is left of each draft. */
  readonly drafts: readonly (DraftTree | undefined)[];
  /** Tokens a millisecond, over those of a step without drafts. */
  readonly gain: number;
}

/**
 * `sequences`: those of the step, drafting or not. `room`: nodes over all. `cost`: of a step of so many rows, in any unit.
 */
export function choose(
  proposed: readonly (DraftTree | undefined)[],
  sequences: number,
  room: number,
  cost: (rows: number) => number,
): Chosen {
  const nodes = proposed.flatMap((tree, draft) =>
    tree === undefined ? [] : pathChances(tree).map((chance, node) => ({ draft, node, chance })),
  );
  // A child is never likelier than its parent, and stands behind it.
  nodes.sort((a, b) => b.chance - a.chance || a.node - b.node);
  const plain = sequences / cost(sequences);
  let [best, count, expected] = [LEAST_GAIN * plain, 0, sequences];
  for (const [i, { chance }] of nodes.slice(0, room).entries()) {
    expected += chance;
    const rate = expected / cost(sequences + i + 1);
    if (rate > best) [best, count] = [rate, i + 1];
  }
  const kept = proposed.map(() => new Set<number>());
  for (const { draft, node } of nodes.slice(0, count)) kept[draft]?.add(node);
  const drafts = proposed.map((tree, i) => {
    const nodes = kept[i];
    return tree === undefined || nodes === undefined || nodes.size === 0 ? undefined : cut(tree, (n) => nodes.has(n));
  });
  return { drafts, gain: count === 0 ? 1 : best / plain };
}

/** Whether drafts that can't be wrong would be worth their rows: if not, none need be proposed. */
export function couldPay(sequences: number, room: number, cost: (rows: number) => number): boolean {
  const plain = sequences / cost(sequences);
  for (let rows = sequences + 1; rows <= sequences + room; rows++)
    if (rows / cost(rows) > LEAST_GAIN * plain) return true;
  return false;
}

/** What a draft leaves to propose once one of its first tokens has come: their children, at their chances. */
export function behindFirst(tree: DraftTree): DraftTree | undefined {
  const places = new Map<number, number>();
  const tokens: number[] = [];
  const parents: number[] = [];
  const chances: number[] = [];
  const chanceOf = (node: number): number => tree.chances?.[node] ?? 0;
  for (const [node, parent] of tree.parents.entries()) {
    if (parent < 0) continue;
    const isFirst = tree.parents[parent] === -1;
    places.set(node, tokens.length);
    tokens.push(tree.tokens[node] ?? -1);
    parents.push(isFirst ? -1 : (places.get(parent) ?? -1));
    chances.push(chanceOf(node) * (isFirst ? chanceOf(parent) : 1));
  }
  return tokens.length === 0 ? undefined : { tokens, parents, chances };
}
