/** Matrices in two factors: what is lost is what the singular values say, and the model runs as two linears. */
import assert from "node:assert/strict";
import { after, test } from "node:test";

import { builtinModelPath } from "../artifact/node-builtin.ts";
import { openGguf } from "../artifact/node-gguf.ts";
import { tensorValues } from "../artifact/tensor-values.ts";
import { invariant } from "../errors.ts";
import { largestGap, logitsOf, openCompressor, randomCalibration } from "../../test/support/compressed.ts";
import { tinyModel } from "../../test/support/tiny-models.ts";
import { factorise, type InputFacts, type RankChoice, rankFor, searchedRanks } from "./factorise.ts";
import { gram as gramOf, type Matrix, multiply, multiplyTransposed } from "./linear-algebra/matrix.ts";
import { SeededRandom } from "./linear-algebra/random.ts";
import { withTensorMap } from "./tensors.ts";
import { memorySource } from "../artifact/byte-source.ts";

const compressor = await openCompressor();
after(() => compressor.close());

function normal(rows: number, columns: number, random: SeededRandom): Matrix {
  return { rows, columns, values: Float64Array.from({ length: rows * columns }, () => random.normal()) };
}

/** Rows whose columns lean on each other and are of different sizes. */
function inputs(seed: number, columns: number): Matrix {
  const random = new SeededRandom(seed);
  const x = multiply(normal(4 * columns, columns / 2, random), normal(columns / 2, columns, random));
  const sizes = Array.from({ length: columns }, () => Math.exp(random.normal()));
  return { ...x, values: x.values.map((value, i) => (value + random.normal()) * (sizes[i % columns] ?? 1)) };
}

function factsOf(x: Matrix): InputFacts {
  return {
    gram: () => gramOf(x),
    meanMagnitudes: () =>
      Float64Array.from({ length: x.columns }, (_, j) => {
        let sum = 0;
        for (let r = 0; r < x.rows; r++) sum += Math.abs(x.values[r * x.columns + j] ?? 0);
        return sum / x.rows;
      }),
  };
}

/** ‖(W − b a) Xᵀ‖² */
function lossOf(w: Matrix, { a, b }: { a: Matrix; b: Matrix }, x: Matrix): number {
  const product = multiply(b, a);
  const gap = { ...w, values: w.values.map((value, i) => value - (product.values[i] ?? 0)) };
  return multiplyTransposed(gap, x).values.reduce((sum, value) => sum + value * value, 0);
}

for (const [rows, columns] of [
  [20, 12],
  [12, 20],
] as const) {
  test(`SVD-LLM loses the sum of the squares of the values it drops (${rows} × ${columns})`, () => {
    const w = normal(rows, columns, new SeededRandom(1));
    const x = inputs(2, columns);
    for (const rank of [1, 5, 11]) {
      const found = factorise(w, rank, "svd-llm", factsOf(x));
      const expected = found.singular.slice(rank).reduce((sum, value) => sum + value * value, 0);
      const lost = lossOf(w, found, x);
      // What is added to the diagonal counts as inputs, too.
      assert.ok(Math.abs(lost - expected) < 1e-2 * expected, `rank ${rank}: ${lost}, expected ${expected}`);
    }
  });
}

test("SVD-LLM loses less than ASVD, ASVD less than SVD", () => {
  let inOrder = 0;
  for (let seed = 0; seed < 20; seed++) {
    const w = normal(24, 32, new SeededRandom(100 + seed));
    const x = inputs(seed, 32);
    const losses = (["svd-llm", "asvd", "svd"] as const).map((by) => lossOf(w, factorise(w, 12, by, factsOf(x)), x));
    assert.ok((losses[0] ?? 0) < Math.min(losses[1] ?? 0, losses[2] ?? 0), "the optimum");
    if ((losses[1] ?? 0) < (losses[2] ?? 0)) inOrder++;
  }
  assert.ok(inOrder >= 19, `${inOrder} of 20`);
});

test("searched ranks keep the budget and lose as little as any", () => {
  const choices: RankChoice[] = [
    { rows: 8, columns: 8, energies: [0.7, 0.2, 0.05, 0.03, 0.01, 0.005, 0.003, 0.002] },
    { rows: 8, columns: 8, energies: [0.2, 0.18, 0.16, 0.14, 0.12, 0.1, 0.06, 0.04] },
  ];
  const lost = (ranks: readonly number[]): number =>
    choices.reduce((sum, { energies }, i) => sum + energies.slice(ranks[i]).reduce((a, b) => a + b, 0), 0);
  const ranks = searchedRanks(choices, 0.8, 1);
  const cost = ([p = 0, q = 0]: readonly number[]): number => 16 * (p + q);
  assert.ok(cost(ranks) <= 0.8 * 128);
  for (let p = 1; p <= 8; p++)
    for (let q = 1; q <= 8; q++)
      if (cost([p, q]) <= 0.8 * 128) assert.ok(lost(ranks) <= lost([p, q]) + 1e-12, `${p}, ${q}`);
  assert.deepEqual([rankFor(512, 512, 0.8, 32), rankFor(512, 512, 0.8, 1), rankFor(8, 8, 0.1, 32)], [192, 204, 1]);
});

