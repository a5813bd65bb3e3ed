/**
 * Suffix drafting (SuffixDecoding, Oliaro et al. 2024): where the longest ending of a sequence stood before, in its own
 * prompt and answer or in earlier answers of the same tenant, its continuations make a tree, each as likely as it was
 * frequent. Suffix automata find the ending as tokens come; earlier answers are kept in two generations, of which the older
 * is dropped when the younger is full.
 */
import { likeliest, type DraftTree, merge } from "./draft-tree.ts";
import type { DraftedText, Drafter, DraftMethod } from "./drafter.ts";
import { likelyTree } from "./likely-tree.ts";
import { ROOT, SuffixAutomaton } from "./suffix-automaton.ts";

/** Tokens of a generation of answers; tenants that are remembered: at most 64 MiB together. */
const GENERATION = 32_768;
const TENANTS = 8;
/** Of a prompt's end, so many tokens stand before an answer that is remembered. */
const BEFORE = 8;
/** Followers of a text that are looked at. */
const LOOKED_AT = 64;
/** Between two answers; no sequence has it. */
const BORDER = -1;

/** The answers of one tenant. */
class Answers {
  younger = new SuffixAutomaton();
  older: SuffixAutomaton | undefined;

  add(tokens: Int32Array): void {
    if (this.younger.length + tokens.length > GENERATION && this.younger.length > 0) {
      this.older = this.younger;
      this.younger = new SuffixAutomaton();
    }
    for (const token of tokens.subarray(0, GENERATION)) this.younger.append(token);
    this.younger.append(BORDER);
  }
}

/** How far the end of a sequence agrees with a text that another has written. */
class Cursor {
  readonly automaton: SuffixAutomaton;
  #state = ROOT;
  #length = 0;

  constructor(automaton: SuffixAutomaton) {
    this.automaton = automaton;
  }

  follow(token: number): void {
    let next = this.automaton.next(this.#state, token);
    while (next < 0 && this.#state !== ROOT) {
      this.#state = this.automaton.link(this.#state);
      this.#length = this.automaton.lengthOf(this.#state);
      next = this.automaton.next(this.#state, token);
    }
    if (next < 0) return;
    this.#state = next;
    this.#length += 1;
  }

  propose(room: number): DraftTree | undefined {
    return grow(this.automaton, this.#state, this.#length, room);
  }
}

class SuffixDrafter implements Drafter {
  readonly #own = new SuffixAutomaton();
  readonly #cursors: readonly Cursor[];
  readonly #answers: Answers;
  readonly #promptLength: number;

  constructor(answers: Answers, promptLength: number) {
    const { younger, older } = answers;
    this.#answers = answers;
    this.#promptLength = promptLength;
    this.#cursors = [younger, ...(older === undefined ? [] : [older])].map((automaton) => new Cursor(automaton));
  }

  propose(tokens: Int32Array, room: number): DraftTree | undefined {
    for (const token of tokens.subarray(this.#own.length)) {
      this.#own.append(token);
      for (const cursor of this.#cursors) cursor.follow(token);
    }
    const state = this.#own.repeated;
    const trees = [
      grow(this.#own, state, this.#own.lengthOf(state), room),
      ...this.#cursors.map((cursor) => cursor.propose(room)),
    ];
    const all = merge(trees.filter((tree) => tree !== undefined));
    return all && likeliest(all, room);
  }

  end(tokens: Int32Array): void {
    if (tokens.length > this.#promptLength) this.#answers.add(tokens.slice(Math.max(0, this.#promptLength - BEFORE)));
  }
}

/** The likeliest continuations behind a text of `matched` tokens that is a state's. */
function grow(automaton: SuffixAutomaton, state: number, matched: number, room: number): DraftTree | undefined {
  return matched === 0 ? undefined : likelyTree(state, matched, room, (at) => automaton.followers(at, LOOKED_AT));
}

/** Answers are remembered by tenant, those of the tenants that came last. */
export function suffix(): DraftMethod {
  const tenants = new Map<string, Answers>();
  return {
    follow({ prompt, tenant }: DraftedText): Drafter {
      const answers = tenants.get(tenant) ?? new Answers();
      tenants.delete(tenant);
      tenants.set(tenant, answers);
      for (const [oldest] of tenants) {
        if (tenants.size <= TENANTS) break;
        tenants.delete(oldest);
      }
      return new SuffixDrafter(answers, prompt.length);
    },
  };
}
