import assert from "node:assert/strict";
import { test } from "node:test";
import { UnsupportedError } from "../errors.ts";
import { fromRanges, has, intersect, invert, unicodeClasses, unite } from "./code-points.ts";
import { compilePattern } from "./pattern.ts";

const classes = unicodeClasses();

function matches(source: string, text: string): string[] {
  const found: string[] = [];
  compilePattern(source, classes).findAll(text, 0, text.length, (from, to) => found.push(text.slice(from, to)));
  return found;
}

/** A random text over `alphabet` from a linear congruential generator. */
function randomText(alphabet: readonly string[], length: number, seed: number): string {
  let state = seed;
  let text = "";
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    text += alphabet[(state >>> 8) % alphabet.length] ?? "";
  }
  return text;
}

test("patterns match as JavaScript's do where the two languages agree", () => {
  const alphabet = [
    "a",
    "B",
    "é",
    "1",
    "٣",
    " ",
    "  ",
    "\n",
    "\r",
    "'s",
    "'LL",
    "!",
    "-",
    "中",
    "😀",
    "\t",
    "ǅ",
    "ʰ",
    "́",
  ];
  const sources = [
    String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
    String.raw`[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
    String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?:'s|'ll)?|[\p{Lu}\p{Lt}]+\p{L}*|\s+`,
    String.raw`\s?\p{L}+|(?:a|B1?)!|[^a-z]{2}|x{2,}`,
    String.raw`(?=[aB])\p{L}(?![0-9])|\P{L}-|a(?:!|(?:-|1)?)B`,
  ];
  for (let seed = 1; seed <= 60; seed++) {
    const text = randomText(alphabet, 60, seed);
    for (const source of sources)
      assert.deepEqual(
        matches(source, text),
        text.match(new RegExp(source, "gu")) ?? [],
        `${source} on ${JSON.stringify(text)}`,
      );
  }
});

test("what Oniguruma means differently from JavaScript", () => {
  assert.deepEqual(matches("(?i:'s)", "a'ſ b'S c's"), ["'ſ", "'S", "'s"]);
  assert.deepEqual(matches("(?i:[k])", "KkK"), ["K", "k", "K"]);
  assert.deepEqual(matches(String.raw`\s+$`, "a  \nb  "), ["  ", "  "]);
  assert.deepEqual(matches(String.raw`\s+`, "a\u0085b\ufeffc"), ["\u0085"]);
  assert.deepEqual(matches(String.raw`[\p{L}&&[^\p{Han}]]+`, "ab中cd"), ["ab", "cd"]);
  assert.deepEqual(matches(String.raw`a++b|a?+c|a++a`, "aab ac c aa"), ["aab", "ac", "c"]);
  assert.deepEqual(matches(String.raw`\x{1F600}|中`, "😀中"), ["😀", "中"]);
});

test("lookahead sees nothing beyond the piece", () => {
  const found: string[] = [];
  compilePattern(String.raw`\s+(?!\S)|\s+`, classes).findAll("a  b", 1, 3, (from, to) => found.push(`${from}-${to}`));
  assert.deepEqual(found, ["1-3"]);
});

test("unknown constructs are named", () => {
  for (const source of [
    "(?<=a)b",
    "a*?",
    "(?:ab)+",
    "a*",
    "^a",
    "[[:alpha:]]",
    String.raw`\p{Klingon}`,
    "(a",
    "a)",
    "[a",
    "[z-a]",
    String.raw`\1`,
    "x".repeat(5000),
  ]) {
    assert.throws(() => compilePattern(source, classes), UnsupportedError, source);
  }
});

test("long runs stay linear, and what can't is stopped", { timeout: 60_000 }, () => {
  const spaces = " ".repeat(1_000_000);
  assert.deepEqual(matches(String.raw`\s+$`, `${spaces}x`), []);
  assert.equal(matches(String.raw`\s*[\r\n]+|\s+(?!\S)|\s+`, `${spaces}x`).length, 2);
  assert.equal(matches(String.raw`\p{Lu}*\p{Ll}+|\p{Lu}+`, "A".repeat(1_000_000)).length, 1);
  assert.throws(() => matches(String.raw`\s?\s*\s*\s*x|y`, " ".repeat(100_000)), UnsupportedError);
  assert.throws(() => matches("a+(?=[ab]*+d)x", "a".repeat(100_000)), UnsupportedError);
});

test("sets of code points are closed under their operations", () => {
  const a = fromRanges([
    [10, 20],
    [0, 3],
    [21, 25],
  ]);
  const b = fromRanges([[15, 30]]);
  for (let c = 0; c < 40; c++) {
    const inA = c <= 3 || (c >= 10 && c <= 25);
    const inB = c >= 15 && c <= 30;
    assert.equal(has(a, c), inA);
    assert.equal(has(invert(a), c), !inA);
    assert.equal(has(unite([a, b]), c), inA || inB);
    assert.equal(has(intersect(a, b), c), inA && inB);
  }
  assert.deepEqual(invert([]), [0, 0x110000]);
  assert.deepEqual(invert(invert(a)), a);
});
