/**
 * Matrices `[N, K]` in the order in which they are used, with scales beside them: compressed-tensors' formats (vLLM
 * project: packed integers, int8, 8-bit floats, NVFP4, MXFP4), 8-bit floats with a scale for each block (DeepSeek-V3), and
 * bitsandbytes' int8 (Dettmers et al. 2022).
 */
import { ArtifactError, UnsupportedError } from "../../errors.ts";
import { areHalves, type Blocks, type Codes, type Matrix, rangeOf, type Values } from "./matrix.ts";
import type { Kept, Modules, Stored } from "./modules.ts";
import { codeAt } from "./packed-int32.ts";
import { e4m3, floatsOf, rawBytes, rawInts } from "./raw-tensors.ts";
import type { RawTensor } from "../safetensors.ts";

/** E2M1, by code. */
const FP4 = Float32Array.of(0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6);
/** What bitsandbytes multiplies by for 1 / 127. */
const PER_127 = Math.fround(7.874015718698502e-3);

/** The scale of each element: one for all, for a row, for a group of columns, or for a block of rows and columns. */
interface Scales {
  readonly values: Float32Array;
  readonly at: (n: number, k: number) => number;
  /** Columns that share one. */
  readonly group: number;
}

async function scalesOf(
  modules: Modules,
  module: string,
  stored: Stored,
  [rows, columns]: readonly [number, number],
  block: readonly number[] | undefined,
): Promise<Scales> {
  const values = await floatsOf(stored);
  const [scaleRows = 1, scaleColumns = 1] = stored.shape.length < 2 ? [values.length, 1] : stored.shape;
  const [down, across] = block ?? [scaleRows === 1 ? rows : 1, Math.ceil(columns / scaleColumns)];
  const fits = Math.ceil(rows / (down ?? 1)) === scaleRows && Math.ceil(columns / (across ?? 1)) === scaleColumns;
  if (!fits || scaleRows * scaleColumns !== values.length) {
    throw new ArtifactError(
      `${modules.name}: "${module}" [${rows}, ${columns}] has scales of the shape [${stored.shape.join(", ")}]`,
    );
  }
  const at = (n: number, k: number): number =>
    values[Math.floor(n / (down ?? 1)) * scaleColumns + Math.floor(k / (across ?? 1))] ?? 0;
  return { values, at, group: across ?? columns };
}

function sizeOf(stored: Stored): [number, number] {
  const [rows = 0, columns = 0] = stored.shape;
  return [rows, columns];
}

/** Integers of 2, 4 or 8 bits, packed along K and larger by half their range (compressed-tensors' "pack-quantized"). */
export async function packedMatrix(modules: Modules, module: string, kept: Kept<Int32Array>): Promise<Codes> {
  const packed = modules.raw(module, "weight_packed", ["I32"]);
  const [rows, words] = sizeOf(packed);
  const shape = modules.raw(module, "weight_shape", ["I64", "I32"]);
  modules.checkShape(module, "weight_shape", shape, [2]);
  const bytes = await rawBytes(shape);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const columns = shape.type === "I64" ? Number(view.getBigInt64(8, true)) : view.getInt32(4, true);
  const bits = [2, 4, 8].find((count) => Math.ceil((columns * count) / 32) === words);
  if (bits === undefined)
    throw new UnsupportedError(`${modules.name}: "${module}" packs ${columns} columns into ${words} words of 32 bits`);
  const half = 2 ** (bits - 1);
  const stored = modules.get(module, "weight_scale");
  const scales = await scalesOf(modules, module, stored, [rows, columns], undefined);
  const groups = scales.values.length / rows;
  const zeros = await packedZeros(modules, module, rows, groups, bits);
  const index = modules.find(module, "weight_g_idx");
  const groupOf = index === undefined ? undefined : await rawInts(modules.raw(module, "weight_g_idx", ["I32"]));
  const isMixed = groupOf?.some((group, k) => group !== Math.floor(k / scales.group)) === true && groupOf[0] !== -1;
  const range = rangeOf(zeros ?? [0]);
  return {
    kind: "codes",
    rows,
    columns,
    group: isMixed ? 0 : scales.group,
    low: -half - range.high,
    high: half - 1 - range.low,
    halfScales: areHalves(scales.values),
    async decode(first, count) {
      const all = await kept.get(packed, () => rawInts(packed));
      const out = { codes: new Int16Array(count * columns), scales: new Float32Array(count * columns) };
      const [perWord, mask] = [32 / bits, 2 * half - 1];
      const shift = Math.log2(perWord);
      for (let i = 0; i < count; i++) {
        const n = first + i;
        const run = isMixed ? 1 : scales.group;
        for (let k = 0; k < columns; k += run) {
          const group = isMixed ? (groupOf?.[k] ?? 0) : k / run;
          const offset = half + (zeros?.[n * groups + group] ?? 0);
          const end = Math.min(k + run, columns);
          for (let c = k; c < end; c++) {
            const word = all[n * words + (c >> shift)] ?? 0;
            out.codes[i * columns + c] = ((word >>> ((c & (perWord - 1)) * bits)) & mask) - offset;
          }
          out.scales.fill(scales.values[n * groups + group] ?? 0, i * columns + k, i * columns + end);
        }
      }
      return out;
    },
  };
}

