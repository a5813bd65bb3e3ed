/**
 * Against PyTorch (recipes/fixtures/compress.py, run once on a machine that has it): GPTQ column by column with the Cholesky
 * factor of the inverse Hessian, as its authors have it, where ours feeds errors back with the factor of the Hessian itself;
 * SmoothQuant's factors; AWQ's scales. Inputs are small integers from a generator that both have.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { createToolkit } from "../backend/cpu/toolkit.ts";
import { awqFactors } from "./awq.ts";
import { ColumnStatistics } from "./column-statistics.ts";
import type { Fold } from "./folds.ts";
import { prepare } from "./gptq.ts";
import { smoothing } from "./smooth.ts";

const [ROWS, COLUMNS, TOKENS] = [16, 64, 96];
interface Recorded {
  readonly gptq: readonly number[];
  readonly nearest: readonly number[];
  readonly smooth: Readonly<Record<string, readonly number[]>>;
  readonly awq: Readonly<Record<string, readonly number[]>>;
}
const recorded = JSON.parse(
  readFileSync(new URL("../../test/fixtures/compress.json", import.meta.url), "utf8"),
) as Recorded;

function integers(seed: number, rows: number, columns: number, low: number, high: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: rows * columns }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return ((state >>> 8) % (high - low + 1)) + low;
  });
}

const weights = integers(1, ROWS, COLUMNS, -1000, 1000).map((v) => v / 1024);
const rows = (() => {
  const [left, right, own] = [
    integers(2, TOKENS, 8, -4, 4),
    integers(3, 8, COLUMNS, -3, 3),
    integers(4, TOKENS, COLUMNS, -6, 6),
  ];
  return own.map((v, i) => {
    const [token, column] = [Math.floor(i / COLUMNS), i % COLUMNS];
    let sum = v;
    for (let m = 0; m < 8; m++) sum += (left[token * 8 + m] ?? 0) * (right[m * COLUMNS + column] ?? 0);
    return sum * (column % 13 === 5 ? 8 : 1);
  });
})();

/** Columns that each have a factor of their own. */
const fold: Fold = { input: 0, sites: [], width: COLUMNS, factors: COLUMNS, factorOf: (i) => i, sources: [] };

function near(got: ArrayLike<number>, want: readonly number[], what: string): void {
  assert.equal(got.length, want.length);
  for (const [i, value] of want.entries())
    assert.ok(
      Math.abs((got[i] ?? NaN) - value) <= 1e-3 * Math.max(1e-2, Math.abs(value)),
      `${what} ${i}: ${got[i]}, ${value}`,
    );
}

test("gptq rounds to what its authors' algorithm rounds to", async () => {
  const toolkit = await createToolkit({ threads: 2 });
  const gram = new Float32Array(COLUMNS * COLUMNS);
  await toolkit.addGram(rows, COLUMNS, gram);
  const { factor } = await prepare(gram, { actOrder: false, damp: 0.01 }, toolkit);
  const { values } = await toolkit.solve(weights, factor, { grid: { dtype: "Q8_0" } });
  const plain = await toolkit.solve(weights, { n: COLUMNS }, { grid: { dtype: "Q8_0" } });
  await toolkit.close();
  near(plain.values, recorded.nearest, "to nearest");
  near(values, recorded.gptq, "gptq");
  const moved = recorded.gptq.filter((value, i) => Math.abs(value - (recorded.nearest[i] ?? 0)) > 1e-3).length;
  assert.ok(moved > recorded.gptq.length / 4, "the two are different roundings");
});

test("smoothquant's factors", () => {
  const statistics = new ColumnStatistics(COLUMNS);
  statistics.add(rows);
  const largest = new Float32Array(COLUMNS);
  for (const [i, v] of weights.entries()) largest[i % COLUMNS] = Math.max(largest[i % COLUMNS] ?? 0, Math.abs(v));
  for (const [strength, want] of Object.entries(recorded.smooth))
    near(smoothing(fold, statistics.largest(), largest, Number(strength)), want, `strength ${strength}`);
});

test("awq's scales at an exponent", () => {
  const statistics = new ColumnStatistics(COLUMNS);
  statistics.add(rows);
  for (const [exponent, want] of Object.entries(recorded.awq))
    near(awqFactors(fold, statistics.meanMagnitude(), Number(exponent)), want, `exponent ${exponent}`);
});
