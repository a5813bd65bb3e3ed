import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../../test/support/random.ts";
import { longestMatch, MAX_MATCH, ngram } from "./ngram.ts";
import { PredictionDrafter } from "./prediction.ts";

const ids = (text: string): Int32Array => Int32Array.from(text, (letter) => letter.charCodeAt(0));
const letters = (tokens: readonly number[] = []): string => String.fromCharCode(...tokens);

function draft(text: string, room: number): string {
  return letters(ngram.follow({ prompt: ids(""), tenant: "" }).propose(ids(text), room)?.tokens);
}

test("the longest earlier match is continued, the latest of equal ones", () => {
  assert.equal(draft("the cat sat; the dog ran; the cat", 5), " sat;");
  assert.equal(draft("ab1 ab2 ab", 2), "2 ");
  assert.equal(draft("xyz", 4), "");
  assert.equal(draft("x", 4), "");
});

test("a text that repeats itself is continued beyond its end", () => {
  assert.equal(draft("abcabc", 8), "abcabcab");
  assert.equal(draft("--", 3), "---");
});

test("a match is what comparing every place finds", () => {
  const random = new Random(1);
  for (let round = 0; round < 500; round++) {
    const text = Int32Array.from({ length: random.between(1, 60) }, () => random.below(3));
    let best = { length: 0, next: -1 };
    for (let next = text.length - 1; next > 0; next--) {
      let length = 0;
      while (length < Math.min(next, MAX_MATCH) && text[next - 1 - length] === text[text.length - 1 - length]) length++;
      if (length > best.length) best = { length, next };
    }
    assert.deepEqual(longestMatch(text, text.length, text), best.length === 0 ? undefined : best);
  }
});

test("a prediction is drafted from its beginning, and again from where the answer comes back to it", () => {
  const drafter = new PredictionDrafter(ids("let count = 1; print(count);"), 2);
  const after = (answer: string): string => letters(drafter.propose(ids(`? ${answer}`), 6)?.tokens);
  assert.equal(after(""), "let co");
  assert.equal(after("let c"), "ount =");
  assert.equal(after("let total = 1; "), "print(");
  assert.equal(after("let count = 1; print(count);"), "");
  assert.deepEqual(drafter.propose(ids("? "), 3)?.predicted, new Set([0, 1, 2]));
});
