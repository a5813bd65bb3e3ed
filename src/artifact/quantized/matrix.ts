/**
 * A quantised matrix of another's format as a tensor of a format that Millrace knows, made as it is read: integer codes
 * with a scale for each run of columns as Q4_0, Q5_0 or Q8_0 where the codes and the scales fit them exactly, all else as
 * F32. Nothing is rounded beyond what the format's own definition in float32 rounds.
 */
import { ArtifactError } from "../../errors.ts";
import type { Tensor } from "../artifact.ts";
import { DTYPES, type DType } from "../dtype.ts";
import { halfToNumber, numberToHalf } from "../half.ts";

/** Codes · scales. */
export interface Codes {
  readonly kind: "codes";
  readonly rows: number;
  readonly columns: number;
  /** Columns that share a scale, one run after another; 0: those of a row have scales of their own (act-order). */
  readonly group: number;
  /** The range of all codes. */
  readonly low: number;
  readonly high: number;
  /** Are all scales halves? */
  readonly halfScales: boolean;
  /** Fills codes and scales of the rows `first …`: `[count, columns]` both. */
  readonly decode: (first: number, count: number) => Promise<{ codes: Int16Array; scales: Float32Array }>;
}

/** Values that no integer format holds. */
export interface Values {
  readonly kind: "values";
  readonly rows: number;
  readonly columns: number;
  readonly decode: (first: number, count: number) => Promise<Float32Array>;
}

/** Bytes of a format that is Millrace's own, in another order. */
export interface Blocks {
  readonly kind: "blocks";
  readonly rows: number;
  readonly columns: number;
  readonly dtype: DType;
  readonly decode: (first: number, count: number) => Promise<Uint8Array>;
}

export type Matrix = Codes | Values | Blocks;

/** Formats of 32 codes with a scale that is a half. */
const INTEGER_FORMATS = [
  ["Q4_0", 8],
  ["Q5_0", 16],
  ["Q8_0", 128],
] as const;

export function formatOf(matrix: Matrix): DType {
  if (matrix.kind === "blocks") return matrix.dtype;
  if (matrix.kind === "values") return "F32";
  const { group, columns, low, high, halfScales } = matrix;
  const fits = halfScales && group > 0 && group % 32 === 0 && columns % 32 === 0;
  const found = fits ? INTEGER_FORMATS.find(([, half]) => low >= -half && high < half) : undefined;
  return found?.[0] ?? "F32";
}

/** A tensor `[rows, columns]` (or another `shape` of as many), whose bytes are made when somebody reads them. */
export function matrixTensor(name: string, file: string, matrix: Matrix, shape?: readonly number[]): Tensor {
  const { rows, columns } = matrix;
  const dtype = formatOf(matrix);
  const isSize = (n: number): boolean => Number.isSafeInteger(n) && n > 0;
  if (!isSize(rows) || !isSize(columns) || columns % DTYPES[dtype].blockSize !== 0)
    throw new ArtifactError(`${file}: "${name}" has the shape [${rows}, ${columns}], which is no matrix of its format`);
  const { blockSize, blockBytes } = DTYPES[dtype];
  const rowBytes = (columns / blockSize) * blockBytes;
  const byteLength = rowBytes * rows;
  return {
    name,
    dtype,
    shape: shape ?? [rows, columns],
    offset: 0,
    byteLength,
    source: {
      name: file,
      size: byteLength,
      async read(offset, length) {
        const first = Math.floor(offset / rowBytes);
        const end = Math.ceil((offset + length) / rowBytes);
        const bytes = await encode(matrix, dtype, first, end - first);
        return bytes.subarray(offset - first * rowBytes, offset - first * rowBytes + length);
      },
      close: async () => undefined,
    },
  };
}

async function encode(matrix: Matrix, dtype: DType, first: number, count: number): Promise<Uint8Array> {
  if (matrix.kind === "blocks") return matrix.decode(first, count);
  if (matrix.kind === "values") return new Uint8Array((await matrix.decode(first, count)).buffer);
  const { codes, scales } = await matrix.decode(first, count);
  if (dtype === "F32") return new Uint8Array(scales.map((scale, i) => scale * (codes[i] ?? 0)).buffer);
  const { blockBytes } = DTYPES[dtype];
  const out = new Uint8Array((codes.length / 32) * blockBytes);
  const view = new DataView(out.buffer);
  for (let block = 0; block * 32 < codes.length; block++) {
    const at = block * blockBytes;
    view.setUint16(at, numberToHalf(scales[block * 32] ?? 0), true);
    putCodes(dtype, out, at + 2, codes, block * 32);
  }
  return out;
}

/** 32 codes as a block of the format holds them (blocks-simple.ts reads them). */
function putCodes(dtype: DType, out: Uint8Array, at: number, codes: Int16Array, from: number): void {
  if (dtype === "Q8_0") {
    for (let i = 0; i < 32; i++) out[at + i] = codes[from + i] ?? 0;
    return;
  }
  const offset = dtype === "Q4_0" ? 8 : 16;
  const low = dtype === "Q4_0" ? at : at + 4;
  let high = 0;
  for (let i = 0; i < 16; i++) {
    const a = (codes[from + i] ?? 0) + offset;
    const b = (codes[from + i + 16] ?? 0) + offset;
    out[low + i] = (a & 15) | ((b & 15) << 4);
    high |= ((a >> 4) << i) | ((b >> 4) << (i + 16));
  }
  if (dtype === "Q5_0") for (let i = 0; i < 4; i++) out[at + i] = high >>> (8 * i);
}

/** Whether all values are halves, so that a block can hold them as its scale. */
export function areHalves(values: Float32Array): boolean {
  return values.every((value) => halfToNumber(numberToHalf(value)) === value);
}

export function rangeOf(values: ArrayLike<number>): { readonly low: number; readonly high: number } {
  let [low, high] = [Infinity, -Infinity];
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? 0;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return { low, high };
}
