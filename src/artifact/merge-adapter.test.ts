/** A merged model gives what the base gives with the adapter beside it. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import test from "node:test";
import { matricesOf, randomAdapter } from "../../test/support/adapters.ts";
import { tinyModel } from "../../test/support/tiny-models.ts";
import { dequantize } from "./dequantize.ts";
import { mergeAdapter } from "./merge-adapter.ts";
import { openGguf, writeGguf } from "./node-gguf.ts";
import { tensorValues } from "./tensor-values.ts";

const SIZE = { layers: 1, width: 64, heads: 2, kvHeads: 1, headDim: 32, hidden: 96, vocab: 64 };

for (const [dtype, merged, tolerance] of [
  ["F32", "F32", 0],
  ["BF16", "BF16", 2 ** -8],
  ["Q8_0", "F16", 2 ** -11],
] as const) {
  test(`${dtype} weights become ${merged}, W + s B A times the gains`, async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "millrace-merge-"));
    try {
      const model = tinyModel("llama", dtype, 5, SIZE);
      const base = { ...model, ggufTypes: new Map([["general.architecture", "string"] as const]) };
      const artifact = { ...base, metadata: { "general.architecture": "llama" } };
      const changes = matricesOf(model, /embd|output|ffn/);
      const adapter = randomAdapter(3, changes, { rank: 4, gains: true });
      const file = path.join(folder, "merged.gguf");
      await writeGguf(file, mergeAdapter(artifact, adapter));
      const written = await openGguf(file);
      assert.deepEqual([...written.tensors.keys()], [...model.tensors.keys()]);
      for (const [name, tensor] of written.tensors) {
        const old = model.tensors.get(name) ?? assert.fail();
        const pair = adapter.pairs.get(name);
        const weights = new Float32Array(old.shape.reduce((product, n) => product * n, 1));
        dequantize(old.dtype, await old.source.read(old.offset, old.byteLength), weights);
        const found = await tensorValues(tensor);
        if (pair === undefined) {
          assert.equal(tensor.dtype, old.dtype);
          assert.deepEqual(found, weights);
          continue;
        }
        assert.equal(tensor.dtype, merged);
        const [a, b] = [await tensorValues(pair.a), await tensorValues(pair.b)];
        const [, columns = 0] = old.shape;
        for (const [i, value] of found.entries()) {
          const [n, k] = [Math.floor(i / columns), i % columns];
          let sum = 0;
          for (let r = 0; r < 4; r++) sum += (b[4 * n + r] ?? 0) * (a[r * columns + k] ?? 0);
          const wanted: number = ((weights[i] ?? 0) + pair.scale * sum) * (pair.gain?.[n] ?? 0);
          // Adds in another order: a unit of the last place of float64, and then one rounding.
          const room = Math.max(tolerance, 2 ** -23) * Math.abs(wanted) + 1e-7;
          assert.ok(Math.abs(value - wanted) <= room, `${name}[${n}, ${k}]: ${value}, not ${wanted}`);
        }
      }
      await written.close();
    } finally {
      await rm(folder, { recursive: true });
    }
  });
}

test("what can't be merged is refused", () => {
  const model = tinyModel("llama", "F32", 5, SIZE);
  const adapter = randomAdapter(3, matricesOf(model, /attn|ffn|output/));
  assert.throws(() => mergeAdapter(model, adapter), /isn't/);
  assert.throws(() => mergeAdapter({ ...model, ggufTypes: new Map() }, adapter), /would change both/);
});
