/**
 * Sets of Unicode code points: what a class in a pattern means. A set is its ascending borders, so that union and
 * complement are a merge and a shift; patterns turn sets into lookup tables (pattern.ts). General categories come
 * from the baked table in unicode-table.ts and not from the JavaScript engine, whose Unicode version varies.
 */
import {
  CATEGORY_LETTERS,
  DIGITS,
  GENERAL_CATEGORIES,
  NOT_NORMALIZED,
  PUNCTUATION,
  RUST_WORD_MORE,
  WORD_MORE,
} from "./unicode-table.ts";

/** `[a, b, c, d, …]`: code points from a up to before b, from c up to before d, … */
export type CodePoints = readonly number[];

const LIMIT = 0x110000;

/** Inclusive ranges, in any order. */
export function fromRanges(ranges: readonly (readonly [number, number])[]): CodePoints {
  const borders: number[] = [];
  for (const [first, last] of ranges.toSorted((a, b) => a[0] - b[0])) {
    const end = borders.at(-1);
    if (end !== undefined && first <= end) borders[borders.length - 1] = Math.max(end, last + 1);
    else borders.push(first, last + 1);
  }
  return borders;
}

export function invert(set: CodePoints): CodePoints {
  const borders = set[0] === 0 ? set.slice(1) : [0, ...set];
  if (borders.at(-1) === LIMIT) borders.pop();
  else borders.push(LIMIT);
  return borders;
}

export function unite(sets: readonly CodePoints[]): CodePoints {
  const ranges: [number, number][] = [];
  for (const set of sets) {
    for (let i = 0; i < set.length; i += 2) ranges.push([set[i] ?? 0, (set[i + 1] ?? 0) - 1]);
  }
  return fromRanges(ranges);
}

export function intersect(a: CodePoints, b: CodePoints): CodePoints {
  return invert(unite([invert(a), invert(b)]));
}

export function has(set: CodePoints, codePoint: number): boolean {
  let low = 0;
  let high = set.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((set[middle] ?? LIMIT) <= codePoint) low = middle + 1;
    else high = middle;
  }
  return (low & 1) === 1;
}

/** U+0009–000D, the spaces, U+0085 and the separators: Unicode's White_Space, stable since version 6.3. */
export const WHITE_SPACE: CodePoints = fromRanges([
  [0x09, 0x0d],
  [0x20, 0x20],
  [0x85, 0x85],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
]);

/** The ranges of each class in a string of run lengths (unicode-table.ts). */
function parseRuns(runs: string): Map<string, [number, number][]> {
  const classes = new Map<string, [number, number][]>();
  let at = 0;
  for (const [, count, letter] of runs.matchAll(/([0-9a-z]*)([^0-9a-z])/g)) {
    const length = count === undefined || count === "" ? 1 : Number.parseInt(count, 36);
    const ranges = classes.get(letter ?? "");
    if (ranges === undefined) classes.set(letter ?? "", [[at, at + length - 1]]);
    else ranges.push([at, at + length - 1]);
    at += length;
  }
  return classes;
}

/** The code points of the class Y. */
export function fromRuns(runs: string): CodePoints {
  return fromRanges(parseRuns(runs).get("Y") ?? []);
}

/** The classes that patterns and pre-tokenizers name. Building it costs about a millisecond. */
export interface UnicodeClasses {
  /** By a general category ("Lu") or its first letter ("L"); undefined where there is no such category. */
  category(name: string): CodePoints | undefined;
  /** What \w matches in a pattern. */
  readonly word: CodePoints;
  /** What \w means to Rust: the Whitespace pre-tokenizer and `single_word`. */
  readonly rustWord: CodePoints;
  readonly digits: CodePoints;
  readonly punctuation: CodePoints;
  /** What Unicode normalisation leaves alone. */
  readonly notNormalized: CodePoints;
}

export function unicodeClasses(): UnicodeClasses {
  const byName = new Map<string, CodePoints>();
  for (const [letter, ranges] of parseRuns(GENERAL_CATEGORIES)) {
    const name = CATEGORY_LETTERS[letter];
    if (name !== undefined) byName.set(name, fromRanges(ranges));
  }
  const category = (name: string): CodePoints | undefined => {
    const known = byName.get(name);
    if (known !== undefined || !/^[LMNPSZC]$/.test(name)) return known;
    const whole = unite([...byName].filter(([key]) => key.startsWith(name)).map(([, set]) => set));
    byName.set(name, whole);
    return whole;
  };
  const plainWord = unite(["L", "M", "Nd", "Nl", "Pc"].map((name) => category(name) ?? []));
  return {
    category,
    word: unite([plainWord, fromRuns(WORD_MORE)]),
    rustWord: unite([plainWord, fromRuns(RUST_WORD_MORE)]),
    digits: fromRuns(DIGITS),
    punctuation: fromRuns(PUNCTUATION),
    notNormalized: fromRuns(NOT_NORMALIZED),
  };
}
