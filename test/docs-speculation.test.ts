/** docs/speculation.md says what there is: its example runs, and its table of methods is the code's. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { METHOD_NAMES } from "../src/decode/speculative/methods.ts";
import { load } from "../src/index.ts";

const MAIN = path.join(import.meta.dirname, "../src/cli/main.ts");
const GUIDE = readFileSync(path.join(import.meta.dirname, "../docs/speculation.md"), "utf8");

test("the table of methods names each, and no other", () => {
  const table = GUIDE.slice(GUIDE.indexOf("## Methods"), GUIDE.indexOf("## When it pays"));
  const names = [...table.matchAll(/^\| `([a-z0-9]+)` \|/gm)].map(([, name]) => name);
  assert.deepEqual(names, METHOD_NAMES);
});

test("a datastore that the command builds is searched; the answer stays what it is", async () => {
  const folder = mkdtempSync(path.join(tmpdir(), "millrace-datastore-"));
  try {
    const prompt = "The quick brown fox";
    await using plain = await load(undefined, { context: 256 });
    const alone = await plain.generate(prompt, { temperature: 0, maxTokens: 30 });
    const text = path.join(folder, "a.txt");
    const file = path.join(folder, "texts");
    writeFileSync(text, `${prompt}${alone.text}`);
    await promisify(execFile)(process.execPath, [MAIN, "datastore", "build", text, "--out", file]);
    const speculation = { drafter: "rest", datastore: file, depth: 6 };
    await using llm = await load(undefined, { context: 256, speculation });
    const answer = await llm.generate(prompt, { temperature: 0, maxTokens: 30 });
    assert.deepEqual(answer.tokens, alone.tokens);
    assert.ok(answer.timings.accepted > 10, `${answer.timings.accepted} tokens`);
    const refused = plain.generate(prompt, { speculation: "rest" });
    await assert.rejects(refused, /loaded without what speculation "rest" needs/);
    await assert.rejects(load(undefined, { speculation: { drafter: "rest", datastore: text } }), /no datastore/);
    await assert.rejects(load(undefined, { speculation: "rest" }), /"rest" needs texts/);
  } finally {
    rmSync(folder, { recursive: true });
  }
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
