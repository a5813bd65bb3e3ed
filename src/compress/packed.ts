/**
 * Matrices of plain integers in groups, and the layouts in which other engines read them from safetensors: GPTQ's (codes packed
 * along the inputs, transposed), AWQ's (along the outputs, in an order of its own) and compressed-tensors' (along the inputs,
 * as they are). The layouts' readers stand in `artifact/quantized/`, written apart from this.
 */
import type { MetaObject, Tensor } from "../artifact/artifact.ts";
import { numberToHalf } from "../artifact/half.ts";
import { invariant, UnsupportedError } from "../errors.ts";
import type { Store } from "./store.ts";

export const LAYOUTS = ["gptq", "awq", "compressed-tensors"] as const;
export type Layout = (typeof LAYOUTS)[number];

/** How the integers of all matrices are meant. */
export interface PlainGrid {
  readonly bits: number;
  /** Columns under one scale. */
  readonly group: number;
  readonly symmetric: boolean;
}

/** w = scale · code + min, and min = −scale · zero with a whole zero (0 where symmetric). */
export interface PackedMatrix extends PlainGrid {
  readonly rows: number;
  readonly columns: number;
  /** `[rows, columns]`: 0 … 2^bits − 1, or where symmetric −2^(bits−1) … 2^(bits−1) − 1. */
  readonly codes: Int8Array;
  /** `[rows, columns / group]`, values of half precision. */
  readonly scales: Float32Array;
  readonly mins: Float32Array;
}

/** Matrices by tensor, read from where they are kept when they are wanted. */
export type PackedMatrices = ReadonlyMap<string, () => Promise<PackedMatrix>>;

