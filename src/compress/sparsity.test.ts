/** What each kind of sparsity promises of its masks and of the weights that stay. */
import assert from "node:assert/strict";
import { after, test } from "node:test";

import type { ModelArtifact } from "../artifact/artifact.ts";
import { tensorValues } from "../artifact/tensor-values.ts";
import { createToolkit } from "../backend/cpu/toolkit.ts";
import { invariant } from "../errors.ts";
import { openCompressor, randomCalibration } from "../../test/support/compressed.ts";
import { tinyModel } from "../../test/support/tiny-models.ts";
import { walkLayers } from "./change-layers.ts";
import { refineMask } from "./dsnot.ts";
import type { InputStatistics } from "./input-statistics.ts";
import { damped } from "./linear-algebra/cholesky.ts";
import { type Matrix, matrixOf, multiply, gram as gramOf } from "./linear-algebra/matrix.ts";
import { SeededRandom } from "./linear-algebra/random.ts";
import { riaScores } from "./ria.ts";
import { factorOf, sparseRows } from "./sparsegpt.ts";
import { masked, maskOf, sharesOf, wandaScores } from "./sparsity.ts";
import { memoryStore } from "./store.ts";

const compressor = await openCompressor();
const toolkit = await createToolkit({ threads: 1 });
after(async () => {
  await compressor.close();
  await toolkit.close();
});

const SIZE = { layers: 3, width: 64, heads: 4, kvHeads: 2, headDim: 16, hidden: 96, vocab: 300 };
const model = tinyModel("llama", "F32", 5, SIZE);
const calibration = randomCalibration(300, 4, 48);

async function valuesOf(artifact: ModelArtifact, name: string): Promise<Float32Array> {
  const tensor = artifact.tensors.get(name);
  invariant(tensor !== undefined, name);
  return tensorValues(tensor);
}

/** What the first layer's matrices read: nothing was changed before. */
async function firstInputs(): Promise<Map<string, InputStatistics>> {
  const found = new Map<string, InputStatistics>();
  const rest = { importance: undefined, store: memoryStore(), progress: () => undefined, signal: undefined };
  const context = { toolkit, backend: compressor.backend, calibration, ...rest };
  await walkLayers(model, context, false, async (layer, sites, seenOf) => {
    if (layer === 0) for (const site of sites) found.set(site.tensor, seenOf(site));
    return new Map();
  });
  return found;
}

test("magnitude keeps the largest weights of a matrix as they are", async () => {
  const { artifact, reports } = await compressor.run(model, [{ pass: "magnitude", sparsity: 0.6 }]);
  const [before, now] = [await valuesOf(model, "blk.2.ffn_up.weight"), await valuesOf(artifact, "blk.2.ffn_up.weight")];
  const gone = [...before.keys()].filter((i) => now[i] === 0);
  const stayed = [...before.keys()].filter((i) => now[i] !== 0);
  assert.equal(gone.length, Math.floor(0.6 * before.length));
  for (const i of stayed) assert.equal(now[i], before[i]);
  const largest = Math.max(...gone.map((i) => Math.abs(before[i] ?? 0)));
  assert.ok(stayed.every((i) => Math.abs(before[i] ?? 0) >= largest));
  const share = reports[0]?.report["sparsity"];
  assert.ok(typeof share === "number" && Math.abs(share - 0.6) < 0.001);
  for (const name of ["token_embd.weight", "output.weight", "blk.0.attn_norm.weight"])
    assert.equal(artifact.tensors.get(name), model.tensors.get(name), "only layers' matrices change");
});

test("Wanda keeps the largest |weight| · ‖input‖ of each row", async () => {
  const { artifact } = await compressor.run(model, [{ pass: "wanda" }], calibration);
  const inputs = await firstInputs();
  assert.equal(inputs.size, 7);
  for (const [name, seen] of inputs) {
    const [before, now] = [await valuesOf(model, name), await valuesOf(artifact, name)];
    const norms = seen.norms();
    for (let start = 0; start < before.length; start += norms.length) {
      const columns = [...norms.keys()];
      const score = (i: number): number => Math.abs(before[start + i] ?? 0) * (norms[i] ?? 0);
      const stayed = columns.filter((i) => now[start + i] !== 0);
      const gone = columns.filter((i) => now[start + i] === 0);
      assert.equal(gone.length, norms.length / 2, name);
      assert.ok(Math.min(...stayed.map(score)) >= Math.max(...gone.map(score)), name);
      for (const i of stayed) assert.equal(now[start + i], before[start + i]);
    }
  }
});

