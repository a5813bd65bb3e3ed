/**
 * N-gram drafting, or prompt lookup: where the last tokens stood before, in the prompt or the answer, what came after
 * them is likely to come again (LLMA, Yang et al. 2023; Saxena 2023). The longest match counts, of equal ones the latest.
 * One scan over the text a proposal, nothing is kept; a text that repeats itself is continued beyond its end.
 */
import { chain, type DraftTree } from "./draft-tree.ts";
import type { Drafter, DraftMethod } from "./drafter.ts";

/** A longer match tells no more. */
export const MAX_MATCH = 32;

export interface Match {
  /** Tokens that agree. */
  readonly length: number;
  /** Where the text goes on. */
  readonly next: number;
}

/**
 * The place in `text`, before its index `end`, whose last tokens agree with those of `tail` in the most places, up to
 * MAX_MATCH. The last such place, where the text goes on before `end`.
 */
export function longestMatch(text: Int32Array, end: number, tail: Int32Array): Match | undefined {
  const last = tail.at(-1);
  if (last === undefined || end < 2) return undefined;
  let best: Match | undefined;
  for (let at = text.lastIndexOf(last, end - 2); at >= 0; at = at > 0 ? text.lastIndexOf(last, at - 1) : -1) {
    const most = Math.min(at + 1, tail.length, MAX_MATCH);
    let length = 1;
    while (length < most && text[at - length] === tail[tail.length - 1 - length]) length += 1;
    if (length > (best?.length ?? 0)) best = { length, next: at + 1 };
    if (length === MAX_MATCH) break;
  }
  return best;
}

/** What follows a match of so many tokens is right with about this chance; measurement corrects it (acceptance.ts). */
export function chanceAfter(matched: number): number {
  return 1 - 0.75 * Math.exp(-matched / 5);
}

class NgramDrafter implements Drafter {
  propose(tokens: Int32Array, room: number): DraftTree | undefined {
    const match = longestMatch(tokens, tokens.length, tokens);
    if (match === undefined) return undefined;
    const { length, next } = match;
    const ahead: number[] = [];
    for (let i = 0; i < room; i++) ahead.push(tokens[next + i] ?? ahead[next + i - tokens.length] ?? -1);
    return chain(
      ahead,
      ahead.map((_, i) => chanceAfter(length + i)),
    );
  }
}

const DRAFTER = new NgramDrafter();

export const ngram: DraftMethod = { follow: () => DRAFTER };
