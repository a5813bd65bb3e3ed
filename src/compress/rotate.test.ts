/** Turned and hardened models compute what they computed before; families whose stream can't be turned say so. */
import assert from "node:assert/strict";
import { after, test } from "node:test";

import type { ModelArtifact } from "../artifact/artifact.ts";
import { builtinModelPath } from "../artifact/node-builtin.ts";
import { openGguf } from "../artifact/node-gguf.ts";
import { tensorValues } from "../artifact/tensor-values.ts";
import { invariant } from "../errors.ts";
import { largestGap, logitsOf, openCompressor } from "../../test/support/compressed.ts";
import { tinyModel } from "../../test/support/tiny-models.ts";
import type { Calibration } from "./calibration.ts";
import { LayerWalk } from "./layer-walk.ts";
import { frobenius, type Matrix, matrixOf, multiplyTransposed, rowOf } from "./linear-algebra/matrix.ts";
import { PRESETS } from "./presets.ts";

const compressor = await openCompressor();
after(() => compressor.close());

const SIZE = { width: 48, heads: 4, kvHeads: 2, headDim: 16, hidden: 80, expertHidden: 40, vocab: 300 };
const TOKENS = [1, 200, 30, 4, 17, 99];
/** Float32 logits of a few units, twice through another order of sums. */
const LIMIT = 1e-4;

for (const family of ["llama", "qwen2", "qwen3", "mixtral", "qwen3moe", "phi3"] as const) {
  for (const kind of ["hadamard", "orthogonal"] as const) {
    test(`${family}'s function stays under a rotation (${kind})`, async () => {
      const model = tinyModel(family, "F32", 7, SIZE);
      const { artifact, reports } = await compressor.run(model, [{ pass: "rotate", kind, seed: 3 }]);
      const before = await logitsOf(compressor.backend, model, TOKENS);
      const gap = largestGap(before, await logitsOf(compressor.backend, artifact, TOKENS));
      assert.ok(gap < LIMIT, `max |Δlogit| ${gap}`);
      assert.equal(reports[0]?.report["layersOfValues"], 2);
      const [old, turned] = [model, artifact].map((one) => one.tensors.get("blk.1.attn_output.weight"));
      invariant(old !== undefined && turned !== undefined, "both have the layer");
      assert.ok(largestGap(await tensorValues(old), await tensorValues(turned)) > 0.05, "the weights are others");
    });
  }
}

for (const [family, why] of [
  ["gemma3", /post_attention_norm.weight is not followed by matrices alone/],
  ["gpt2", /"layerNorm" is not the same/],
] as const) {
  test(`${family} is refused by name`, async () => {
    await assert.rejects(compressor.run(tinyModel(family, "F32", 7), [{ pass: "rotate" }]), why);
  });
}

test("a tied model gets an output matrix, and a rotation takes planted outliers away again", async () => {
  const model = await openGguf(builtinModelPath("rill"));
  try {
    const before = await logitsOf(compressor.backend, model, TOKENS);
    const hardened = PRESETS.get("hardened");
    invariant(hardened !== undefined, "a preset");
    const { artifact } = await compressor.run(model, hardened.passes);
    assert.ok(artifact.tensors.has("output.weight"));
    const gap = largestGap(before, await logitsOf(compressor.backend, artifact, TOKENS));
    assert.ok(gap < LIMIT, `max |Δlogit| ${gap}`);

    const norm = artifact.tensors.get("blk.0.attn_norm.weight");
    invariant(norm !== undefined, "a norm");
    const gains = [...(await tensorValues(norm))];
    assert.deepEqual([gains.filter((gain) => gain === 1).length, gains.filter((gain) => gain === 32).length], [124, 4]);

    const { artifact: again } = await compressor.run(artifact, [{ pass: "rotate" }]);
    const second = largestGap(before, await logitsOf(compressor.backend, again, TOKENS));
    assert.ok(second < LIMIT, `max |Δlogit| ${second}`);
    const flat = again.tensors.get("blk.0.attn_norm.weight");
    invariant(flat !== undefined, "a norm");
    assert.ok((await tensorValues(flat)).every((gain) => gain === 1));
  } finally {
    await model.close();
  }
});

