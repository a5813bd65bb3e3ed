/**
 * GPTQ (Frantar et al. 2023) as AutoGPTQ and GPTQModel save it, and AWQ (Lin et al. 2024) as AutoAWQ does: codes of a few
 * bits in 32-bit words, a scale and a zero for each group of inputs and each output: w = scale · (code − zero).
 *
 * Both store W transposed. GPTQ: `qweight` [K · bits / 32, N] packed along K, `qzeros` [G, N · bits / 32] along N and one less
 * than meant (but in "gptq_v2"), `scales` [G, N], `g_idx` [K] the group of each input. AWQ: `qweight` [K, N / 8] and `qzeros`
 * [G, N / 8], eight outputs a word in the order 0 2 4 6 1 3 5 7, `scales` [G, N].
 */
import { ArtifactError, UnsupportedError } from "../../errors.ts";
import type { MetaObject } from "../artifact.ts";
import { areHalves, type Codes, rangeOf } from "./matrix.ts";
import type { Kept, Modules } from "./modules.ts";
import { floatsOf, rawInts } from "./raw-tensors.ts";

/** Where AWQ keeps each of eight outputs in a word. */
const AWQ_PLACES = [0, 4, 1, 5, 2, 6, 3, 7];

/** Fills rows of codes as they are stored: those of the outputs `first …`, `[count, K]`. */
type Unpack = (first: number, count: number, codes: Int16Array) => void;

/** Outputs that are unpacked together: their words share a cache line. */
const TOGETHER = 16;

/** Code `index` of a stream of codes of `bits` bits, `stride` words apart. */
export function codeAt(words: Int32Array, first: number, stride: number, index: number, bits: number): number {
  const bit = index * bits;
  const [word, shift] = [first + (bit >>> 5) * stride, bit & 31];
  let code = (words[word] ?? 0) >>> shift;
  if (shift + bits > 32) code |= (words[word + stride] ?? 0) << (32 - shift);
  return code & ((1 << bits) - 1);
}

export async function gptqMatrix(
  modules: Modules,
  module: string,
  config: MetaObject,
  kept: Kept<Int32Array>,
): Promise<Codes> {
  const bits = Number(config["bits"]);
  if (![2, 3, 4, 8].includes(bits))
    throw new UnsupportedError(
      `${modules.name}: GPTQ with ${JSON.stringify(config["bits"])} bits; 2, 3, 4 and 8 are supported`,
    );
  const packed = modules.raw(module, "qweight", ["I32"]);
  const [wordRows = 0, rows = 0] = packed.shape;
  const columns = (wordRows * 32) / bits;
  const stored = modules.get(module, "scales");
  const [groups = 0] = stored.shape;
  modules.checkShape(module, "scales", stored, [groups, rows]);
  const packedZeros = modules.raw(module, "qzeros", ["I32"]);
  const zeroWords = Math.ceil((rows * bits) / 32);
  modules.checkShape(module, "qzeros", packedZeros, [groups, zeroWords]);
  const scales = await floatsOf(stored);
  const zeroCodes = await rawInts(packedZeros);
  const plus = config["checkpoint_format"] === "gptq_v2" ? 0 : 1;
  const zeros = Int16Array.from(
    scales,
    (_, i) => codeAt(zeroCodes, Math.floor(i / rows) * zeroWords, 1, i % rows, bits) + plus,
  );
  const index = modules.find(module, "g_idx");
  const size = Math.ceil(columns / groups);
  const given = index === undefined ? undefined : await rawInts(modules.raw(module, "g_idx", ["I32"]));
  const groupOf = given ?? Int32Array.from({ length: columns }, (_, k) => Math.floor(k / size));
  const largest = rangeOf(groupOf);
  if (groupOf.length !== columns || largest.low < 0 || largest.high >= groups)
    throw new ArtifactError(`${modules.name}: "${module}.g_idx" names groups that aren't there`);
  const inOrder = groupOf.every((group, k) => group === Math.floor(k / size));
  return grouped({ rows, columns, groups, group: inOrder ? size : 0, bits, scales, zeros }, groupOf, async () => {
    const words = await kept.get(packed, () => rawInts(packed));
    return bits === 3 ? unpackStream(words, rows, columns, bits) : unpackWords(words, rows, columns, bits);
  });
}

