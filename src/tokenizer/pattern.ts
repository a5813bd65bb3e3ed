/**
 * Runs a parsed pattern (pattern-syntax.ts) over text: a small backtracking matcher whose sets are bits of a lookup
 * table, so that one load tells everything about a character. Two rules keep it linear on long runs: an alternative
 * is tried only where its first character fits, and one that failed after a run of a repeated set is not tried again
 * inside the same run (its continuations there are a subset of those that failed). What still backtracks without
 * end is stopped by a budget.
 */
import { UnsupportedError } from "../errors.ts";
import { type CodePoints, unite, type UnicodeClasses } from "./code-points.ts";
import { parsePattern, type PatternNode } from "./pattern-syntax.ts";

export interface Pattern {
  /** Calls `onMatch` for each match in `text[start, end)`, left to right; lookahead sees nothing beyond `end`. */
  readonly findAll: (text: string, start: number, end: number, onMatch: (from: number, to: number) => void) => void;
}

type Step =
  | {
      readonly kind: "set";
      readonly bit: number;
      readonly min: number;
      readonly max: number;
      readonly possessive: boolean;
      readonly next: Step;
    }
  | { readonly kind: "choice"; readonly branches: readonly Step[] }
  | { readonly kind: "look"; readonly negative: boolean; readonly body: Step; readonly next: Step }
  | { readonly kind: "line-end"; readonly next: Step }
  | { readonly kind: "accept" };

const ACCEPT: Step = { kind: "accept" };

export function compilePattern(source: string, classes: UnicodeClasses): Pattern {
  const tree = parsePattern(source, classes);
  const bits = new BitTable(source);

  const link = (node: PatternNode, next: Step): Step => {
    switch (node.kind) {
      case "set":
        return {
          kind: "set",
          bit: bits.bit(node.set),
          min: node.min,
          max: node.max,
          possessive: node.possessive,
          next,
        };
      case "sequence":
        return node.items.reduceRight((rest, item) => link(item, rest), next);
      case "choice":
        return { kind: "choice", branches: node.branches.map((branch) => link(branch, next)) };
      case "look":
        return { kind: "look", negative: node.negative, body: link(node.body, ACCEPT), next };
      case "line-end":
        return { kind: "line-end", next };
    }
  };

  const alternatives = (tree.kind === "choice" ? tree.branches : [tree]).map((branch) => {
    const first = firstSet(branch);
    if (first.nullable)
      throw new UnsupportedError(
        `the tokenizer's pattern ${JSON.stringify(source)} matches the empty text, which Millrace doesn't support`,
      );
    return { step: link(branch, ACCEPT), first: bits.bit(first.set) };
  });

  return {
    findAll(text, start, end, onMatch) {
      const { basic } = bits;
      const matcher = new Matcher(source, bits, text, end);
      const failedUntil = alternatives.map(() => start);
      let at = start;
      while (at < end) {
        const unit = text.charCodeAt(at);
        const here = isHigh(unit) ? bits.beyond(text, at) : (basic[unit] ?? 0);
        let to = -1;
        for (let k = 0; k < alternatives.length; k++) {
          const alternative = alternatives[k];
          if (alternative === undefined || (here & alternative.first) === 0 || at < (failedUntil[k] ?? 0)) continue;
          matcher.firstRunEnd = -1;
          to = matcher.run(alternative.step, at);
          if (to >= 0) break;
          if (alternative.step.kind === "set" && alternative.step.max === Number.POSITIVE_INFINITY)
            failedUntil[k] = matcher.firstRunEnd;
        }
        if (to > at) {
          onMatch(at, to);
          at = to;
        } else {
          at += isHigh(unit) ? 2 : 1;
        }
      }
    },
  };
}

/** What a match can begin with, and whether it can be empty. */
function firstSet(node: PatternNode): { set: CodePoints; nullable: boolean } {
  switch (node.kind) {
    case "set":
      return { set: node.set, nullable: node.min === 0 };
    case "choice": {
      const all = node.branches.map(firstSet);
      return { set: unite(all.map((first) => first.set)), nullable: all.some((first) => first.nullable) };
    }
    case "sequence": {
      const sets: CodePoints[] = [];
      for (const item of node.items) {
        const first = firstSet(item);
        sets.push(first.set);
        if (!first.nullable) return { set: unite(sets), nullable: false };
      }
      return { set: unite(sets), nullable: true };
    }
    case "look":
    case "line-end":
      return { set: [], nullable: true };
  }
}