test("planting alone changes nothing, and is found in the norms' outputs", async () => {
  const model = tinyModel("qwen2", "F32", 8, SIZE);
  const { artifact, reports } = await compressor.run(model, [{ pass: "plant-outliers", columns: 3 }]);
  const before = await logitsOf(compressor.backend, model, TOKENS);
  assert.ok(largestGap(before, await logitsOf(compressor.backend, artifact, TOKENS)) < LIMIT);
  const planted = reports[0]?.report["columns"];
  invariant(typeof planted === "object" && planted !== null && "blk.1.ffn_norm.weight" in planted, "columns by norm");
  const [old, now] = [model, artifact].map((one) => one.tensors.get("blk.1.ffn_norm.weight"));
  invariant(old !== undefined && now !== undefined, "both have the norm");
  const [a, b] = [await tensorValues(old), await tensorValues(now)];
  const grown = Array.from(a.keys()).filter((i) => b[i] === 32 * (a[i] ?? 0));
  assert.deepEqual(grown, planted["blk.1.ffn_norm.weight"]);
});

test("at 4 bits for weights and rows rotations err less than SmoothQuant, which errs less than nothing", async () => {
  const model = await openGguf(builtinModelPath("rill"));
  try {
    const calibration = {
      name: "ids",
      sequences: [Int32Array.from({ length: 32 }, (_, i) => 300 + ((i * 7919) % 2000))],
    };
    const hard = PRESETS.get("hardened");
    invariant(hard !== undefined, "a preset");
    const { artifact: plain } = await compressor.run(model, hard.passes);
    const { artifact: smooth } = await compressor.run(plain, [{ pass: "smoothquant" }], calibration);
    const { artifact: turned } = await compressor.run(plain, [{ pass: "rotate" }]);
    const errors: number[] = [];
    for (const artifact of [turned, smooth, plain]) errors.push(await errorAtFourBits(artifact, calibration));
    const [ofTurned = NaN, ofSmooth = NaN, ofPlain = NaN] = errors;
    assert.ok(ofTurned < 0.75 * ofSmooth && ofSmooth < 0.5 * ofPlain, errors.join(" "));
  } finally {
    await model.close();
  }
});

/** The mean share of a matrix's output that is lost where weights and rows are rounded to 15 levels, each row by its largest. */
async function errorAtFourBits(artifact: ModelArtifact, calibration: Calibration): Promise<number> {
  const walk = await LayerWalk.begin(artifact, { backend: compressor.backend, calibration });
  const shares: number[] = [];
  for (let section = walk.section; section !== undefined; section = walk.section) {
    const seen = new Map<number, Matrix>();
    const inputs = section.sites.map(({ input }) => input);
    const rows = await walk.observe(inputs, (value, values) => {
      const columns = walk.sections.graph.widths[value] ?? 0;
      seen.set(value, matrixOf(values.length / columns, columns, values));
    });
    for (const { tensor: name, input } of section.sites) {
      const [tensor, x] = [artifact.tensors.get(name), seen.get(input)];
      invariant(tensor !== undefined && x !== undefined, name);
      const w = matrixOf(tensor.shape[0] ?? 0, tensor.shape[1] ?? 0, await tensorValues(tensor));
      const [wanted, made] = [multiplyTransposed(x, w), multiplyTransposed(toFourBits(x), toFourBits(w))];
      const gap = { ...wanted, values: wanted.values.map((value, i) => value - (made.values[i] ?? 0)) };
      shares.push((frobenius(gap) / frobenius(wanted)) ** 2);
    }
    walk.accept(rows);
  }
  return shares.reduce((sum, share) => sum + share, 0) / shares.length;
}

function toFourBits(a: Matrix): Matrix {
  const result = { ...a, values: a.values.slice() };
  for (let r = 0; r < a.rows; r++) {
    const row = rowOf(result, r);
    const step = row.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / 7;
    if (step > 0) for (let i = 0; i < row.length; i++) row[i] = Math.round((row[i] ?? 0) / step) * step;
  }
  return result;
}
