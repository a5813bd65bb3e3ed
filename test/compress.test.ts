/** compress(): from a file to a file, interrupted and resumed, and what the file says of itself. */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { builtinModelPath } from "../src/artifact/node-builtin.ts";
import { openGguf } from "../src/artifact/node-gguf.ts";
import { openArtifact } from "../src/artifact/node-open.ts";
import { tensorValues } from "../src/artifact/tensor-values.ts";
import { compress, load, planCompression } from "../src/index.ts";
import { parityFiles } from "./support/parity.ts";

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

test("a folder in each layout is read again as the floats that its integers stand for", async () => {
  const { config, weights } = parityFiles("llama");
  const from = join(folder, "hf");
  await mkdir(from);
  await writeFile(join(from, "config.json"), config);
  await writeFile(join(from, "tokenizer.json"), "{}");
  await writeFile(join(from, "model.safetensors"), weights);
  const recipe = { passes: [{ pass: "round", bits: 4, group: 32, symmetric: true }] };
  await compress(from, { recipe, out: join(folder, "floats"), threads: 1 });
  const floats = await openArtifact(join(folder, "floats"));
  for (const layout of ["gptq", "awq", "compressed-tensors"] as const) {
    const out = join(folder, layout);
    await compress(from, { recipe, out, layout, threads: 1 });
    const packed = await openArtifact(out);
    assert.deepEqual([...packed.tensors.keys()].toSorted(), [...floats.tensors.keys()].toSorted());
    for (const [name, tensor] of packed.tensors) {
      const want = floats.tensors.get(name);
      assert.ok(want !== undefined);
      const [a, b] = [await tensorValues(tensor), await tensorValues(want)];
      assert.ok(
        a.every((v, i) => Math.abs(v - (b[i] ?? 0)) <= 1e-3 * Math.abs(v) + 1e-6),
        `${layout}: ${name}`,
      );
    }
    await packed.close();
  }
  await floats.close();
  await assert.rejects(compress(from, { recipe: "q4_0", out: join(folder, "q4") }), /takes a model in GGUF/);
  await assert.rejects(compress(model, { recipe: "q4_0", out: join(folder, "x") }), /is written of such a folder/);
});
