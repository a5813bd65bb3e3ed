import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { dequantize, isQuantized, toGeneral } from "./dequantize.ts";
import { DTYPES, type DType } from "./dtype.ts";
import { halfToNumber, numberToHalf } from "./half.ts";

// Random blocks of every format and the values they stand for, made with the PyPI package gguf (float32 as bits).
const fixtures = new URL("../../test/fixtures/quants/", import.meta.url);
const blocks = (dtype: DType) => new Uint8Array(readFileSync(new URL(`${dtype.toLowerCase()}.bin`, fixtures)));
const values = (dtype: DType) => {
  const bytes = gunzipSync(readFileSync(new URL(`${dtype.toLowerCase()}.f32.gz`, fixtures)));
  return new Uint32Array(new Uint8Array(bytes).buffer);
};
const bits = (values: Float32Array) => new Uint32Array(values.buffer, values.byteOffset, values.length);
const dtypes = (Object.keys(DTYPES) as DType[]).filter((dtype) => dtype !== "F32");

for (const dtype of dtypes) {
  test(`${dtype} dequantises to the recorded bits`, () => {
    const want = values(dtype);
    const out = new Float32Array(want.length);
    dequantize(dtype, blocks(dtype), out);
    assert.deepEqual(bits(out), want);
  });
}

for (const dtype of dtypes.filter(isQuantized)) {
  test(`${dtype} as scale × code + min in float32 has the recorded bits`, () => {
    const want = values(dtype);
    const { groupSize, codes, scales, mins } = toGeneral(dtype, blocks(dtype));
    const out = Float32Array.from(codes, (code, i) => {
      const group = Math.floor(i / groupSize);
      const product = (scales[group] ?? NaN) * code;
      assert.equal(product, Math.fround(product), "the product is exact in float32");
      return mins.length > 0 ? product + (mins[group] ?? NaN) : product;
    });
    assert.deepEqual(bits(out), want);
    assert.equal(scales.length, codes.length / groupSize);
  });
}

test("F32 is copied from any byte offset", () => {
  const bytes = new Uint8Array(9);
  new DataView(bytes.buffer).setFloat32(1, 1.5, true);
  const out = new Float32Array(2);
  dequantize("F32", bytes.subarray(1), out);
  assert.deepEqual(out, Float32Array.of(1.5, 0));
});

test("long runs of F16 equal short ones", () => {
  const bytes = new Uint8Array(2 * 0x10000);
  for (let half = 0; half < 0x10000; half++) new DataView(bytes.buffer).setUint16(2 * half, half, true);
  const long = new Float32Array(0x10000);
  dequantize("F16", bytes, long);
  const short = new Float32Array(0x8000);
  for (const start of [0, 0x8000]) {
    dequantize("F16", bytes.subarray(2 * start, 2 * (start + 0x8000)), short);
    assert.deepEqual(short, long.subarray(start, start + 0x8000));
  }
});

test("chunks join: many blocks in one call equal block by block", () => {
  const one = blocks("Q6_K");
  const many = new Uint8Array(one.length * 3);
  for (let i = 0; i < 3; i++) many.set(one, i * one.length);
  const want = new Float32Array(values("Q6_K").buffer);
  const out = new Float32Array(want.length * 3);
  dequantize("Q6_K", many, out);
  for (let i = 0; i < 3; i++) assert.deepEqual(out.subarray(i * want.length, (i + 1) * want.length), want);
});

test("every half goes to a number and back", () => {
  for (let half = 0; half < 0x10000; half++) {
    const value = halfToNumber(half);
    if (Number.isNaN(value)) assert.equal(numberToHalf(value) & 0x7c00, 0x7c00);
    else assert.equal(numberToHalf(value), half);
  }
  assert.equal(numberToHalf(65519.99), 0x7bff);
  assert.equal(numberToHalf(1 + 2 ** -11), 0x3c00); // a tie goes to the even one
  assert.equal(numberToHalf(1 + 3 * 2 ** -11), 0x3c02);
});
