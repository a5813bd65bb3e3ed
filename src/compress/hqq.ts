/**
 * The pass `hqq`: scales and zero points without calibration (half-quadratic quantisation, Badri & Shaji 2023; C9-28). The
 * error is measured in an ℓp norm with p < 1, which forgives outliers: errors E are split off by a shrinkage operator, and the
 * minimum is refitted to what is left, in turns. Into Q4_1 and Q5_1, which keep a minimum of their own for 32 weights.
 */
import { z } from "zod";

import type { ModelArtifact, Tensor } from "../artifact/artifact.ts";
import { DTYPES } from "../artifact/dtype.ts";
import { halfToNumber, numberToHalf } from "../artifact/half.ts";
import { tensorValues } from "../artifact/tensor-values.ts";
import { isQuantizable } from "./mixtures.ts";
import { definePass, type PassContext, type PassResult } from "./pass.ts";
import { formatsOf, rounded } from "./quantize.ts";
import { keepTensor } from "./store.ts";
import { withTensors } from "./tensors.ts";

const GROUP = 32;
const CHUNK_VALUES = 2 ** 20;

const OPTIONS = z.strictObject({
  type: z.enum(["Q4_1", "Q5_1"]).default("Q4_1"),
  /** The norm's exponent. */
  p: z.number().min(0.1).max(1).default(0.7),
  rounds: z.int().min(1).max(100).default(20),
});
type Options = z.infer<typeof OPTIONS>;

export const hqq = definePass<Options>({
  name: "hqq",
  summary: "HQQ (Badri & Shaji 2023): minimums fitted under a norm that forgives outliers, without any data",
  taxonomy: { tensors: ["weights"], format: "uniform", parameters: "optimisation", update: "rounding" },
  needsCalibration: false,
  options: OPTIONS,
  apply,
});

async function apply(artifact: ModelArtifact, context: PassContext, options: Options): Promise<PassResult> {
  const { store, progress, signal } = context;
  const formats = formatsOf(artifact, { type: options.type, pure: false, tensors: [] }, false);
  const made = new Map<string, Tensor>();
  let done = 0;
  for (const [name, dtype] of formats) {
    signal?.throwIfAborted();
    const tensor = artifact.tensors.get(name);
    if (tensor === undefined || !isQuantizable(tensor)) continue;
    const { shape } = tensor;
    made.set(
      name,
      dtype === options.type
        ? await keepTensor(store, { name, dtype, shape, bytes: () => fitted(tensor, options) })
        : (await rounded(tensor, dtype, context, undefined)).kept,
    );
    progress({ done: ++done, total: formats.size, unit: "steps" });
  }
  const changed = withTensors(artifact, (tensor) => made.get(tensor.name) ?? tensor, {
    "general.file_type": ["u32", options.type === "Q4_1" ? 3 : 9],
    "general.quantization_version": ["u32", 2],
  });
  return { artifact: changed, report: { type: options.type, matrices: made.size, rounds: options.rounds } };
}

async function* fitted(tensor: Tensor, options: Options): AsyncGenerator<Uint8Array> {
  const count = tensor.shape.reduce((product, n) => product * n, 1);
  for (let start = 0; start < count; start += CHUNK_VALUES) {
    const values = await tensorValues(tensor, start, Math.min(CHUNK_VALUES, count - start));
    yield hqqBlocks(options, values);
  }
}

/** Blocks of Q4_1 or Q5_1 (32 weights: scale, minimum, fifth bits, nibbles). */
export function hqqBlocks({ type, p, rounds }: Options, values: Float32Array): Uint8Array {
  const { blockBytes } = DTYPES[type];
  const most = type === "Q4_1" ? 15 : 31;
  const bytes = new Uint8Array((values.length / GROUP) * blockBytes);
  const view = new DataView(bytes.buffer);
  const codes = new Uint8Array(GROUP);
  for (let g = 0; g * GROUP < values.length; g++) {
    const part = values.subarray(g * GROUP, (g + 1) * GROUP);
    const { scale, min } = fitGroup(part, most, p, rounds);
    const at = g * blockBytes;
    view.setUint16(at, numberToHalf(scale), true);
    view.setUint16(at + 2, numberToHalf(min), true);
    const [s, m] = [halfToNumber(view.getUint16(at, true)), halfToNumber(view.getUint16(at + 2, true))];
    for (const [i, value] of part.entries()) codes[i] = code(value, s, m, most);
    let high = 0;
    const nibbles = at + (most === 31 ? 8 : 4);
    for (let i = 0; i < 16; i++) {
      const [a, b] = [codes[i] ?? 0, codes[i + 16] ?? 0];
      bytes[nibbles + i] = (a & 15) | ((b & 15) << 4);
      high |= ((a >> 4) << i) | ((b >> 4) << (i + 16));
    }
    if (most === 31) view.setInt32(at + 4, high, true);
  }
  return bytes;
}

/**
 * w ≈ scale · code + min with Σ |w − ŵ|^p small. The scale is that of the range; in turns E = shrink(w − ŵ) and min = the mean
 * of w − E − scale · code, under a weight β of the split that grows (the paper's half-quadratic solver, with the minimum in
 * the zero point's place).
 */
function fitGroup(values: Float32Array, most: number, p: number, rounds: number): { scale: number; min: number } {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const scale = (high - low) / most;
  if (!(scale > 0)) return { scale: 0, min: low };
  let min = low;
  let best = { min, error: Infinity };
  // β in units of the scale: errors are at most half of one.
  for (let round = 0, beta = 10 / scale; round < rounds; round++, beta *= 1.01) {
    let sum = 0;
    let error = 0;
    for (const value of values) {
      const near = scale * code(value, scale, min, most) + min;
      const miss = value - near;
      error += Math.abs(miss) ** p;
      const magnitude = Math.abs(miss);
      const shrunk = magnitude === 0 ? 0 : Math.max(0, magnitude - magnitude ** (p - 1) / beta / scale ** (p - 1));
      sum += value - Math.sign(miss) * shrunk - (near - min);
    }
    if (error >= best.error) break;
    best = { min, error };
    min = sum / values.length;
  }
  return { scale, min: best.min };
}

function code(value: number, scale: number, min: number, most: number): number {
  return scale === 0 ? 0 : Math.min(most, Math.max(0, Math.round((value - min) / scale)));
}