/** Keeps a matrix under its tensor's name; what is there already stays. */
export async function keepPacked(
  store: Store,
  name: string,
  matrix: Pick<PackedMatrix, "codes" | "scales" | "mins">,
): Promise<void> {
  const parts = [matrix.codes, matrix.scales, matrix.mins].map(
    ({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength),
  );
  if ((await store.find(`${name} packed`)) === undefined) await store.write(`${name} packed`, chunksOf(parts));
}

async function* chunksOf(parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts;
}

/** What `keepPacked` kept. */
export function keptPacked(store: Store, { name, shape }: Tensor, grid: PlainGrid): () => Promise<PackedMatrix> {
  return async () => {
    const source = await store.find(`${name} packed`);
    invariant(source !== undefined, `${name} was not packed`);
    const columns = shape.at(-1) ?? 1;
    const rows = shape.reduce((product, n) => product * n, 1) / columns;
    const groups = (rows * columns) / grid.group;
    const floats = async (at: number): Promise<Float32Array> =>
      new Float32Array((await source.read(at, 4 * groups)).slice().buffer);
    const codes = new Int8Array((await source.read(0, rows * columns)).slice().buffer);
    const [scales, mins] = [await floats(rows * columns), await floats(rows * columns + 4 * groups)];
    return { ...grid, rows, columns, codes, scales, mins };
  };
}

/** What a file holds of a matrix. */
export interface LayoutTensor {
  readonly part: string;
  readonly type: "I32" | "I64" | "F16" | "I8";
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** @throws UnsupportedError where the layout has no room for such integers */
export function layoutTensors(layout: Layout, matrix: PackedMatrix): LayoutTensor[] {
  switch (layout) {
    case "gptq":
      return gptqLayout(matrix);
    case "awq":
      return awqLayout(matrix);
    case "compressed-tensors":
      return compressedLayout(matrix);
    default:
      return layout satisfies never;
  }
}

/** config.json's `quantization_config`. */
export function layoutConfig(layout: Layout, { bits, group, symmetric }: PlainGrid): MetaObject {
  switch (layout) {
    case "gptq":
      return {
        quant_method: "gptq",
        bits,
        group_size: group,
        sym: symmetric,
        desc_act: false,
        checkpoint_format: "gptq_v2",
      };
    case "awq":
      return { quant_method: "awq", bits, group_size: group, zero_point: true, version: "gemm" };
    case "compressed-tensors":
      return {
        quant_method: "compressed-tensors",
        format: "pack-quantized",
        config_groups: {
          group_0: {
            targets: ["Linear"],
            weights: { num_bits: bits, type: "int", strategy: "group", group_size: group, symmetric: true },
          },
        },
        ignore: ["lm_head"],
      };
    default:
      return layout satisfies never;
  }
}

/** Codes as the layouts count them, from 0; and whole zeros. */
function unsigned({ codes, scales, mins, bits, symmetric }: PackedMatrix): { codes: Uint8Array; zeros: Uint8Array } {
  const middle = symmetric ? 2 ** (bits - 1) : 0;
  return {
    codes: Uint8Array.from(codes, (code) => code + middle),
    zeros: Uint8Array.from(scales, (scale, i) => {
      const min = mins[i] ?? 0;
      return symmetric ? middle : scale === 0 ? 0 : Math.round(-min / scale);
    }),
  };
}

function gptqLayout(matrix: PackedMatrix): LayoutTensor[] {
  const { bits, rows, columns, group } = matrix;
  if (![2, 4, 8].includes(bits) || rows % (32 / bits) !== 0)
    throw new UnsupportedError(`GPTQ's layout of ${rows} outputs with ${bits} bits isn't written (2, 4 and 8 are)`);
  const perWord = 32 / bits;
  const groups = columns / group;
  const { codes, zeros } = unsigned(matrix);
  const words = new Int32Array((columns / perWord) * rows);
  for (let n = 0; n < rows; n++) {
    for (let k = 0; k < columns; k++) {
      const at = Math.floor(k / perWord) * rows + n;
      words[at] = (words[at] ?? 0) | ((codes[n * columns + k] ?? 0) << (bits * (k % perWord)));
    }
  }
  const zeroWords = new Int32Array((groups * rows) / perWord);
  for (let g = 0; g < groups; g++) {
    for (let n = 0; n < rows; n++) {
      const at = Math.floor((g * rows + n) / perWord);
      zeroWords[at] = (zeroWords[at] ?? 0) | ((zeros[n * groups + g] ?? 0) << (bits * (n % perWord)));
    }
  }
  return [
    { part: "qweight", type: "I32", shape: [columns / perWord, rows], bytes: bytesOf(words) },
    { part: "qzeros", type: "I32", shape: [groups, rows / perWord], bytes: bytesOf(zeroWords) },
    { part: "scales", type: "F16", shape: [groups, rows], bytes: transposedHalves(matrix) },
    {
      part: "g_idx",
      type: "I32",
      shape: [columns],
      bytes: bytesOf(Int32Array.from({ length: columns }, (_, k) => Math.floor(k / group))),
    },
  ];
}

/** The place of each of eight outputs in a word. */
const AWQ_PLACES = [0, 4, 1, 5, 2, 6, 3, 7];

function awqLayout(matrix: PackedMatrix): LayoutTensor[] {
  const { bits, rows, columns, group } = matrix;
  if (bits !== 4 || rows % 8 !== 0)
    throw new UnsupportedError(`AWQ's layout has 4 bits and whole eights of outputs, not ${bits} and ${rows}`);
  const groups = columns / group;
  const { codes, zeros } = unsigned(matrix);
  const pack = (count: number, value: (line: number, n: number) => number): Int32Array => {
    const words = new Int32Array((count * rows) / 8);
    for (let line = 0; line < count; line++) {
      for (let n = 0; n < rows; n++) {
        const at = Math.floor((line * rows + n) / 8);
        words[at] = (words[at] ?? 0) | (value(line, n) << (4 * (AWQ_PLACES[n % 8] ?? 0)));
      }
    }
    return words;
  };
  const words = pack(columns, (k, n) => codes[n * columns + k] ?? 0);
  const zeroWords = pack(groups, (g, n) => zeros[n * groups + g] ?? 0);
  return [
    { part: "qweight", type: "I32", shape: [columns, rows / 8], bytes: bytesOf(words) },
    { part: "qzeros", type: "I32", shape: [groups, rows / 8], bytes: bytesOf(zeroWords) },
    { part: "scales", type: "F16", shape: [groups, rows], bytes: transposedHalves(matrix) },
  ];
}

function compressedLayout(matrix: PackedMatrix): LayoutTensor[] {
  const { bits, rows, columns, group, symmetric, scales } = matrix;
  if (!symmetric || ![4, 8].includes(bits) || columns % (32 / bits) !== 0)
    throw new UnsupportedError("compressed-tensors are written with symmetric integers of 4 or 8 bits");
  const perWord = 32 / bits;
  const { codes } = unsigned(matrix);
  const words = new Int32Array((rows * columns) / perWord);
  for (let i = 0; i < codes.length; i++) {
    const at = Math.floor(i / perWord);
    words[at] = (words[at] ?? 0) | ((codes[i] ?? 0) << (bits * (i % perWord)));
  }
  const halves = Uint16Array.from(scales, numberToHalf);
  return [
    { part: "weight_packed", type: "I32", shape: [rows, columns / perWord], bytes: bytesOf(words) },
    { part: "weight_scale", type: "F16", shape: [rows, columns / group], bytes: bytesOf(halves) },
    {
      part: "weight_shape",
      type: "I64",
      shape: [2],
      bytes: bytesOf(BigInt64Array.of(BigInt(rows), BigInt(columns))),
    },
  ];
}

/** Scales `[rows, groups]` as halves `[groups, rows]`. */
function transposedHalves({ scales, rows }: PackedMatrix): Uint8Array {
  const groups = scales.length / rows;
  const halves = new Uint16Array(scales.length);
  for (let n = 0; n < rows; n++)
    for (let g = 0; g < groups; g++) halves[g * rows + n] = numberToHalf(scales[n * groups + g] ?? 0);
  return bytesOf(halves);
}

function bytesOf(values: Int32Array | Uint16Array | BigInt64Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
