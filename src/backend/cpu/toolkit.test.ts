import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { DTYPES } from "../../artifact/dtype.ts";
import { dequantize } from "../../artifact/dequantize.ts";
import { createToolkit, QUANTIZABLE, type QuantizedDType, type Toolkit } from "./toolkit.ts";

let toolkit: Toolkit;
before(async () => {
  toolkit = await createToolkit({ threads: 2 });
});
after(() => toolkit.close());

/** Values with a normal distribution, from a small generator with a seed. */
function gaussian(count: number, seed: number): Float32Array {
  let state = seed >>> 0 || 1;
  const uniform = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  return Float32Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

function decode(dtype: QuantizedDType, bytes: Uint8Array, count: number): Float32Array {
  const out = new Float32Array(count);
  dequantize(dtype, bytes, out);
  return out;
}

function squares(values: Float32Array): number {
  return values.reduce((sum, value) => sum + value * value, 0);
}

/**
 * The most of a normal signal's energy that a format may lose: bits b with uniform codes lose about 4^-b times a constant
 * (Lloyd-Max loses 0.0094 with 4 bits, 0.0345 with 3, 0.117 with 2).
 */
const MOST_LOST: Readonly<Record<QuantizedDType, number>> = {
  Q4_0: 0.0092,
  Q4_1: 0.0072,
  Q5_0: 0.0023,
  Q5_1: 0.0018,
  Q8_0: 0.00005,
  Q2_K: 0.09,
  Q3_K: 0.03,
  Q4_K: 0.0072,
  Q5_K: 0.0018,
  Q6_K: 0.00065,
  IQ4_NL: 0.0072,
  IQ4_XS: 0.0075,
  TQ1_0: 0.2,
  TQ2_0: 0.2,
  MXFP4: 0.0135,
  NVFP4: 0.0095,
};

for (const dtype of QUANTIZABLE) {
  test(`${dtype}: what is read again is near, by as much as is told`, async () => {
    const columns = 512;
    const values = gaussian(columns * 24, 7).map((v) => v * 3);
    const { bytes, errors } = await toolkit.quantize(dtype, values, columns);
    assert.equal(bytes.length, (values.length / DTYPES[dtype].blockSize) * DTYPES[dtype].blockBytes);
    const got = decode(dtype, bytes, values.length);
    const lost = errors.reduce((sum, error) => sum + error, 0);
    const measured = squares(got.map((v, i) => v - (values[i] ?? 0)));
    assert.ok(Math.abs(lost - measured) <= 1e-4 * measured, `told ${lost}, measured ${measured}`);
    assert.ok(measured / squares(values) < MOST_LOST[dtype], `${dtype} loses ${measured / squares(values)}`);
  });

  test(`${dtype}: extreme rows stay finite, and a row's bytes are its own`, async () => {
    const columns = 256;
    const zeros = new Float32Array(columns);
    const tiny = gaussian(columns, 3).map((v) => v * 1e-30);
    const large = gaussian(columns, 4).map((v) => v * 1e4);
    const onlyOne = new Float32Array(columns);
    onlyOne[17] = -5;
    const together = Float32Array.from([...zeros, ...tiny, ...large, ...onlyOne]);
    const { bytes } = await toolkit.quantize(dtype, together, columns);
    const rowBytes = bytes.length / 4;
    for (const [i, row] of [zeros, tiny, large, onlyOne].entries()) {
      const alone = await toolkit.quantize(dtype, row, columns);
      assert.deepEqual(alone.bytes, bytes.subarray(i * rowBytes, (i + 1) * rowBytes), `row ${i}`);
      assert.ok(decode(dtype, alone.bytes, columns).every(Number.isFinite), `row ${i} is finite`);
    }
    assert.ok(decode(dtype, (await toolkit.quantize(dtype, zeros, columns)).bytes, columns).every((v) => v === 0));
  });

  test(`${dtype}: columns of importance lose less`, async () => {
    const columns = 256;
    const values = gaussian(columns * 16, 11);
    const importance = Float32Array.from({ length: columns }, (_, i) => (i % 7 === 0 ? 100 : 0.01));
    const lossOf = (bytes: Uint8Array): number =>
      decode(dtype, bytes, values.length).reduce(
        (sum, v, i) => sum + (importance[i % columns] ?? 0) * (v - (values[i] ?? 0)) ** 2,
        0,
      );
    const plain = lossOf((await toolkit.quantize(dtype, values, columns)).bytes);
    const weighted = lossOf((await toolkit.quantize(dtype, values, columns, importance)).bytes);
    // With 8 bits nothing is searched; powers of two, and one scale for 256 weights, leave little to choose.
    const most = dtype === "MXFP4" || dtype.startsWith("TQ") ? 0.995 : 0.95;
    if (dtype === "Q8_0") assert.equal(weighted, plain);
    else assert.ok(weighted < most * plain, `${weighted} of ${plain}`);
  });
}
