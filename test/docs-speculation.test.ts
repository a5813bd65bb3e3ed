/** docs/speculation.md says what there is: its example runs, and its table of methods is the code's. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { METHOD_NAMES } from "../src/decode/speculative/methods.ts";
import { load } from "../src/index.ts";

const GUIDE = readFileSync(path.join(import.meta.dirname, "../docs/speculation.md"), "utf8");

test("the table of methods names each, and no other", () => {
  const table = GUIDE.slice(GUIDE.indexOf("## Methods"), GUIDE.indexOf("## When it pays"));
  const names = [...table.matchAll(/^\| `([a-z0-9]+)` \|/gm)].map(([, name]) => name);
  assert.deepEqual(names, METHOD_NAMES);
});

test("the example's steps and drafts add up", async () => {
  const [, example = ""] = /```ts\n([\s\S]*?)```/.exec(GUIDE) ?? [];
  const prompt = /generate\("([^"]+)"/.exec(example)?.[1] ?? "";
  assert.match(example, /speculation: "ngram", maxTokens: 32/);
  await using llm = await load(undefined, { speculation: "auto" });
  const plain = await llm.generate(prompt, { speculation: "off", maxTokens: 32, seed: 1 });
  for (const speculation of ["auto", "ngram", { drafter: "ngram", depth: 3 }]) {
    const { tokens, timings } = await llm.generate(prompt, { speculation, maxTokens: 32, seed: 1 });
    assert.deepEqual(tokens, plain.tokens);
    assert.equal(timings.steps + timings.accepted, tokens.length);
    assert.ok(timings.drafted >= timings.accepted);
  }
  assert.deepEqual([plain.timings.drafted, plain.timings.tokensPerStep], [0, 1]);
});