/** One bit a set, looked up by code point in tables of 65,536, each built when first needed. */
class BitTable {
  readonly #source: string;
  readonly #sets: CodePoints[] = [];
  readonly #planes: (Uint32Array | undefined)[] = [];
  #basic = new Uint32Array(0);

  constructor(source: string) {
    this.#source = source;
  }

  bit(set: CodePoints): number {
    let index = this.#sets.findIndex(
      (known) => known.length === set.length && known.every((border, i) => border === set[i]),
    );
    if (index < 0) {
      index = this.#sets.push(set) - 1;
      if (index > 30)
        throw new UnsupportedError(
          `the tokenizer's pattern ${JSON.stringify(this.#source)} has more than 31 different classes`,
        );
    }
    return 1 << index;
  }

  /** The table of the code points below 65,536. */
  get basic(): Uint32Array {
    if (this.#basic.length === 0) this.#basic = this.#build(0);
    return this.#basic;
  }

  /** The bits of the code point at `at`, which is a surrogate pair. */
  beyond(text: string, at: number): number {
    const codePoint = text.codePointAt(at) ?? 0;
    const plane = codePoint >>> 16;
    const table = this.#planes[plane] ?? (this.#planes[plane] = this.#build(plane));
    return table[codePoint & 0xffff] ?? 0;
  }

  #build(plane: number): Uint32Array<ArrayBuffer> {
    const table = new Uint32Array(0x10000);
    const base = plane * 0x10000;
    this.#sets.forEach((set, index) => {
      for (let i = 0; i < set.length; i += 2) {
        const from = Math.max((set[i] ?? 0) - base, 0);
        const to = Math.min((set[i + 1] ?? 0) - base, 0x10000);
        for (let c = from; c < to; c++) table[c] = (table[c] ?? 0) | (1 << index);
      }
    });
    return table;
  }
}

class Matcher {
  readonly #source: string;
  readonly #bits: BitTable;
  readonly #basic: Uint32Array;
  readonly #text: string;
  readonly #end: number;
  /** Retries (and characters read, by fours) left: a few for each character, many for a short text. */
  #budget: number;
  /** How far the first set of an alternative went; −1 before it ran. */
  firstRunEnd = -1;

  constructor(source: string, bits: BitTable, text: string, end: number) {
    this.#source = source;
    this.#bits = bits;
    this.#basic = bits.basic;
    this.#text = text;
    this.#end = end;
    this.#budget = 1_000_000 + 64 * text.length;
  }

  /** The end of the match of `start` at `from`, or −1. */
  run(start: Step, from: number): number {
    const text = this.#text;
    const end = this.#end;
    const basic = this.#basic;
    let step = start;
    let at = from;
    for (;;) {
      switch (step.kind) {
        case "accept":
          return at;
        case "line-end":
          if (at < end && text.charCodeAt(at) !== 10) return -1;
          step = step.next;
          break;
        case "look":
          if (this.run(step.body, at) >= 0 === step.negative) return -1;
          step = step.next;
          break;
        case "choice": {
          for (const branch of step.branches) {
            const to = this.run(branch, at);
            if (to >= 0) return to;
          }
          return -1;
        }
        case "set": {
          let count = 0;
          let to = at;
          const { bit, max } = step;
          while (count < max && to < end) {
            const unit = text.charCodeAt(to);
            if (isHigh(unit)) {
              if ((this.#bits.beyond(text, to) & bit) === 0) break;
              to += 2;
            } else {
              if (((basic[unit] ?? 0) & bit) === 0) break;
              to++;
            }
            count++;
          }
          if (this.firstRunEnd < 0) this.firstRunEnd = to;
          // A long run costs too, where a lookahead reads it again and again.
          this.#budget -= count >> 2;
          if (count < step.min) return -1;
          if (!step.possessive && count > step.min && step.next !== ACCEPT)
            return this.#giveBack(step.next, to, count - step.min);
          at = to;
          step = step.next;
          break;
        }
      }
    }
  }

  /** Tries the rest at `to`, then one character earlier, up to `spare` times. */
  #giveBack(next: Step, to: number, spare: number): number {
    let at = to;
    for (let left = spare; ; left--) {
      const result = this.run(next, at);
      if (result >= 0 || left === 0) return result;
      if (--this.#budget < 0)
        throw new UnsupportedError(
          `the tokenizer's pattern ${JSON.stringify(this.#source)} takes too long on this text`,
        );
      at -= at >= 2 && isHigh(this.#text.charCodeAt(at - 2)) ? 2 : 1;
    }
  }
}

/** Whether a code unit begins a surrogate pair. Text is well formed: a high surrogate has its low one. */
function isHigh(unit: number): boolean {
  return (unit & 0xfc00) === 0xd800;
}
