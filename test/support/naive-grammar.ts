/**
 * Small random context-free grammars over the letters a, b and c, with an oracle that shares nothing with the engine: a memoised
 * recogniser over spans, for whole texts and for beginnings of texts. The grammars are written as GBNF for the engine.
 */
import type { Random } from "./random.ts";

export type Node =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "class"; readonly letters: string }
  | { readonly kind: "rule"; readonly index: number }
  | { readonly kind: "sequence" | "choice"; readonly list: readonly Node[] }
  | { readonly kind: "repeat"; readonly of: Node; readonly min: number; readonly max: number };

export interface SmallGrammar {
  readonly rules: readonly Node[];
}

const LETTERS = ["a", "b", "c"] as const;

export function randomGrammar(random: Random): SmallGrammar {
  const count = random.between(1, 4);
  return { rules: Array.from({ length: count }, () => randomNode(random, count, 3)) };
}

function randomNode(random: Random, rules: number, depth: number): Node {
  const kind = depth === 0 ? random.below(3) : random.below(8);
  const list = (): Node[] => Array.from({ length: random.between(1, 3) }, () => randomNode(random, rules, depth - 1));
  switch (kind) {
    case 0:
      return { kind: "text", text: Array.from({ length: random.between(0, 3) }, () => random.pick(LETTERS)).join("") };
    case 1:
      return { kind: "class", letters: random.pick(["a", "ab", "bc", "abc"]) };
    case 2:
    case 3:
      return { kind: "rule", index: random.below(rules) };
    case 4:
    case 5:
      return { kind: "sequence", list: list() };
    case 6:
      return { kind: "choice", list: list() };
    default: {
      const min = random.below(3);
      return {
        kind: "repeat",
        of: randomNode(random, rules, depth - 1),
        min,
        max: random.pick([min, min + 1, Infinity]),
      };
    }
  }
}

export function toGbnf({ rules }: SmallGrammar): string {
  const write = (node: Node): string => {
    switch (node.kind) {
      case "text":
        return JSON.stringify(node.text);
      case "class":
        return `[${node.letters}]`;
      case "rule":
        return node.index === 0 ? "root" : `r${node.index}`;
      case "sequence":
        return `(${node.list.map(write).join(" ")})`;
      case "choice":
        return `(${node.list.map(write).join(" | ")})`;
      case "repeat":
        return `${node.of.kind === "repeat" ? `(${write(node.of)})` : write(node.of)}{${node.min},${node.max === Infinity ? "" : node.max}}`;
      default:
        return node satisfies never;
    }
  };
  return rules.map((node, i) => `${i === 0 ? "root" : `r${i}`} ::= ${write(node)}`).join("\n");
}

/** Which rules derive any text at all. */
function productiveRules({ rules }: SmallGrammar): ReadonlySet<number> {
  const known = new Set<number>();
  for (let size = -1; size < known.size;) {
    size = known.size;
    rules.forEach((node, i) => {
      if (isProductive(node, known)) known.add(i);
    });
  }
  return known;
}

function isProductive(node: Node, known: ReadonlySet<number>): boolean {
  switch (node.kind) {
    case "text":
    case "class":
      return true;
    case "rule":
      return known.has(node.index);
    case "sequence":
      return node.list.every((one) => isProductive(one, known));
    case "choice":
      return node.list.some((one) => isProductive(one, known));
    case "repeat":
      return node.min === 0 || isProductive(node.of, known);
    default:
      return node satisfies never;
  }
}

/** The oracle: sets of ends, computed to a fixed point over all spans of one text. */
export class NaiveRecogniser {
  readonly #grammar: SmallGrammar;
  readonly #productive: ReadonlySet<number>;

  constructor(grammar: SmallGrammar) {
    this.#grammar = grammar;
    this.#productive = productiveRules(grammar);
  }

  get isEmpty(): boolean {
    return !this.#productive.has(0);
  }

  accepts(text: string): boolean {
    return this.#ends(text)[0]?.[0]?.has(text.length) === true;
  }