/** Zeros are packed along N. */
async function packedZeros(
  modules: Modules,
  module: string,
  rows: number,
  groups: number,
  bits: number,
): Promise<Int16Array | undefined> {
  if (modules.find(module, "weight_zero_point") === undefined) return undefined;
  const stored = modules.raw(module, "weight_zero_point", ["I32"]);
  modules.checkShape(module, "weight_zero_point", stored, [Math.ceil((rows * bits) / 32), groups]);
  const words = await rawInts(stored);
  return Int16Array.from(
    { length: rows * groups },
    (_, i) => codeAt(words, i % groups, groups, Math.floor(i / groups), bits) - 2 ** (bits - 1),
  );
}

/** Int8 with a scale for each row, or for all. */
export async function int8Matrix(modules: Modules, module: string, part: string): Promise<Codes> {
  const stored = modules.raw(module, "weight", ["I8"]);
  const [rows, columns] = sizeOf(stored);
  const scales = await scalesOf(modules, module, modules.get(module, part), [rows, columns], undefined);
  const zeroPoint = modules.find(module, "weight_zero_point");
  const zeros =
    zeroPoint === undefined ? undefined : new Int8Array(new Uint8Array(await rawBytes(zeroPoint as RawTensor)).buffer);
  if (zeros?.some((zero) => zero !== 0) === true)
    throw new UnsupportedError(`${modules.name}: "${module}" is int8 with zero points; symmetric int8 is supported`);
  return {
    kind: "codes",
    rows,
    columns,
    group: scales.group,
    low: -128,
    high: 127,
    halfScales: areHalves(scales.values),
    async decode(first, count) {
      const bytes = await stored.source.read(stored.offset + first * columns, count * columns);
      const codes = Int16Array.from(new Int8Array(new Uint8Array(bytes).buffer));
      return {
        codes,
        scales: Float32Array.from(codes, (_, i) => scales.at(first + Math.floor(i / columns), i % columns)),
      };
    },
  };
}

/** bitsandbytes' int8: a row's largest magnitude is 127. */
export async function bnbInt8Matrix(modules: Modules, module: string): Promise<Values> {
  const stored = modules.raw(module, "weight", ["I8"]);
  const [rows, columns] = sizeOf(stored);
  const largest = await floatsOf(modules.get(module, "SCB"));
  modules.checkShape(module, "SCB", modules.get(module, "SCB"), [rows]);
  return {
    kind: "values",
    rows,
    columns,
    async decode(first, count) {
      const bytes = await stored.source.read(stored.offset + first * columns, count * columns);
      const codes = new Int8Array(new Uint8Array(bytes).buffer);
      return Float32Array.from(
        codes,
        (code, i) => Math.fround(code * (largest[first + Math.floor(i / columns)] ?? 0)) * PER_127,
      );
    },
  };
}

