/**
 * What a block's bytes mean: every storage format as float32 values (`dequantize`), and every quantised one as the
 * general layout (`toGeneral`). Values are computed by way of the general layout, so that the two can't disagree.
 * Used by the reference backend, by conversions and by tests; the native backend decodes by itself.
 * The host is taken to be little-endian, as every platform that Millrace builds for is.
 */
import { IQ1_M, IQ1_S, IQ2_S, IQ2_XS, IQ2_XXS, IQ3_S, IQ3_XXS } from "./blocks-iq.ts";
import { IQ4_XS, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K } from "./blocks-k.ts";
import { IQ4_NL, MXFP4, NVFP4, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, TQ1_0, TQ2_0 } from "./blocks-simple.ts";
import { DTYPES, type DType } from "./dtype.ts";
import { invariant } from "../errors.ts";
import type { BlockDecoder, GeneralLayout } from "./general-layout.ts";
import { halfTable, halfToNumber } from "./half.ts";

/** The formats that have a general layout: all but the plain floats. */
export type QuantizedDType = Exclude<DType, "F32" | "F16" | "BF16">;

const decoders: Readonly<Record<QuantizedDType, BlockDecoder>> = {
  Q4_0,
  Q4_1,
  Q5_0,
  Q5_1,
  Q8_0,
  Q2_K,
  Q3_K,
  Q4_K,
  Q5_K,
  Q6_K,
  IQ1_S,
  IQ1_M,
  IQ2_XXS,
  IQ2_XS,
  IQ2_S,
  IQ3_XXS,
  IQ3_S,
  IQ4_NL,
  IQ4_XS,
  TQ1_0,
  TQ2_0,
  MXFP4,
  NVFP4,
};

/** Weights decoded at a time: the scratch stays in the cache. */
const CHUNK = 16384;

export function isQuantized(dtype: DType): dtype is QuantizedDType {
  return dtype !== "F32" && dtype !== "F16" && dtype !== "BF16";
}

/** How many weights `byteLength` bytes of a format hold. */
export function weightCount(dtype: DType, byteLength: number): number {
  const { blockSize, blockBytes } = DTYPES[dtype];
  invariant(
    byteLength % blockBytes === 0,
    `${byteLength} bytes are no whole number of ${dtype} blocks of ${blockBytes}`,
  );
  return (byteLength / blockBytes) * blockSize;
}

/**
 * Decodes whole blocks to float32, bit-equal to the format's definition.
 * @param bytes `[blocks, blockBytes]`
 * @param out `[blocks × blockSize]`
 */
export function dequantize(dtype: DType, bytes: Uint8Array, out: Float32Array): void {
  const count = weightCount(dtype, bytes.byteLength);
  invariant(out.length === count, `${dtype}: ${count} weights don't fit an output of ${out.length}`);
  if (!isQuantized(dtype)) return widen(dtype, bytes, out);

  const { blockSize, blockBytes } = DTYPES[dtype];
  const scratch = allocate(dtype, Math.min(count, CHUNK));
  const shift = scratch.groupSize === 16 ? 4 : 5;
  for (let first = 0; first < count; first += CHUNK) {
    const n = Math.min(CHUNK, count - first);
    const start = (first / blockSize) * blockBytes;
    decode(dtype, bytes.subarray(start, start + (n / blockSize) * blockBytes), scratch);
    const { codes, scales, mins } = scratch;
    if (mins.length > 0) {
      for (let i = 0; i < n; i++) {
        const group = i >> shift;
        out[first + i] = (scales[group] ?? 0) * (codes[i] ?? 0) + (mins[group] ?? 0);
      }
    } else {
      for (let i = 0; i < n; i++) out[first + i] = (scales[i >> shift] ?? 0) * (codes[i] ?? 0);
    }
  }
}

/** Decodes whole blocks into the general layout; see `general-layout.ts` for what it promises. */
export function toGeneral(dtype: QuantizedDType, bytes: Uint8Array): GeneralLayout {
  const out = allocate(dtype, weightCount(dtype, bytes.byteLength));
  decode(dtype, bytes, out);
  return out;
}

function allocate(dtype: QuantizedDType, weights: number): GeneralLayout {
  const { groupSize, hasMin } = decoders[dtype];
  const groups = weights / groupSize;
  return {
    groupSize,
    codes: new Int8Array(weights),
    scales: new Float32Array(groups),
    mins: new Float32Array(hasMin ? groups : 0),
  };
}

function decode(dtype: QuantizedDType, bytes: Uint8Array, out: GeneralLayout): void {
  const { blockSize, blockBytes } = DTYPES[dtype];
  const src = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const decoder = decoders[dtype];
  for (let at = 0, w = 0; at < bytes.byteLength; at += blockBytes, w += blockSize) decoder.decode(src, at, out, w);
}

function widen(dtype: "F32" | "F16" | "BF16", bytes: Uint8Array, out: Float32Array): void {
  const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
  const src = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  switch (dtype) {
    case "F32":
      new Uint8Array(out.buffer, out.byteOffset, out.byteLength).set(bytes);
      return;
    case "BF16":
      for (let i = 0; i < bits.length; i++) bits[i] = src.getUint16(2 * i, true) << 16;
      return;
    case "F16": {
      if (out.length < 0x10000) {
        for (let i = 0; i < out.length; i++) out[i] = halfToNumber(src.getUint16(2 * i, true));
        return;
      }
      const table = halfTable();
      for (let i = 0; i < out.length; i++) out[i] = table[src.getUint16(2 * i, true)] ?? 0;
      return;
    }
    default:
      dtype satisfies never;
  }
}
