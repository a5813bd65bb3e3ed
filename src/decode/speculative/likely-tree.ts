/**
 * The tree of the likeliest continuations, from what followed before and how often: best first, a node's chance being its
 * share of what followed, times what a match of that length is worth. Where continuations come from is the caller's business.
 */
import type { DraftTree } from "./draft-tree.ts";
import { chanceAfter } from "./ngram.ts";

/** What followed in a state, how often, and the state that it leads to. */
export interface Follower<State> {
  readonly token: number;
  readonly to: State;
  readonly count: number;
}

/** The followers that a node's children are, at most. */
const BRANCHES = 3;

/**
 * The `room` likeliest nodes behind `state`, which stands for `matched` agreeing tokens. Tokens below 0 count, and are not
 * proposed: there texts ended.
 */
export function likelyTree<State>(
  state: State,
  matched: number,
  room: number,
  followers: (state: State) => Iterable<Follower<State>>,
): DraftTree | undefined {
  const tokens: number[] = [];
  const parents: number[] = [];
  const chances: number[] = [];
  const open = [{ state, parent: -1, token: -1, depth: 0, chance: 1, all: 1 }];
  while (tokens.length < room) {
    let best = open[0];
    for (const one of open) if (best === undefined || one.all > best.all) best = one;
    if (best === undefined) break;
    open.splice(open.indexOf(best), 1);
    let node = -1;
    if (best.depth > 0) {
      node = tokens.push(best.token) - 1;
      parents.push(best.parent);
      chances.push(best.chance);
    }
    const { likely, total } = likeliest(followers(best.state));
    for (const { token, to, count } of likely) {
      const chance = (count / total) * chanceAfter(matched + best.depth);
      open.push({ state: to, parent: node, token, depth: best.depth + 1, chance, all: best.all * chance });
    }
  }
  return tokens.length === 0 ? undefined : { tokens, parents, chances };
}

function likeliest<State>(all: Iterable<Follower<State>>): { likely: readonly Follower<State>[]; total: number } {
  let total = 0;
  const likely: Follower<State>[] = [];
  for (const one of all) {
    total += one.count;
    if (one.token < 0) continue;
    likely.push(one);
    if (likely.length <= BRANCHES) continue;
    likely.sort((a, b) => b.count - a.count);
    likely.pop();
  }
  return { likely, total };
}
