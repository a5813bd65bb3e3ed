/**
 * Models from memory, for tests: tensors of any format with random values. Quantised ones are made of the random blocks
 * in test/fixtures/quants, so every code and scale pattern of a format occurs.
 */
import { readFileSync } from "node:fs";
import type { ModelArtifact, Tensor } from "../../src/artifact/artifact.ts";
import { memorySource } from "../../src/artifact/byte-source.ts";
import { DTYPES, type DType } from "../../src/artifact/dtype.ts";
import { numberToHalf } from "../../src/artifact/half.ts";
import { invariant } from "../../src/errors.ts";
import type { WeightRef } from "../../src/graph/graph.ts";
import { Random } from "./random.ts";

/** Collects tensors; each method gives the WeightRef that a graph names. */
export class TensorMaker {
  readonly #tensors = new Map<string, Tensor>();
  readonly #random: Random;

  constructor(seed: number) {
    this.#random = new Random(seed);
  }

  /** Random values of a format: quantised formats take fixture blocks, the others `scale` · normal + `offset`. */
  tensor(name: string, dtype: DType, shape: readonly number[], scale = 1, offset = 0): WeightRef {
    const count = shape.reduce((product, n) => product * n, 1);
    if (dtype !== "F32" && dtype !== "F16" && dtype !== "BF16")
      return this.#add(name, dtype, shape, this.#blocks(dtype, count));
    return this.values(
      name,
      dtype,
      shape,
      Array.from({ length: count }, () => scale * this.#random.normal() + offset),
    );
  }

  /** Given values, rounded to F32, F16 or BF16. */
  values(name: string, dtype: "F32" | "F16" | "BF16", shape: readonly number[], values: ArrayLike<number>): WeightRef {
    const f32 = Float32Array.from(values);
    if (dtype === "F32") return this.#add(name, dtype, shape, new Uint8Array(f32.buffer));
    const bits = new Uint32Array(f32.buffer);
    const halves = Uint16Array.from(f32, (x, i) => (dtype === "F16" ? numberToHalf(x) : (bits[i] ?? 0) >>> 16));
    return this.#add(name, dtype, shape, new Uint8Array(halves.buffer));
  }

  /** Q8_0 of `scale` · normal values: a model that computes something, which random blocks don't. */
  q8(name: string, shape: readonly number[], scale: number): WeightRef {
    const count = shape.reduce((product, n) => product * n, 1);
    const bytes = new Uint8Array((count / 32) * 34);
    const view = new DataView(bytes.buffer);
    for (let at = 0; at < bytes.length; at += 34) {
      const values = Array.from({ length: 32 }, () => scale * this.#random.normal());
      const step = Math.max(...values.map(Math.abs)) / 127;
      view.setUint16(at, numberToHalf(step), true);
      for (const [i, value] of values.entries()) view.setInt8(at + 2 + i, Math.round(value / step));
    }
    return this.#add(name, "Q8_0", shape, bytes);
  }

  artifact(): ModelArtifact {
    return {
      name: "a model in memory",
      config: { format: "gguf", architecture: "test", values: {} },
      tokenizer: { format: "gguf", metadata: {} },
      generation: {},
      tensors: this.#tensors,
      metadata: {},
      close: async () => undefined,
    };
  }

  #add(name: string, dtype: DType, shape: readonly number[], bytes: Uint8Array): WeightRef {
    invariant(!this.#tensors.has(name), `two tensors are called ${name}`);
    // The tensor begins in the middle of its source, as in a file.
    const offset = 32;
    const whole = new Uint8Array(offset + bytes.length);
    whole.set(bytes, offset);
    const source = memorySource(name, whole);
    this.#tensors.set(name, { name, dtype, shape, source, offset, byteLength: bytes.length });
    return { name, shape, parts: [{ tensor: name }] };
  }

  #blocks(dtype: DType, count: number): Uint8Array {
    const { blockSize, blockBytes } = DTYPES[dtype];
    const file = new URL(`../fixtures/quants/${dtype.toLowerCase()}.bin`, import.meta.url);
    const blocks = readFileSync(file);
    const available = blocks.length / blockBytes;
    invariant(count % blockSize === 0, `${count} values in blocks of ${blockSize}`);
    const out = new Uint8Array((count / blockSize) * blockBytes);
    for (let at = 0; at < out.length; at += blockBytes) {
      const from = this.#random.below(available) * blockBytes;
      out.set(blocks.subarray(from, from + blockBytes), at);
    }
    return out;
  }
}