for (const pass of ["magnitude", "wanda", "ria", "sparsegpt"]) {
  for (const [pattern, kept, of] of [
    ["2:4", 2, 4],
    ["4:8", 4, 8],
  ] as const) {
    test(`${pass} leaves ${kept} of ${of} along a row`, async () => {
      const { artifact } = await compressor.run(model, [{ pass, pattern }], calibration);
      for (const name of ["blk.0.attn_q.weight", "blk.1.ffn_down.weight"]) {
        const values = await valuesOf(artifact, name);
        for (let at = 0; at < values.length; at += of)
          assert.equal(values.subarray(at, at + of).filter((value) => value !== 0).length, kept, name);
      }
    });
  }
}

/** Inputs whose columns lean on each other and are of different sizes, and weights. */
function layer(seed: number, rows: number, columns: number): { weights: Float32Array; gram: Matrix } {
  const random = new SeededRandom(seed);
  const normal = (n: number, m: number): Matrix => {
    return { rows: n, columns: m, values: Float64Array.from({ length: n * m }, () => random.normal()) };
  };
  const inputs = multiply(normal(3 * columns, columns / 4), normal(columns / 4, columns));
  const sizes = Array.from({ length: columns }, () => Math.exp(random.normal()));
  for (let i = 0; i < inputs.values.length; i++)
    inputs.values[i] = ((inputs.values[i] ?? 0) + 2 * random.normal()) * (sizes[i % columns] ?? 1);
  return { weights: Float32Array.from(normal(rows, columns).values), gram: gramOf(inputs) };
}

/** Σ (w − ŵ) H (w − ŵ)ᵀ */
function lossOf(before: Float32Array, now: Float32Array, h: Matrix): number {
  const gap = matrixOf(
    before.length / h.rows,
    h.rows,
    before.map((value, i) => value - (now[i] ?? 0)),
  );
  const product = multiply(gap, h);
  return gap.values.reduce((sum, value, i) => sum + value * (product.values[i] ?? 0), 0);
}

test("SparseGPT's loss is what it says, below Wanda's, which is below magnitude's", async () => {
  const half = { sparsity: 0.5, pattern: "unstructured" } as const;
  let better = 0;
  for (let seed = 0; seed < 20; seed++) {
    const [rows, columns] = [24, 160];
    const { weights, gram } = layer(seed, rows, columns);
    const { values, loss } = await sparseRows(weights, columns, await factorOf(gram, 0.01, toolkit), half, toolkit);
    const counted = lossOf(weights, values, damped(gram, 0.01));
    assert.ok(Math.abs(loss - counted) < 1e-3 * counted, `seed ${seed}: ${loss}, counted ${counted}`);
    assert.equal(values.filter((value) => value === 0).length, weights.length / 2);

    const norms = Float64Array.from({ length: columns }, (_, i) => Math.sqrt(gram.values[i * columns + i] ?? 0));
    const byWanda = masked(weights.slice(), maskOf(wandaScores(weights, norms), columns, half, "row"));
    const bySize = masked(weights.slice(), maskOf(Float64Array.from(weights, Math.abs), columns, half, "matrix"));
    const losses = [values, byWanda, bySize].map((now) => lossOf(weights, now, gram));
    if ((losses[0] ?? 0) < (losses[1] ?? 0) && (losses[1] ?? 0) < (losses[2] ?? 0)) better++;
  }
  assert.ok(better >= 19, `in order in ${better} of 20 layers`);
});

test("of two weights SparseGPT lets the cheaper one go, and the other makes up for the first", async () => {
  for (let seed = 0; seed < 10; seed++) {
    const random = new SeededRandom(seed);
    const [a, b, c] = [random.normal(), random.normal(), random.normal()];
    const gram = matrixOf(2, 2, [1 + a * a, a * b, a * b, 1 + b * b + c * c]);
    const h = damped(gram, 0.01).values;
    const [h00 = 0, h01 = 0, , h11 = 0] = h;
    const weights = Float32Array.of(random.normal(), random.normal());
    const [w0 = 0, w1 = 0] = weights;
    const options = { sparsity: 0.5, pattern: "unstructured" } as const;
    const { values, loss } = await sparseRows(weights, 2, await factorOf(gram, 0.01, toolkit), options, toolkit);
    const [first, second] = [w0 * w0 * (h00 - h01 ** 2 / h11), w1 * w1 * h11];
    assert.ok(Math.abs(loss - Math.min(first, second)) < 1e-5, `${loss}: ${first} or ${second}`);
    const expected = first < second ? [0, w1 + (w0 * h01) / h11] : [w0, 0];
    for (const [i, value] of expected.entries()) assert.ok(Math.abs((values[i] ?? NaN) - value) < 1e-5);
  }
});