  /** Is there a text in the language that begins so? */
  isPrefix(text: string): boolean {
    const ends = this.#ends(text);
    const rules = this.#grammar.rules;
    // begins[i][at]: some text of rule i begins with what is left of the text from `at`.
    const begins = rules.map(() => Array.from({ length: text.length + 1 }, () => false));
    const prefix = (node: Node, at: number): boolean => {
      if (!isProductive(node, this.#productive)) return false;
      if (at === text.length) return true;
      switch (node.kind) {
        case "text":
          return node.text.startsWith(text.slice(at));
        case "class":
          return at === text.length - 1 && node.letters.includes(text[at] ?? "?");
        case "rule":
          return begins[node.index]?.[at] === true;
        case "sequence": {
          let from = new Set([at]);
          for (const one of node.list) {
            for (const start of from) if (prefix(one, start)) return true;
            from = new Set([...from].flatMap((start) => [...this.#endsOf(one, start, text, ends)]));
          }
          return from.has(text.length);
        }
        case "choice":
          return node.list.some((one) => prefix(one, at));
        case "repeat": {
          let from = new Set([at]);
          for (let count = 0; count < Math.min(node.max, node.min + text.length + 1); count++) {
            for (const start of from) if (prefix(node.of, start)) return true;
            from = new Set([...from].flatMap((start) => [...this.#endsOf(node.of, start, text, ends)]));
          }
          return from.has(text.length);
        }
        default:
          return node satisfies never;
      }
    };
    for (let changed = true; changed;) {
      changed = false;
      rules.forEach((node, i) => {
        const row = begins[i] ?? [];
        for (let at = 0; at <= text.length; at++) {
          if (row[at] === true || !prefix(node, at)) continue;
          row[at] = true;
          changed = true;
        }
      });
    }
    return begins[0]?.[0] === true;
  }

  /** ends[rule][from]: where a match of the rule from there may end. */
  #ends(text: string): Set<number>[][] {
    const { rules } = this.#grammar;
    const ends = rules.map(() => Array.from({ length: text.length + 1 }, () => new Set<number>()));
    for (let changed = true; changed;) {
      changed = false;
      rules.forEach((node, i) => {
        for (let from = 0; from <= text.length; from++) {
          const known = ends[i]?.[from] ?? new Set();
          for (const end of this.#endsOf(node, from, text, ends)) {
            if (known.has(end)) continue;
            known.add(end);
            changed = true;
          }
        }
      });
    }
    return ends;
  }

  #endsOf(
    node: Node,
    from: number,
    text: string,
    ends: readonly (readonly ReadonlySet<number>[])[],
  ): ReadonlySet<number> {
    switch (node.kind) {
      case "text":
        return new Set(text.startsWith(node.text, from) ? [from + node.text.length] : []);
      case "class":
        return new Set(from < text.length && node.letters.includes(text[from] ?? "?") ? [from + 1] : []);
      case "rule":
        return ends[node.index]?.[from] ?? new Set();
      case "sequence":
        return node.list.reduce<ReadonlySet<number>>(
          (at, one) => new Set([...at].flatMap((start) => [...this.#endsOf(one, start, text, ends)])),
          new Set([from]),
        );
      case "choice":
        return new Set(node.list.flatMap((one) => [...this.#endsOf(one, from, text, ends)]));
      case "repeat": {
        const out = new Set<number>();
        let at: ReadonlySet<number> = new Set([from]);
        for (let count = 0; count <= Math.min(node.max, node.min + text.length + 1); count++) {
          if (count >= node.min) for (const end of at) out.add(end);
          at = new Set([...at].flatMap((start) => [...this.#endsOf(node.of, start, text, ends)]));
        }
        return out;
      }
      default:
        return node satisfies never;
    }
  }
}

/** A random text over the letters, and now and then another. */
export function randomLetters(random: Random, length: number): string {
  return Array.from({ length }, () => (random.below(40) === 0 ? "x" : random.pick(LETTERS))).join("");
}