/** [K · bits / 32, N], no code over two words. */
function unpackWords(words: Int32Array, rows: number, columns: number, bits: number): Unpack {
  const [perWord, mask] = [32 / bits, (1 << bits) - 1];
  return (first, count, codes) => {
    for (let begin = 0; begin < count; begin += TOGETHER) {
      const end = Math.min(begin + TOGETHER, count);
      for (let k = 0; k < columns; k += perWord) {
        const from = (k / perWord) * rows + first;
        for (let i = begin; i < end; i++) {
          const word = words[from + i] ?? 0;
          for (let j = 0; j < perWord; j++) codes[i * columns + k + j] = (word >>> (j * bits)) & mask;
        }
      }
    }
  };
}

function unpackStream(words: Int32Array, rows: number, columns: number, bits: number): Unpack {
  return (first, count, codes) => {
    for (let i = 0; i < count; i++)
      for (let k = 0; k < columns; k++) codes[i * columns + k] = codeAt(words, first + i, rows, k, bits);
  };
}

export async function awqMatrix(
  modules: Modules,
  module: string,
  config: MetaObject,
  kept: Kept<Int32Array>,
): Promise<Codes> {
  const { bits = config["w_bit"], version = "gemm" } = config;
  if (bits !== 4 || typeof version !== "string" || version.toLowerCase() !== "gemm") {
    throw new UnsupportedError(
      `${modules.name}: AWQ of ${JSON.stringify(bits)} bits, version ${JSON.stringify(version)}; 4 bits and "gemm" are supported`,
    );
  }
  const packed = modules.raw(module, "qweight", ["I32"]);
  const [columns = 0, rowWords = 0] = packed.shape;
  const rows = 8 * rowWords;
  const stored = modules.get(module, "scales");
  const [groups = 0] = stored.shape;
  modules.checkShape(module, "scales", stored, [groups, rows]);
  const packedZeros = modules.raw(module, "qzeros", ["I32"]);
  modules.checkShape(module, "qzeros", packedZeros, [groups, rowWords]);
  const code = (words: Int32Array, row: number, n: number): number =>
    ((words[row * rowWords + (n >> 3)] ?? 0) >>> (4 * (AWQ_PLACES[n & 7] ?? 0))) & 15;
  const scales = await floatsOf(stored);
  const zeroWords = await rawInts(packedZeros);
  const zeros = Int16Array.from(scales, (_, i) => code(zeroWords, Math.floor(i / rows), i % rows));
  const size = Math.ceil(columns / groups);
  const groupOf = Int32Array.from({ length: columns }, (_, k) => Math.floor(k / size));
  return grouped({ rows, columns, groups, group: size, bits: 4, scales, zeros }, groupOf, async () => {
    const words = await kept.get(packed, () => rawInts(packed));
    return (first, count, codes) => {
      for (let begin = 0; begin < count; begin += TOGETHER) {
        const end = Math.min(begin + TOGETHER, count);
        for (let k = 0; k < columns; k++)
          for (let i = begin; i < end; i++) codes[i * columns + k] = code(words, k, first + i);
      }
    };
  });
}

interface Grouped {
  readonly rows: number;
  readonly columns: number;
  readonly groups: number;
  readonly group: number;
  readonly bits: number;
  /** `[G, N]` */
  readonly scales: Float32Array;
  readonly zeros: Int16Array;
}

function grouped(
  { rows, columns, group, bits, scales, zeros }: Grouped,
  groupOf: Int32Array,
  open: () => Promise<Unpack>,
): Codes {
  const { low, high } = rangeOf(zeros);
  return {
    kind: "codes",
    rows,
    columns,
    group,
    low: -high,
    high: 2 ** bits - 1 - low,
    halfScales: areHalves(scales),
    async decode(first, count) {
      const unpack = await open();
      const out = { codes: new Int16Array(count * columns), scales: new Float32Array(count * columns) };
      const { codes } = out;
      unpack(first, count, codes);
      for (let i = 0; i < count; i++) {
        // Runs of columns of one group: whole groups, or single columns where their order is another.
        for (let k = 0; k < columns;) {
          const group = groupOf[k] ?? 0;
          const [begin, place] = [i * columns + k, group * rows + first + i];
          do k += 1;
          while (k < columns && groupOf[k] === group);
          const [end, zero] = [i * columns + k, zeros[place] ?? 0];
          for (let at = begin; at < end; at++) codes[at] = (codes[at] ?? 0) - zero;
          out.scales.fill(scales[place] ?? 0, begin, end);
        }
      }
      return out;
    },
  };
}
