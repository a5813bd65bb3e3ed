/**
 * The part of Oniguruma's pattern language that published tokenizers use, parsed into a tree: sets with greedy or
 * possessive counts, alternatives, groups, (?i:…), lookahead and $. Anything else is an UnsupportedError that names
 * the pattern. pattern.ts runs the tree.
 */
import { UnsupportedError } from "../errors.ts";
import {
  type CodePoints,
  fromRanges,
  has,
  intersect,
  invert,
  unite,
  type UnicodeClasses,
  WHITE_SPACE,
} from "./code-points.ts";

export type PatternNode =
  | {
      readonly kind: "set";
      readonly set: CodePoints;
      readonly min: number;
      readonly max: number;
      readonly possessive: boolean;
    }
  | { readonly kind: "sequence"; readonly items: readonly PatternNode[] }
  | { readonly kind: "choice"; readonly branches: readonly PatternNode[] }
  | { readonly kind: "look"; readonly negative: boolean; readonly body: PatternNode }
  | { readonly kind: "line-end" };

/** Longer than any published pattern; bounds the parser's depth. */
const MAX_LENGTH = 4096;

const ESCAPES: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9, f: 12, v: 11, a: 7, e: 27 };

export function parsePattern(source: string, classes: UnicodeClasses): PatternNode {
  const chars = Array.from(source);
  let at = 0;

  const fail = (what: string): never => {
    throw new UnsupportedError(
      `the tokenizer's pattern ${JSON.stringify(source.slice(0, 400))} has ${what}, which Millrace doesn't support`,
    );
  };
  const peek = (text: string): boolean => chars.slice(at, at + text.length).join("") === text;
  const accept = (text: string): boolean => {
    if (!peek(text)) return false;
    at += text.length;
    return true;
  };
  const take = (): string => chars[at++] ?? fail("an end where more was expected");

  function choice(ignoreCase: boolean): PatternNode {
    const branches = [sequence(ignoreCase)];
    while (accept("|")) branches.push(sequence(ignoreCase));
    const [only] = branches;
    return branches.length === 1 && only !== undefined ? only : { kind: "choice", branches };
  }

  function sequence(ignoreCase: boolean): PatternNode {
    const items: PatternNode[] = [];
    while (at < chars.length && !peek("|") && !peek(")")) items.push(quantified(atom(ignoreCase)));
    const [only] = items;
    return items.length === 1 && only !== undefined ? only : { kind: "sequence", items };
  }

  function quantified(node: PatternNode): PatternNode {
    const counts = quantifier();
    if (counts === undefined) return node;
    if (node.kind === "set" && node.min === 1 && node.max === 1) return { ...node, ...counts };
    if (counts.min === 1 && counts.max === 1) return node;
    if (counts.min === 0 && counts.max === 1 && !counts.possessive) {
      return { kind: "choice", branches: [node, { kind: "sequence", items: [] }] };
    }
    return fail("a repeated group");
  }

  function quantifier(): { min: number; max: number; possessive: boolean } | undefined {
    let min = 0;
    let max = Number.POSITIVE_INFINITY;
    if (accept("*")) min = 0;
    else if (accept("+")) min = 1;
    else if (accept("?")) max = 1;
    else {
      const braces = /^\{(\d*)(,?)(\d*)\}/.exec(chars.slice(at, at + 16).join(""));
      if (braces === null || (braces[1] === "" && braces[3] === "")) return undefined;
      at += braces[0].length;
      min = Number(braces[1]);
      max = braces[2] === "" ? min : braces[3] === "" ? max : Number(braces[3]);
      if (max < min || min > 1000) return fail(`the count ${braces[0]}`);
      return peek("?") || peek("+") ? fail(`${braces[0]}${take()}`) : { min, max, possessive: false };
    }
    if (peek("?")) return fail("a lazy count");
    return { min, max, possessive: accept("+") };
  }

  function atom(ignoreCase: boolean): PatternNode {
    if (accept("(")) {
      let inner: PatternNode;
      if (accept("?:")) inner = choice(ignoreCase);
      else if (accept("?i:")) inner = choice(true);
      else if (accept("?=")) inner = { kind: "look", negative: false, body: choice(ignoreCase) };
      else if (accept("?!")) inner = { kind: "look", negative: true, body: choice(ignoreCase) };
      else if (peek("?")) inner = fail(`the group (${chars.slice(at, at + 3).join("")}`);
      else inner = choice(ignoreCase);
      if (!accept(")")) fail("a group without its )");
      return inner;
    }
    if (accept("$")) return { kind: "line-end" };
    if (peek("^") || peek("*") || peek("+") || peek("?")) return fail(`${take()} in this place`);
    let set: CodePoints;
    if (accept(".")) set = invert(one(10));
    else if (accept("[")) set = bracket(ignoreCase);
    else if (accept("\\")) set = fold(escape(), ignoreCase);
    else set = fold(one(take().codePointAt(0) ?? 0), ignoreCase);
    return { kind: "set", set, min: 1, max: 1, possessive: false };
  }

  /** A class from behind its `[` to behind its `]`, with nested classes and &&. */
  function bracket(ignoreCase: boolean): CodePoints {
    const negative = accept("^");
    let whole: CodePoints | undefined;
    let parts: CodePoints[] = [];
    const close = (): CodePoints => {
      const part = fold(unite(parts), ignoreCase);
      parts = [];
      return whole === undefined ? part : intersect(whole, part);
    };
    for (let first = true; first || !accept("]"); first = false) {
      if (at >= chars.length) return fail("a class without its ]");
      if (accept("&&")) whole = close();
      else if (peek("[:")) return fail("a POSIX class");
      else if (accept("[")) parts.push(bracket(ignoreCase));
      else parts.push(bracketItem());
    }
    const set = close();
    return negative ? invert(set) : set;
  }

  function bracketItem(): CodePoints {
    const low = accept("\\") ? escape() : one(take().codePointAt(0) ?? 0);
    if (!peek("-") || chars[at + 1] === "]" || !isOne(low)) return low;
    at += 1;
    const high = accept("\\") ? escape() : one(take().codePointAt(0) ?? 0);
    const [from = 0] = low;
    const [to = 0] = high;
    if (!isOne(high) || to < from) return fail("a range out of order");
    return fromRanges([[from, to]]);
  }

  /** What stands behind a backslash. */
  function escape(): CodePoints {
    const letter = take();
    const plain = ESCAPES[letter];
    if (plain !== undefined) return one(plain);
    switch (letter) {
      case "s":
        return WHITE_SPACE;
      case "S":
        return invert(WHITE_SPACE);
      case "d":
        return classes.category("Nd") ?? [];
      case "D":
        return invert(classes.category("Nd") ?? []);
      case "w":
        return classes.word;
      case "W":
        return invert(classes.word);
      case "p":
      case "P": {
        const name = /^\{(\^?)([A-Za-z_]+)\}/.exec(chars.slice(at, at + 40).join(""));
        const set = name === null ? undefined : property(name[2] ?? "");
        if (name === null || set === undefined)
          return fail(`the property \\${letter}${chars.slice(at, at + 20).join("")}`);
        at += name[0].length;
        return (letter === "P") === (name[1] === "^") ? set : invert(set);
      }
      case "x":
      case "u": {
        const digits = /^(?:\{([0-9A-Fa-f]{1,6})\}|([0-9A-Fa-f]{4})|([0-9A-Fa-f]{2}))/.exec(
          chars.slice(at, at + 8).join(""),
        );
        if (digits === null) return fail(`\\${letter} without digits`);
        const hex = digits[1] ?? (letter === "u" ? digits[2] : (digits[3] ?? digits[2]?.slice(0, 2)));
        if (hex === undefined) return fail(`\\${letter} without digits`);
        at += digits[1] === undefined ? hex.length : hex.length + 2;
        return one(Number.parseInt(hex, 16));
      }
      default:
        if (/[A-Za-z0-9]/.test(letter)) return fail(`\\${letter}`);
        return one(letter.codePointAt(0) ?? 0);
    }
  }

  function property(name: string): CodePoints | undefined {
    if (name === "Han" || name === "IsHan") return scriptHan();
    return classes.category(name);
  }

  if (source.length > MAX_LENGTH) fail(`${source.length} characters`);
  const tree = choice(false);
  return at === chars.length ? tree : fail("a ) without its group");
}

