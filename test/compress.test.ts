/** compress(): from a file to a file, interrupted and resumed, and what the file says of itself. */
import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { builtinModelPath } from "../src/artifact/node-builtin.ts";
import { openGguf } from "../src/artifact/node-gguf.ts";
import { compress, load, planCompression } from "../src/index.ts";

const model = builtinModelPath("rill");
let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-compress-"));
});
after(() => rm(folder, { recursive: true }));

test("a file is as large as was planned, tells how it was made, and answers", async () => {
  const out = join(folder, "plain.gguf");
  const recipe = { passes: [{ pass: "quantize", type: "Q4_0" }] };
  const plan = await planCompression(model, { recipe });
  const result = await compress(model, { recipe, out, threads: 1 });
  assert.equal(result.bytes, plan?.bytes);
  assert.ok(result.bytes < 0.9 * result.from);
  const artifact = await openGguf(out);
  const told = (key: string): unknown => {
    const value = artifact.metadata[`millrace.compress.${key}`];
    assert.ok(typeof value === "string");
    return JSON.parse(value);
  };
  assert.deepEqual(told("recipe"), { name: "given", ...recipe });
  assert.deepEqual(told("report"), result.reports);
  assert.equal(artifact.metadata["general.file_type"], 2);
  await artifact.close();
  await using llm = await load(out, { threads: 1 });
  const { text } = await llm.generate("Once upon a time", { maxTokens: 8, temperature: 0 });
  assert.ok(text.length > 0);
});

test("an interrupted run goes on where it was, to the same bytes", async () => {
  const whole = join(folder, "whole.gguf");
  const out = join(folder, "resumed.gguf");
  await compress(model, { recipe: "q5_1", out: whole, threads: 1 });
  const controller = new AbortController();
  let before = 0;
  const interrupted = compress(model, {
    recipe: "q5_1",
    out,
    threads: 1,
    signal: controller.signal,
    onProgress: () => {
      if (++before === 5) controller.abort();
    },
  });
  await assert.rejects(interrupted, { name: "AbortError" });
  assert.ok((await readdir(folder)).includes("resumed.gguf.work"));
  await compress(model, { recipe: "q5_1", out, threads: 2 });
  assert.deepEqual(await readFile(out), await readFile(whole));
  assert.ok(!(await readdir(folder)).includes("resumed.gguf.work"), "nothing is left beside the file");
});