test("DSØT's swaps lower each row's mean error and keep the count", () => {
  const random = new SeededRandom(9);
  const columns = 128;
  const values = Float32Array.from({ length: 6 * columns }, () => random.normal());
  const means = Float64Array.from({ length: columns }, () => random.normal());
  const variances = Float64Array.from({ length: columns }, () => 0.5 + random.uniform());
  const scores = wandaScores(
    values,
    means.map((mean, i) => Math.hypot(mean, Math.sqrt(variances[i] ?? 0))),
  );
  for (const pattern of ["unstructured", "2:4"] as const) {
    const mask = maskOf(scores, columns, { sparsity: 0.5, pattern }, "row");
    const errors = (): number[] =>
      Array.from({ length: 6 }, (_, r) =>
        Math.abs(
          means.reduce(
            (sum, mean, i) => sum + (mask[r * columns + i] === 0 ? mean * (values[r * columns + i] ?? 0) : 0),
            0,
          ),
        ),
      );
    const before = errors();
    refineMask({ values, scores, mask, columns }, { means: () => means, variances: () => variances }, { pattern });
    const now = errors();
    assert.ok(now.every((error, r) => error <= (before[r] ?? 0)));
    const limit = pattern === "unstructured" ? 0.5 : 1;
    const sum = (list: number[]): number => list.reduce((a, b) => a + b, 0);
    assert.ok(sum(now) < limit * sum(before), `${pattern}: ${before.join(" ")} → ${now.join(" ")}`);
    const run = pattern === "2:4" ? 4 : columns;
    for (let at = 0; at < mask.length; at += run)
      assert.equal(
        mask.subarray(at, at + run).reduce((a, b) => a + b, 0),
        run / 2,
        pattern,
      );
  }
});

test("RIA's scores by hand", () => {
  // Rows sum to 4 and 8, columns to 3 and 9; inputs' norms are 4 and 9.
  const scores = riaScores(Float32Array.of(1, -3, 2, 6), Float64Array.of(4, 9));
  const expected = [(1 / 4 + 1 / 3) * 2, (3 / 4 + 3 / 9) * 3, (2 / 8 + 2 / 3) * 2, (6 / 8 + 6 / 9) * 3];
  for (const [i, score] of expected.entries()) assert.ok(Math.abs((scores[i] ?? 0) - score) < 1e-12);
});

test("OWL's shares keep their mean, and spare layers with outliers", async () => {
  const shares = sharesOf([0.01, 0.05, 0.02], 0.7);
  assert.ok(Math.abs(shares.reduce((a, b) => a + b, 0) / 3 - 0.7) < 1e-12);
  assert.ok((shares[1] ?? 1) < (shares[2] ?? 0) && (shares[2] ?? 1) < (shares[0] ?? 0));
  assert.ok(Math.abs((shares[0] ?? 0) - (shares[1] ?? 0) - 0.16) < 1e-12, "2 λ between the extremes");
  const { reports } = await compressor.run(model, [{ pass: "wanda", layers: "owl", sparsity: 0.7 }], calibration);
  const layers = Object.values(reports[0]?.report["layers"] ?? {}) as number[];
  assert.equal(layers.length, 3);
  assert.ok(Math.max(...layers) - Math.min(...layers) > 0.1, layers.join(" "));
  assert.throws(() => compressor.run(model, [{ pass: "wanda", layers: "owl", pattern: "2:4" }]), /can't differ/);
});

test("the same text gives the same zeros, and swaps change some", async () => {
  const name = "blk.2.ffn_gate.weight";
  const run = async (options: object): Promise<Float32Array> =>
    valuesOf((await compressor.run(model, [{ pass: "wanda", ...options }], calibration)).artifact, name);
  const once = await run({});
  assert.deepEqual(await run({}), once);
  assert.notDeepEqual(await run({ refine: "dsnot" }), once);
});
