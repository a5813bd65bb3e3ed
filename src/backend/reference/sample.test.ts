import assert from "node:assert/strict";
import test from "node:test";
import { GREEDY } from "../program-runner.ts";
import { NO_SAMPLE, NOT_FINITE, type SamplerParams } from "../contract.ts";
import { adjustLogits, gumbel, keptTokens, philox, sampleToken } from "./sample.ts";

const PLAIN: SamplerParams = { ...GREEDY, temperature: 1, seed: 1n };

test("Philox4x32-10 gives the known answers of its authors (Random123)", () => {
  const hex = (words: readonly number[]): string => words.map((word) => word.toString(16).padStart(8, "0")).join(" ");
  const ones = 0xffffffff;
  assert.equal(hex(philox([0, 0, 0, 0], [0, 0])), "6627e8d5 e169c58d bc57ac4c 9b00dbd8");
  assert.equal(hex(philox([ones, ones, ones, ones], [ones, ones])), "408f276d 41c83b0e a20bc7c6 6d5451fd");
  const pi = philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]);
  assert.equal(hex(pi), "d16cfe09 94fdcceb 5001e420 24126ea1");
});

test("the noise depends on seed, sample, position and id, all 64 bits of the seed included", () => {
  const draws = [
    gumbel(1n, 0, 5, 7),
    gumbel(1n << 40n, 0, 5, 7),
    gumbel(1n, 1, 5, 7),
    gumbel(1n, 0, 6, 7),
    gumbel(1n, 0, 5, 8),
  ];
  assert.equal(new Set(draws).size, draws.length);
  assert.equal(gumbel(1n, 0, 5, 7), draws[0]);
});

test("samples follow the softmax at the given temperature", () => {
  const probabilities = [0.5, 0.3, 0.15, 0.05];
  const temperature = 0.7;
  const logits = Float32Array.from(probabilities, (p) => temperature * Math.log(p) + 3);
  const counts = [0, 0, 0, 0];
  const draws = 20_000;
  for (let position = 0; position < draws; position++) {
    const id = sampleToken(logits, position, { ...PLAIN, temperature }, new Map(), 0);
    counts[id] = (counts[id] ?? 0) + 1;
  }
  probabilities.forEach((p, id) => {
    const deviation = Math.sqrt(draws * p * (1 - p));
    assert.ok(Math.abs((counts[id] ?? 0) - draws * p) < 5 * deviation, `id ${id}: ${counts[id]} of ${draws}, p = ${p}`);
  });
});

test("top-k, top-p and min-p keep what they should, the lower id first among equals", () => {
  const p = [0.1, 0.4, 0.1, 0.3, 0.1];
  const logits = Float32Array.from(p, Math.log);
  const z = (id: number): number => Math.log((p[id] ?? 0) / 0.4);
  const kept = (options: Partial<SamplerParams>): number[] => keptTokens(logits, z, { ...PLAIN, ...options });
  assert.deepEqual(kept({}), [1, 3, 0, 2, 4]);
  assert.deepEqual(kept({ topK: 3 }), [1, 3, 0]);
  assert.deepEqual(kept({ topP: 0.65 }), [1, 3]);
  assert.deepEqual(kept({ topP: 0.75 }), [1, 3, 0]);
  assert.deepEqual(kept({ topP: 0 }), [1]);
  assert.deepEqual(kept({ topK: 2, topP: 0.55 }), [1], "of the two kept, 0.4 / 0.7 is enough");
  assert.deepEqual(kept({ minP: 0.5 }), [1, 3]);
  assert.deepEqual(kept({ topK: 4, minP: 0.2 }), [1, 3, 0, 2]);
});

test("bias, penalties and minTokens change the logits in their order", () => {
  const params = {
    ...PLAIN,
    repetitionPenalty: 2,
    presencePenalty: 0.5,
    frequencyPenalty: 0.25,
    biasIds: Int32Array.of(0, 5),
    biasValues: Float32Array.of(1, -Infinity),
    minTokens: 3,
    stopIds: Int32Array.of(4),
  };
  const seen = new Map([
    [0, 0],
    [1, 2],
    [2, 1],
  ]);
  const logits = Float32Array.of(1, -1, 3, 7, 8, 9);
  assert.deepEqual([...adjustLogits(logits, params, seen, 2)], [1, -3, 0.75, 7, -Infinity, -Infinity]);
  assert.deepEqual([...adjustLogits(logits, params, seen, 3)], [1, -3, 0.75, 7, 8, -Infinity]);
  assert.equal(sampleToken(logits, 0, { ...params, temperature: 0 }, seen, 0), 3);
});

test("greedy takes the lowest id among equals; what isn't finite gives no sample", () => {
  assert.equal(sampleToken(Float32Array.of(1, 5, 5), 0, { ...PLAIN, temperature: 0 }, new Map(), 0), 1);
  for (const wrong of [NaN, Infinity, -Infinity])
    assert.equal(sampleToken(Float32Array.of(1, 2, wrong), 0, PLAIN, new Map(), 0), NOT_FINITE);
});

test("a mask allows what its bits say, and lifts the ban of stop tokens where it leaves nothing else", () => {
  const logits = Float32Array.from({ length: 70 }, (_, i) => i);
  const draw = (mask: number[], params: Partial<SamplerParams> = {}): number =>
    sampleToken(logits, 0, { ...PLAIN, temperature: 0, ...params }, new Map(), 0, Uint32Array.from(mask));
  assert.equal(draw([0x8000_0001, 0, 0]), 31);
  assert.equal(draw([1, 1, 0b100]), 66);
  assert.equal(draw([0, 0, 0]), NO_SAMPLE);
  const banned = { minTokens: 3, stopIds: Int32Array.of(66) };
  assert.equal(draw([1, 1, 0b100], banned), 32);
  assert.equal(draw([0, 0, 0b100], banned), 66);
  const forbidden = { biasIds: Int32Array.of(66), biasValues: Float32Array.of(-Infinity) };
  assert.equal(draw([0, 0, 0b100], { ...banned, ...forbidden }), NO_SAMPLE);
  const all = Int32Array.from(logits.keys());
  assert.equal(sampleToken(logits, 0, { ...PLAIN, minTokens: 1, stopIds: all }, new Map(), 0), NO_SAMPLE);
});
