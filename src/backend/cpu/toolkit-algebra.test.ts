import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { dequantize } from "../../artifact/dequantize.ts";
import { createToolkit, type Grid, type Toolkit } from "./toolkit.ts";

let toolkit: Toolkit;
before(async () => {
  toolkit = await createToolkit({ threads: 2 });
});
after(() => toolkit.close());

function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}

function values(count: number, seed: number): Float32Array {
  const next = random(seed);
  return Float32Array.from({ length: count }, () => next() + next() + next());
}

/** Rows whose columns depend on each other, as activations do. */
function activations(rows: number, n: number, seed: number): Float32Array {
  const noise = values(rows * n, seed);
  const shared = values(rows * 8, seed + 1);
  const mix = values(8 * n, seed + 2);
  return noise.map((v, i) => {
    const [row, column] = [Math.floor(i / n), i % n];
    let sum = 0.3 * v;
    for (let s = 0; s < 8; s++) sum += (shared[row * 8 + s] ?? 0) * (mix[s * n + column] ?? 0);
    return sum;
  });
}

test("products of odd sizes, plain and transposed, equal sums in float64", async () => {
  for (const [rows, cols, terms] of [
    [1, 1, 1],
    [13, 17, 5],
    [100, 270, 300],
  ] as const) {
    const a = values(rows * terms, 1);
    const b = values(terms * cols, 2);
    const flip = (m: Float32Array, h: number, w: number) =>
      Float32Array.from({ length: m.length }, (_, i) => m[(i % h) * w + Math.floor(i / h)] ?? 0);
    const want = Float64Array.from({ length: rows * cols }, (_, i) => {
      let sum = 1;
      for (let p = 0; p < terms; p++) {
        sum += (a[Math.floor(i / cols) * terms + p] ?? 0) * (b[p * cols + (i % cols)] ?? 0);
      }
      return sum;
    });
    for (const transposed of ["", "a", "b", "both"] as const) {
      const left = transposed === "a" || transposed === "both" ? flip(a, rows, terms) : a;
      const right = transposed === "b" || transposed === "both" ? flip(b, terms, cols) : b;
      const c = new Float32Array(rows * cols).fill(1);
      await toolkit.addProduct(left, right, c, { rows, cols, terms }, transposed);
      for (const [i, v] of c.entries()) assert.ok(Math.abs(v - (want[i] ?? 0)) < 1e-4 * terms, `${transposed} ${i}`);
    }
  }
});

test("a Gram matrix's factors multiply to it again", async () => {
  const n = 211;
  const gram = new Float32Array(n * n);
  await toolkit.addGram(activations(900, n, 5), n, gram);
  for (let i = 0; i < n; i++) gram[i * n + i] = (gram[i * n + i] ?? 0) + 5;
  const before = gram.slice();
  const { unit, pivots } = await toolkit.factor(gram, n);
  let largest = 0;
  for (let i = 0; i < n; i++) {
    assert.equal(unit[i * n + i], 1);
    for (let j = i; j < n; j++) {
      let sum = 0;
      for (let m = j; m < n; m++) sum += (unit[i * n + m] ?? 0) * (pivots[m] ?? 0) * (unit[j * n + m] ?? 0);
      const scale = Math.sqrt((before[i * n + i] ?? 0) * (before[j * n + j] ?? 0));
      largest = Math.max(largest, Math.abs(sum - (before[i * n + j] ?? 0)) / scale);
    }
  }
  assert.ok(largest < 1e-5, `off by ${largest}`);
});

test("a matrix that isn't positive definite has no factor", async () => {
  await assert.rejects(toolkit.factor(Float32Array.from([1, 2, 2, 1]), 2), /positive definite/);
});

const GRIDS: readonly Grid[] = [
  { dtype: "Q4_K" },
  { dtype: "Q2_K" },
  { dtype: "Q4_0" },
  { dtype: "IQ4_NL" },
  { bits: 4, group: 64, symmetric: false },
  { bits: 3, group: 128, symmetric: true },
];
for (const grid of GRIDS) {
  const name = "dtype" in grid ? grid.dtype : `${grid.bits} bits in ${grid.group}`;
  for (const ordered of [false, true]) {
    test(`${name}${ordered ? ", in another order" : ""}: feedback lessens the layer's error, and tells it`, async () => {
      const n = 512;
      const rows = 61;
      const weights = values(rows * n, 9);
      const gram = new Float32Array(n * n);
      await toolkit.addGram(activations(700, n, 6), n, gram);
      for (let i = 0; i < n; i++) {
        gram[i * n + i] = (gram[i * n + i] ?? 0) + 10;
        for (let j = 0; j < i; j++) gram[i * n + j] = gram[j * n + i] ?? 0;
      }
      const next = random(3);
      const order = Int32Array.from({ length: n }, (_, i) => i);
      if (ordered) order.sort(() => next());
      const permuted = Float32Array.from(
        { length: n * n },
        (_, i) => gram[(order[Math.floor(i / n)] ?? 0) * n + (order[i % n] ?? 0)] ?? 0,
      );
      const factor = await toolkit.factor(permuted, n);
      const solved = await toolkit.solve(weights, factor, { grid, ...(ordered && { order }) });
      const errorOf = (rounded: Float32Array): number => {
        let sum = 0;
        for (let r = 0; r < rows; r++) {
          for (let i = 0; i < n; i++) {
            const e = (weights[r * n + i] ?? 0) - (rounded[r * n + i] ?? 0);
            for (let j = 0; j < n; j++) {
              sum += e * (gram[i * n + j] ?? 0) * ((weights[r * n + j] ?? 0) - (rounded[r * n + j] ?? 0));
            }
          }
        }
        return sum;
      };
      const got = errorOf(solved.values);
      const told = solved.errors.reduce((a, b) => a + b, 0);
      assert.ok(Math.abs(got - told) < 1e-3 * got, `told ${told}, is ${got}`);
      if (!("dtype" in grid)) return;
      assert.ok(solved.blocks !== undefined);
      const decoded = new Float32Array(rows * n);
      dequantize(grid.dtype, solved.blocks, decoded);
      assert.ok(decoded.every((v, i) => v === solved.values[i]));
      dequantize(grid.dtype, (await toolkit.quantize(grid.dtype, weights, n)).bytes, decoded);
      assert.ok(got < 0.6 * errorOf(decoded), `${got} of ${errorOf(decoded)}`);
    });
  }
}
