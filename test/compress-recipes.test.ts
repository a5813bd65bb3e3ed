/** Recipes that change what a model is made of: the file loads and answers, interrupted runs come to the same, the guide is true. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import type { ModelArtifact } from "../src/artifact/artifact.ts";
import { builtinModelPath } from "../src/artifact/node-builtin.ts";
import { createReferenceBackend } from "../src/backend/reference/backend.ts";
import { createToolkit } from "../src/backend/cpu/toolkit.ts";
import { runRecipe } from "../src/compress/compress.ts";
import { PASSES } from "../src/compress/passes.ts";
import { PRESETS } from "../src/compress/presets.ts";
import { checkRecipe } from "../src/compress/recipe.ts";
import { memoryStore } from "../src/compress/store.ts";
import { compress, load } from "../src/index.ts";
import { randomCalibration } from "./support/compressed.ts";
import { tinyModel } from "./support/tiny-models.ts";

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-recipes-"));
});
after(() => rm(folder, { recursive: true }));

const TEXT = "Once upon a time there was a little girl who lived in a small house by the river. ".repeat(8);

for (const recipe of ["q4_0-rotated", "sparse24", "svd-llm", "q3-lorc", "short-2", "flap-25", "slice-25"]) {
  test(`${recipe}: the built-in draft model becomes a file that answers`, async () => {
    const out = join(folder, `${recipe}.gguf`);
    const calibrate = [{ name: "a text", text: TEXT }];
    const { reports } = await compress(builtinModelPath("rill"), { recipe, out, calibrate, tokens: 128, threads: 1 });
    assert.equal(reports.length, PRESETS.get(recipe)?.passes.length);
    await using llm = await load(out, { threads: 1 });
    const { tokens } = await llm.generate("Once upon a time", { maxTokens: 8, temperature: 0, minTokens: 8 });
    assert.equal(tokens.length, 8);
  });
}

const SIZE = { layers: 3, width: 48, heads: 4, kvHeads: 2, headDim: 16, hidden: 64, expertHidden: 32, vocab: 300 };
const RESUMED = [
  ["rotate", "llama", {}],
  ["sparsegpt", "llama", { layers: "owl" }],
  ["low-rank", "llama", { multiple: 1, ranks: "searched" }],
  ["prune-width", "llama", {}],
  ["prune-experts", "mixtral", {}],
] as const;
for (const [pass, family, options] of RESUMED) {
  test(`${pass}: an interrupted run goes on to the same bytes`, async () => {
    const model = tinyModel(family, "F32", 21, SIZE);
    const calibration = randomCalibration(300, 2, 24);
    const toolkit = await createToolkit({ threads: 1 });
    const backend = createReferenceBackend();
    const recipe = checkRecipe({ passes: [{ pass, ...options }] }, "test");
    const run = async (store = memoryStore(), stopAt = Infinity): Promise<ModelArtifact> => {
      const controller = new AbortController();
      let steps = 0;
      const { artifact } = await runRecipe(model, recipe, {
        toolkit,
        backend,
        calibration,
        store,
        signal: controller.signal,
        onProgress: () => ++steps === stopAt && controller.abort(),
      });
      return artifact;
    };
    const whole = await run();
    const store = memoryStore();
    await assert.rejects(run(store, 2), { name: "AbortError" });
    const resumed = await run(store);
    assert.deepEqual([...resumed.tensors.keys()], [...whole.tensors.keys()]);
    for (const [name, tensor] of whole.tensors) {
      const other = resumed.tensors.get(name);
      const bytes = await tensor.source.read(tensor.offset, tensor.byteLength);
      assert.deepEqual(await other?.source.read(other.offset, other.byteLength), bytes, name);
    }
    await toolkit.close();
    await backend.close();
  });
}

test("the guide's tables name passes and recipes that are there", async () => {
  const guide = await readFile(new URL("../docs/compression.md", import.meta.url), "utf8");
  const text = /^## Sparse, low rank, smaller\n(.*?)(?=^## |$(?![^]))/ms.exec(guide)?.[1] ?? "";
  const rows = [...text.matchAll(/^\| `([\w-]+)` \|/gm)].map(([, name = ""]) => name);
  assert.ok(rows.length >= 10);
  for (const name of rows) assert.ok(PASSES.has(name), name);
  const recipes = [...text.matchAll(/^\|.*\| ([^|]*) \|$/gm)].flatMap(([, cell = ""]) =>
    [...cell.matchAll(/`([\w-]+)`/g)].map(([, name = ""]) => name),
  );
  assert.ok(recipes.length >= 20);
  for (const name of recipes) assert.ok(PRESETS.has(name), name);
});
