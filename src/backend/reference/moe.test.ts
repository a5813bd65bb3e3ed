import assert from "node:assert/strict";
import test from "node:test";
import { route } from "./moe.ts";

const OPTIONS = { op: "route", inputs: [0], scores: "softmax", normalize: true, factor: 1 } as const;
const NO_WEIGHTS = { get: (): Float32Array => assert.fail("no weights are read") };

function close(actual: Float32Array, expected: readonly number[]): void {
  assert.equal(actual.length, expected.length);
  for (const [i, x] of expected.entries())
    assert.ok(Math.abs((actual[i] ?? NaN) - x) < 1e-6, `${actual.join()} is not ${expected.join()}`);
}

test("routing takes the lower id among equals and gives ids in ascending order", () => {
  close(route(Float32Array.of(1, 3, 3, 3, 0), 5, { ...OPTIONS, topK: 2 }, NO_WEIGHTS), [1, 2, 0.5, 0.5]);
  const two = Float32Array.of(0, Math.log(3), Math.log(3), 0);
  close(route(two, 2, { ...OPTIONS, topK: 1, normalize: false }, NO_WEIGHTS), [1, 0.75, 0, 0.75]);
});

test("a bias and groups choose, and the scores share", () => {
  const logits = Float32Array.of(0, 0, 2, 2, 0, 1);
  const bias = { name: "bias", shape: [6], parts: [] };
  const weights = { get: () => Float32Array.of(0.9, 0, 0, 0, 0, 0) };
  const sigmoid = { ...OPTIONS, scores: "sigmoid", normalize: false } as const;
  const s = (x: number): number => 1 / (1 + Math.exp(-x));
  close(route(logits, 6, { ...sigmoid, topK: 2, bias }, weights), [0, 2, s(0), s(2)]);
  // Pairs: 1.4 + 0.5, 0.88 + 0.88, 0.5 + 0.73. By the largest, too, the first group is kept.
  const groups = { count: 3, kept: 1, by: "two largest" } as const;
  close(route(logits, 6, { ...sigmoid, topK: 2, bias, groups, factor: 2 }, weights), [0, 1, 2 * s(0), 2 * s(0)]);
  const by = { ...groups, by: "largest" } as const;
  close(route(logits, 6, { ...sigmoid, topK: 1, groups: by }, NO_WEIGHTS), [2, s(2)]);
});
