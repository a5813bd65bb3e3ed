/**
 * Weights from a seed: the same bits as recipes/fixtures/seeded.py, which says how a value follows from the names of its
 * fixture and its tensor. They come as the bytes of a safetensors file, as a user's model would.
 */
import { numberToHalf } from "../../src/artifact/half.ts";

/** A tensor of a fixture: its shape, and the offset and exponent of its values offset + k · 2^exponent. */
export type SeededTensor = readonly [shape: readonly number[], offset: number, exponent: number];

/** FNV-1a, 32 bits. */
function seedOf(text: string): number {
  let seed = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) seed = Math.imul(seed ^ byte, 0x01000193) >>> 0;
  return seed;
}

/** MurmurHash3's finaliser at place `i` of a Weyl sequence. */
function hash(seed: number, i: number): number {
  let x = (seed + Math.imul(i, 0x9e3779b9)) | 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

export function seededValues(fixture: string, name: string, [shape, offset, exponent]: SeededTensor): Float32Array {
  const seed = seedOf(`${fixture}/${name}`);
  const step = 2 ** exponent;
  const values = new Float32Array(shape.reduce((product, n) => product * n, 1));
  for (let i = 0; i < values.length; i++) values[i] = offset + ((hash(seed, i) >>> 25) - 64) * step;
  return values;
}

/** The values are exact in both formats. */
function halves(values: Float32Array, dtype: "F16" | "BF16"): Uint16Array {
  const bits = new Uint32Array(values.buffer);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < out.length; i++) out[i] = dtype === "F16" ? numberToHalf(values[i] ?? 0) : (bits[i] ?? 0) >>> 16;
  return out;
}

export function seededSafetensors(
  fixture: string,
  dtype: "F16" | "BF16",
  tensors: Readonly<Record<string, SeededTensor>>,
): Uint8Array {
  const header: Record<string, unknown> = {};
  const parts: Uint16Array[] = [];
  let end = 0;
  for (const [name, tensor] of Object.entries(tensors)) {
    const part = halves(seededValues(fixture, name, tensor), dtype);
    parts.push(part);
    header[name] = { dtype, shape: tensor[0], data_offsets: [end, end + part.byteLength] };
    end += part.byteLength;
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const file = new Uint8Array(8 + text.length + end);
  new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
  file.set(text, 8);
  let at = 8 + text.length;
  for (const part of parts) {
    file.set(new Uint8Array(part.buffer), at);
    at += part.byteLength;
  }
  return file;
}
