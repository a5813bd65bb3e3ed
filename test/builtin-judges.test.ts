import assert from "node:assert/strict";
import { test } from "node:test";

import { listItems, loops, right } from "./support/builtin-judges.ts";

test("a loop is a phrase three times in a row, or eight words three times anywhere", () => {
  assert.equal(loops("I like it. I like it very much, and I like tea."), false);
  assert.equal(loops("la la la la la la la la la la la la"), true);
  assert.equal(loops("1. a red cup on it 2. a red cup on it 3. a red cup on it"), true);
  assert.equal(loops("hop, hop, hop, said the frog"), false);
  const line = "and so it goes on and on again";
  assert.equal(loops(`${line} first ${line} second ${line}`), true);
  assert.equal(loops(`${line} first ${line} second`), false);
});

test("lists are counted by their marks, or by lines", () => {
  assert.deepEqual(listItems("Here you are:\n\n1. Apple\n2. Pear\n"), ["apple", "pear"]);
  assert.deepEqual(listItems("Apple\nPear\n\nPlum"), ["apple", "pear", "plum"]);
  assert.equal(right({ type: "list", n: 2 }, "- a\n- b"), true);
  assert.equal(right({ type: "list", n: 3 }, "- a\n- b"), false);
});

test("sums, JSON and the name", () => {
  assert.equal(right({ type: "sum", answer: 1012 }, "1,000 + 12 = 1,012."), true);
  assert.equal(right({ type: "sum", answer: 5 }, "none"), false);
  assert.equal(right({ type: "json" }, '```json\n{"a": 1}\n```'), true);
  assert.equal(right({ type: "json" }, '{"a": 1'), false);
  assert.equal(right({ type: "json" }, "12"), false);
  assert.equal(right({ type: "self" }, "I'm Brook."), true);
  assert.equal(right({ type: "self" }, "I'm here."), false);
});
