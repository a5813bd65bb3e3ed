/** The property that defines each pass that rounds, or prepares for it, on random models and the smallest real one. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import type { ModelArtifact } from "../artifact/artifact.ts";
import { dequantize } from "../artifact/dequantize.ts";
import { builtinModelPath } from "../artifact/node-builtin.ts";
import { openGguf } from "../artifact/node-gguf.ts";
import { tensorValues } from "../artifact/tensor-values.ts";
import { createToolkit, type Toolkit } from "../backend/cpu/toolkit.ts";
import {
  type Compressor,
  largestGap,
  logitsOf,
  openCompressor,
  randomCalibration,
} from "../../test/support/compressed.ts";
import { ColumnStatistics } from "./column-statistics.ts";
import { foldsOf } from "./folds.ts";
import { prepare } from "./gptq.ts";
import { hqqBlocks } from "./hqq.ts";
import { LayerWalk } from "./layer-walk.ts";

const tokens = [310, 1200, 77, 901, 42, 1999, 640, 5];
const calibration = randomCalibration(2000, 4, 48);
let compressor: Compressor;
let toolkit: Toolkit;
let artifact: ModelArtifact;
before(async () => {
  compressor = await openCompressor();
  toolkit = await createToolkit({ threads: 2 });
  artifact = await openGguf(builtinModelPath("rill"));
});
after(async () => {
  await compressor.close();
  await toolkit.close();
  await artifact.close();
});

for (const passes of [[{ pass: "awq", type: "Q4_0" }], [{ pass: "smoothquant", where: "all" }]]) {
  test(`${passes[0]?.pass}: what the model computes stays`, async () => {
    const { artifact: changed, reports } = await compressor.run(artifact, passes, calibration);
    const before = await logitsOf(compressor.backend, artifact, tokens);
    const after = await logitsOf(compressor.backend, changed, tokens);
    const scale = before.reduce((most, logit) => Math.max(most, Math.abs(logit)), 0);
    assert.ok(largestGap(before, after) < 1e-4 * scale, `off by ${largestGap(before, after)} of ${scale}`);
    // Values are shared by heads, norms by matrices: four places a layer.
    assert.equal(Number(reports[0]?.report["folds"]) % 4, 0);
    const [name, tensor] = [...changed.tensors].find(([key]) => key.includes("attn_q")) ?? [];
    assert.ok(tensor !== undefined && name !== undefined);
    const own = artifact.tensors.get(name);
    assert.ok(own !== undefined);
    assert.ok(largestGap(await tensorValues(own), await tensorValues(tensor)) > 0, "and the weights don't");
  });
}

test("smoothquant evens out activations whose columns differ", async () => {
  const { artifact: changed } = await compressor.run(artifact, [{ pass: "smoothquant", strength: 0.8 }], calibration);
  const peaks: number[] = [];
  for (const model of [artifact, changed]) {
    const walk = await LayerWalk.begin(model, { backend: compressor.backend, calibration });
    const { section } = walk;
    assert.ok(section !== undefined);
    const [fold] = foldsOf(walk.sections.graph, section);
    assert.ok(fold !== undefined);
    const statistics = new ColumnStatistics(fold.width);
    await walk.observe([fold.input], (_, rows) => statistics.add(rows));
    const largest = statistics.largest();
    peaks.push((Math.max(...largest) * largest.length) / largest.reduce((a, b) => a + b, 0));
  }
  assert.ok((peaks[1] ?? 0) < 0.9 * (peaks[0] ?? 0), peaks.join(" → "));
});

test("gptq: each matrix's outputs err less than rounded to nearest, on 95 of 100", async () => {
  const { artifact: made } = await compressor.run(artifact, [{ pass: "gptq", type: "Q4_0", pure: true }], calibration);
  const { artifact: plain } = await compressor.run(artifact, [{ pass: "quantize", type: "Q4_0", pure: true }]);
  const walk = await LayerWalk.begin(artifact, { backend: compressor.backend, calibration });
  let [better, all] = [0, 0];
  for (let section = walk.section; section !== undefined; section = walk.section) {
    const rows = new Map<number, Float32Array[]>();
    const { sites } = section;
    const out = await walk.observe(
      sites.map(({ input }) => input),
      (value, seen) => void rows.set(value, [...(rows.get(value) ?? []), seen.slice()]),
    );
    for (const { tensor, input } of sites) {
      const [own, feedback, nearest] = await Promise.all(
        [artifact, made, plain].map((model) => {
          const found = model.tensors.get(tensor);
          assert.ok(found !== undefined);
          return tensorValues(found);
        }),
      );
      assert.ok(own !== undefined && feedback !== undefined && nearest !== undefined);
      const width = walk.sections.graph.widths[input] ?? 1;
      const errorOf = async (rounded: Float32Array): Promise<number> => {
        const errors = rounded.map((v, i) => v - (own[i] ?? 0));
        let sum = 0;
        for (const seen of rows.get(input) ?? []) {
          const shape = { rows: errors.length / width, cols: seen.length / width, terms: width };
          const product = new Float32Array(shape.rows * shape.cols);
          await toolkit.addProduct(errors, seen, product, shape, "b");
          sum += product.reduce((total, v) => total + v * v, 0);
        }
        return sum;
      };
      all++;
      if ((await errorOf(feedback)) <= (await errorOf(nearest))) better++;
    }
    walk.accept(out);
  }
  assert.ok(better >= 0.95 * all, `${better} of ${all}`);
});

test("columns by their activations: the order is a permutation, and what it rounds is as good", async () => {
  const n = 64;
  const gram = new Float32Array(n * n);
  const rows = Float32Array.from({ length: 200 * n }, (_, i) => Math.sin(i * 1.7) * (1 + (i % n) / 8));
  await toolkit.addGram(rows, n, gram);
  const { order, diagonal } = await prepare(gram, { actOrder: true, damp: 0.01 }, toolkit);
  assert.ok(order !== undefined);
  assert.deepEqual(
    [...order].sort((a, b) => a - b),
    [...diagonal.keys()],
  );
  for (let i = 1; i < n; i++) assert.ok((diagonal[order[i - 1] ?? 0] ?? 0) >= (diagonal[order[i] ?? 0] ?? 0));
});

test("hqq: blocks are read again, and err less under the norm than the plain range does", () => {
  // Most weights are small, a few are not: what the method is made for.
  let seed = 5;
  const next = (): number => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32 - 0.5;
  const values = Float32Array.from({ length: 32 * 400 }, () => next() * (next() > 0.45 ? 4 : 1));
  const lossOf = (rounds: number): number => {
    const bytes = hqqBlocks({ type: "Q4_1", p: 0.7, rounds }, values);
    const out = new Float32Array(values.length);
    dequantize("Q4_1", bytes, out);
    return out.reduce((sum, v, i) => sum + Math.abs(v - (values[i] ?? 0)) ** 0.7, 0);
  };
  assert.ok(lossOf(20) < 0.99 * lossOf(1), `${lossOf(20)} of ${lossOf(1)}`);
});
