import assert from "node:assert/strict";
import { test } from "node:test";

import { nearest } from "./nearest.ts";

test("a mistyped name finds its neighbour, a strange one none", () => {
  const names = ["chat", "run", "tokenize", "detokenize", "perplexity"];
  for (const [typed, meant] of [
    ["chta", "chat"],
    ["tokenise", "tokenize"],
    ["perlexity", "perplexity"],
    ["rn", "run"],
    ["serve", undefined],
    ["", undefined],
  ] as const) {
    assert.equal(nearest(typed, names), meant, typed);
  }
});