function one(codePoint: number): CodePoints {
  return [codePoint, codePoint + 1];
}

function isOne(set: CodePoints): boolean {
  return set.length === 2 && (set[1] ?? 0) - (set[0] ?? 0) === 1;
}

/** Adds the other case of ASCII letters, and the two other characters that fold to one: ſ (s) and K (k). */
function fold(set: CodePoints, ignoreCase: boolean): CodePoints {
  if (!ignoreCase) return set;
  const more: CodePoints[] = [set];
  for (let lower = 97; lower <= 122; lower++) {
    if (!has(set, lower) && !has(set, lower - 32)) continue;
    more.push(one(lower), one(lower - 32));
    if (lower === 115) more.push(one(0x17f));
    if (lower === 107) more.push(one(0x212a));
  }
  return unite(more);
}

/** The Han script as of Unicode 16.0. */
function scriptHan(): CodePoints {
  return fromRanges([
    [0x2e80, 0x2e99],
    [0x2e9b, 0x2ef3],
    [0x2f00, 0x2fd5],
    [0x3005, 0x3005],
    [0x3007, 0x3007],
    [0x3021, 0x3029],
    [0x3038, 0x303b],
    [0x3400, 0x4dbf],
    [0x4e00, 0x9fff],
    [0xf900, 0xfa6d],
    [0xfa70, 0xfad9],
    [0x16fe2, 0x16fe3],
    [0x16ff0, 0x16ff1],
    [0x20000, 0x2a6df],
    [0x2a700, 0x2b739],
    [0x2b740, 0x2b81d],
    [0x2b820, 0x2cea1],
    [0x2ceb0, 0x2ebe0],
    [0x2ebf0, 0x2ee5d],
    [0x2f800, 0x2fa1d],
    [0x30000, 0x3134a],
    [0x31350, 0x323af],
  ]);
}
