/**
 * Lookahead decoding (Fu et al. 2024): the model drafts for itself. A window of guessed tokens runs ahead of the sequence (Jacobi
 * iteration), and the samples behind its columns make n-grams; those that begin with the sequence's last token are verified.
 * Here the window's rows are nodes of the draft like any other: a chain of guesses, and behind each guess the rest of its
 * n-gram; whatever they are, the answer stays what it is. The paper's windows are for processors to which rows are free; this
 * one is small.
 */
import { chain, childOf, type DraftTree, merge } from "./draft-tree.ts";
import type { Drafter, DraftMethod } from "./drafter.ts";

/** Columns of the window, and tokens of an n-gram. */
const WINDOW = 3;
const N = 4;
/** N-grams that are kept for a first token, and verified at once. */
const KEPT = 8;
const VERIFIED = 2;
/** An n-gram that the model made at another place; a guess of the window is there to be sampled, not to be right. */
const MADE = 0.4;
const GUESSED = 0.01;

class LookaheadDrafter implements Drafter {
  /** By first token: the rests of n-grams, the newest last. */
  readonly #pool = new Map<number, (readonly number[])[]>();
  /** Each column's guesses, by level. */
  #window: (readonly number[])[] = [];

  propose(tokens: Int32Array, room: number): DraftTree | undefined {
    const last = tokens.at(-1);
    if (last === undefined) return undefined;
    // The first guesses are tokens of the sequence: as good as any.
    if (this.#window.length === 0)
      this.#window = Array.from({ length: WINDOW }, (_, c) => [tokens[(7 * c) % tokens.length] ?? last]);
    const known = this.#pool.get(last)?.slice(-VERIFIED) ?? [];
    const made = known.map((rest) =>
      chain(
        rest.slice(0, room),
        Array.from(rest.slice(0, room), () => MADE),
      ),
    );
    const guessed = this.#window.map((_, c) => {
      const path = this.#path(c).slice(0, room);
      return chain(
        path,
        Array.from(path, () => GUESSED),
      );
    });
    return merge([...made, ...guessed]);
  }

  learn(draft: DraftTree, sampleAt: (node: number) => number): void {
    const columns = this.#window.map((column, c) => {
      const next = sampleBehind(draft, this.#path(c), sampleAt);
      if (next < 0) return column;
      const longer = [...column, next];
      if (longer.length < N) return longer;
      this.#keep(longer);
      return longer.slice(1);
    });
    this.#window = columns;
  }

  /** From the root to a column's last guess: the first level's guesses up to the column, then its own. */
  #path(c: number): number[] {
    const first = this.#window.slice(0, c + 1).map(([guess = 0]) => guess);
    return [...first, ...(this.#window[c] ?? []).slice(1)];
  }

  #keep([first = -1, ...rest]: readonly number[]): void {
    const kept = this.#pool.get(first) ?? [];
    const others = kept.filter((one) => one.some((token, i) => token !== rest[i]));
    this.#pool.set(first, [...others, rest].slice(-KEPT));
  }
}

/** What was sampled behind a path; −1 where it is not in the draft. */
function sampleBehind(draft: DraftTree, path: readonly number[], sampleAt: (node: number) => number): number {
  let node = -1;
  for (const token of path) {
    node = childOf(draft, node, token);
    if (node < 0) return -1;
  }
  return sampleAt(node);
}

export const lookahead: DraftMethod = { invests: true, follow: () => new LookaheadDrafter() };