const SIZE = { width: 64, heads: 4, kvHeads: 2, headDim: 16, hidden: 96, vocab: 300 };
const TOKENS = [1, 200, 30, 4, 17, 99];
const calibration = randomCalibration(300, 4, 48);

for (const family of ["llama", "qwen2", "phi3"] as const) {
  test(`${family} in two factors computes what the products would`, async () => {
    const model = tinyModel(family, "F32", 5, SIZE);
    const options = { keep: 0.6, multiple: 1, type: "F32" } as const;
    const { artifact, reports } = await compressor.run(model, [{ pass: "low-rank", ...options }], calibration);
    const { ranks, keep } = reports[0]?.report ?? {};
    invariant(typeof ranks === "object" && ranks !== null && typeof keep === "number", "the report tells");
    assert.ok(Object.keys(ranks).length >= 8 && keep <= 0.6 && keep > 0.5, `${keep}`);
    const tensors = new Map(artifact.tensors);
    for (const name of Object.keys(ranks)) {
      assert.ok(!tensors.has(name));
      const [a, b] = ["a", "b"].map((which) => artifact.tensors.get(name.replace(".weight", `.low_${which}.weight`)));
      const like = model.tensors.get(name);
      invariant(a !== undefined && b !== undefined && like !== undefined, name);
      const [inner = 0, columns = 0] = a.shape;
      const left = { rows: b.shape[0] ?? 0, columns: inner, values: Float64Array.from(await tensorValues(b)) };
      const right = { rows: inner, columns, values: Float64Array.from(await tensorValues(a)) };
      const bytes = new Uint8Array(Float32Array.from(multiply(left, right).values).buffer);
      tensors.delete(a.name);
      tensors.delete(b.name);
      tensors.set(name, { ...like, source: memorySource(name, bytes), offset: 0, byteLength: bytes.length });
    }
    const whole = await logitsOf(compressor.backend, withTensorMap(model, tensors), TOKENS);
    const gap = largestGap(await logitsOf(compressor.backend, artifact, TOKENS), whole);
    assert.ok(gap < 1e-4, `max |Δlogit| ${gap}`);
    assert.ok(largestGap(await logitsOf(compressor.backend, model, TOKENS), whole) > 0.01, "something was lost");
  });
}

test("searched ranks differ, and keep the budget in a model", async () => {
  const model = tinyModel("llama", "F32", 6, SIZE);
  const options = { keep: 0.5, multiple: 1, ranks: "searched" };
  const { reports } = await compressor.run(model, [{ pass: "low-rank", ...options }], calibration);
  const { ranks, keep } = reports[0]?.report ?? {};
  invariant(typeof ranks === "object" && ranks !== null && typeof keep === "number", "the report tells");
  assert.ok(keep <= 0.5 && keep > 0.47, `${keep}`);
  assert.ok(new Set(Object.values(ranks)).size > 3);
});

test("a low-rank residual brings rounded logits nearer, and whitened ones nearer still to what is read", async () => {
  const model = await openGguf(builtinModelPath("rill"));
  try {
    const base = await logitsOf(compressor.backend, model, TOKENS);
    const distance = async (
      passes: { pass: string; [option: string]: unknown }[],
      withText: boolean,
    ): Promise<number> => {
      const ids = withText ? { name: "ids", sequences: [Int32Array.from(TOKENS)] } : undefined;
      const { artifact } = await compressor.run(model, passes, ids);
      const now = await logitsOf(compressor.backend, artifact, TOKENS);
      return base.reduce((sum, value, i) => sum + (value - (now[i] ?? 0)) ** 2, 0);
    };
    const rounded = await distance([{ pass: "quantize", type: "Q4_0" }], false);
    const residual = await distance([{ pass: "lorc", type: "Q4_0", rank: 32 }], false);
    assert.ok(residual < 0.8 * rounded, `${residual} of ${rounded}`);
    // Six tokens are fewer than the rank: what they are multiplied with comes back all but whole.
    const whitened = await distance([{ pass: "lorc", type: "Q4_0", rank: 32 }], true);
    assert.ok(whitened < residual, `${whitened} of ${residual}`);
  } finally {
    await model.close();
  }
});