/** 8-bit floats with a scale for each tensor, row, or block. */
export async function float8Matrix(
  modules: Modules,
  module: string,
  part: string,
  block: readonly number[] | undefined,
): Promise<Values> {
  const stored = modules.raw(module, "weight", ["F8_E4M3"]);
  const [rows, columns] = sizeOf(stored);
  const scales = await scalesOf(modules, module, modules.get(module, part), [rows, columns], block);
  const table = Float32Array.from({ length: 256 }, (_, byte) => e4m3(byte));
  return {
    kind: "values",
    rows,
    columns,
    async decode(first, count) {
      const bytes = await stored.source.read(stored.offset + first * columns, count * columns);
      return Float32Array.from(
        bytes,
        (byte, i) => (table[byte] ?? 0) * scales.at(first + Math.floor(i / columns), i % columns),
      );
    },
  };
}

/** 4-bit floats, two a byte, with a scale for each 16 (NVFP4) or 32 columns (MXFP4). */
export async function float4Matrix(modules: Modules, module: string): Promise<Matrix> {
  const packed = modules.raw(module, "weight_packed", ["U8"]);
  const [rows, bytesPerRow] = sizeOf(packed);
  const columns = 2 * bytesPerRow;
  const read = (first: number, count: number): Promise<Uint8Array> =>
    packed.source.read(packed.offset + first * bytesPerRow, count * bytesPerRow);
  const stored = modules.get(module, "weight_scale");
  if ("type" in stored && stored.type === "U8") {
    modules.checkShape(module, "weight_scale", stored, [rows, columns / 32]);
    return mxfp4(packed, stored, rows, columns);
  }
  modules.checkShape(module, "weight_scale", stored, [rows, columns / 16]);
  const scales = await floatsOf(stored);
  const [all = 1] = await floatsOf(modules.get(module, "weight_global_scale"));
  return {
    kind: "values",
    rows,
    columns,
    async decode(first, count) {
      const bytes = await read(first, count);
      const out = new Float32Array(count * columns);
      for (let i = 0; i < out.length; i++) {
        const byte = bytes[i >> 1] ?? 0;
        const scale = Math.fround((scales[Math.floor((first * columns + i) / 16)] ?? 0) / all);
        out[i] = (FP4[(i & 1) === 0 ? byte & 15 : byte >> 4] ?? 0) * scale;
      }
      return out;
    },
  };
}

/** gpt-oss' experts: `NAME_blocks` `[E, N, K / 32, 16]` and `NAME_scales` `[E, N, K / 32]`. */
export function mxfp4Experts(modules: Modules, name: string, blocks: RawTensor, scales: RawTensor): Blocks {
  const [experts = 0, rows = 0, perRow = 0, bytes] = blocks.shape;
  const fits = bytes === 16 && scales.shape.join() === [experts, rows, perRow].join();
  if (!fits || blocks.type !== "U8" || scales.type !== "U8") {
    const [codes, exponents] = [blocks, scales].map(({ shape }) => `[${shape.join(", ")}]`);
    throw new ArtifactError(`${modules.name}: "${name}" has blocks ${codes} and scales ${exponents}, which don't fit`);
  }
  return mxfp4(blocks, scales, experts * rows, perRow * 32);
}

/** The same blocks as GGUF's, whose bytes hold columns i and i + 16, not 2i and 2i + 1. */
function mxfp4(packed: RawTensor, stored: RawTensor, rows: number, columns: number): Blocks {
  const perRow = columns / 32;
  const read = (first: number, count: number): Promise<Uint8Array> =>
    packed.source.read(packed.offset + (first * columns) / 2, (count * columns) / 2);
  return {
    kind: "blocks",
    dtype: "MXFP4",
    rows,
    columns,
    async decode(first, count) {
      const scales = await stored.source.read(stored.offset + first * perRow, count * perRow);
      const bytes = await read(first, count);
      const out = new Uint8Array(17 * count * perRow);
      const code = (i: number): number => {
        const byte = bytes[i >> 1] ?? 0;
        return (i & 1) === 0 ? byte & 15 : byte >> 4;
      };
      for (let block = 0; block < count * perRow; block++) {
        out[17 * block] = scales[block] ?? 0;
        for (let i = 0; i < 16; i++) out[17 * block + 1 + i] = code(32 * block + i) | (code(32 * block + i + 16) << 4);
      }
      return out;
    },
  };
}
