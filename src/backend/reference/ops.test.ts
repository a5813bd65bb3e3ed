import assert from "node:assert/strict";
import test from "node:test";
import { activate, erfc, linear, ropeTable, rope } from "./ops.ts";
import { quantizeRows, roundHalfEven } from "./quantize.ts";

function near(actual: number, expected: number, tolerance: number): void {
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual} is not within ${tolerance} of ${expected}`);
}

test("erfc has the known values (Abramowitz & Stegun, table 7.1)", () => {
  near(erfc(0), 1, 1e-15);
  near(erfc(0.5), 0.4795001221869535, 1e-15);
  near(erfc(1), 0.15729920705028513, 1e-15);
  near(erfc(2.4999), 0.00040711, 1e-6);
  near(erfc(3) / 2.209049699858544e-5, 1, 1e-12);
  near(erfc(-1), 2 - 0.15729920705028513, 1e-15);
});

test("activations have the values that PyTorch documents", () => {
  near(activate(1, "silu"), 0.7310585786300049, 1e-15);
  near(activate(-2, "silu"), -0.2384058440442351, 1e-15);
  near(activate(1, "gelu"), 0.8413447460685429, 1e-15);
  near(activate(1, "geluTanh"), 0.8411919906082768, 1e-15);
  assert.equal(activate(-3, "relu"), 0);
});

test("linear equals its formula for every remainder of rows and outputs", () => {
  for (const rows of [1, 2, 3]) {
    for (const n of [1, 3, 4, 5, 9]) {
      const k = 7;
      const x = Float32Array.from({ length: rows * k }, (_, i) => Math.sin(i + 1));
      const values = Float32Array.from({ length: (n + 2) * k }, (_, i) => Math.cos(3 * i));
      const bias = Float32Array.from({ length: n }, (_, i) => i);
      const out = new Float32Array(rows * n);
      linear(x, { values, offset: 2 * k, n, k }, bias, out);
      for (let t = 0; t < rows; t++) {
        for (let j = 0; j < n; j++) {
          let sum = 0;
          for (let i = 0; i < k; i++) sum += (x[t * k + i] ?? 0) * (values[(j + 2) * k + i] ?? 0);
          near(out[t * n + j] ?? NaN, sum + j, 1e-6);
        }
      }
    }
  }
});

test("rope turns pairs by position · frequency and leaves the other columns", () => {
  const table = ropeTable(Int32Array.of(3), Float32Array.of(0.5), 2);
  const half = new Float32Array(4);
  rope(Float32Array.of(1, 0, 5, 6), 4, 4, false, table, half);
  near(half[0] ?? NaN, 2 * Math.cos(1.5), 1e-6);
  near(half[1] ?? NaN, 2 * Math.sin(1.5), 1e-6);
  assert.deepEqual([...half.subarray(2)], [5, 6]);

  const two = ropeTable(Int32Array.of(3), Float32Array.of(0.5, 0.25), 1);
  const interleaved = new Float32Array(4);
  rope(Float32Array.of(1, 0, 0, 1), 4, 4, true, two, interleaved);
  near(interleaved[1] ?? NaN, Math.sin(1.5), 1e-6);
  near(interleaved[2] ?? NaN, -Math.sin(0.75), 1e-6);
});

test("quantised rows are codes times scales, rounded half to even", () => {
  assert.deepEqual(
    [0.5, 1.5, 2.5, -0.5, -1.5, 1.4].map(roundHalfEven).map((x) => x + 0),
    [0, 2, 2, 0, -2, 1],
  );
  const x = new Float32Array(64);
  x.set([127, 0.5, 1.5, -2.5], 0);
  x.set([-254, 1, 3], 32);
  const rows = quantizeRows(x, 64);
  assert.deepEqual(
    [...rows.subarray(0, 4)].map((v) => v + 0),
    [127, 0, 2, -2],
  );
  assert.deepEqual(
    [...rows.subarray(32, 35)].map((v) => v + 0),
    [-254, 0, 4],
  );
  assert.ok(quantizeRows(Float32Array.of(Infinity, 1), 2).every(Number.isNaN), "what isn't finite shows");
});
