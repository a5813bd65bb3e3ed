/**
 * The pass `quantize`: every matrix of a GGUF model rounded to its format in a mixture, each block's scales searched for
 * the least weighted error (C9-01, C9-26 … C9-28). With calibration, or an imatrix file, errors count by the activations
 * that they meet. Tensors are read, rounded and kept some rows at a time.
 */
import { z } from "zod";

import type { ModelArtifact, Tensor } from "../artifact/artifact.ts";
import { type DType, DTYPES } from "../artifact/dtype.ts";
import { tensorValues } from "../artifact/tensor-values.ts";
import { UnsupportedError } from "../errors.ts";
import { QUANTIZABLE } from "../backend/cpu/toolkit.ts";
import type { Importance } from "./calibration.ts";
import { measureImportance } from "./importance.ts";
import {
  fitting,
  isQuantizable,
  MIXTURE_NAMES,
  MIXTURES,
  type MixtureName,
  mixtureModel,
  mixtureType,
  type WritableDType,
} from "./mixtures.ts";
import { definePass, type PassContext, type PassResult } from "./pass.ts";
import type { PassReport } from "./report.ts";
import { keepJson, keepTensor } from "./store.ts";
import { encodeFloats, type FloatDType, withTensors } from "./tensors.ts";

/** Values that are rounded at a time. */
const CHUNK_VALUES = 2 ** 21;

const OPTIONS = z.strictObject({
  /** A mixture of llama.cpp's, by name. */
  type: z.enum(MIXTURE_NAMES as [MixtureName, ...MixtureName[]]),
  /** All matrices in the mixture's base format, whatever its rules say. */
  pure: z.boolean().default(false),
  /** "none": errors count alike, even where activations are known. */
  importance: z.enum(["measured", "none"]).default("measured"),
  /** Tensors whose names contain a pattern (a regular expression) get another format; the first match counts. */
  tensors: z
    .array(z.strictObject({ match: z.string(), type: z.enum([...QUANTIZABLE, "F32", "F16", "BF16"]) }))
    .default([]),
});
type Options = z.infer<typeof OPTIONS>;

export const quantize = definePass<Options>({
  name: "quantize",
  summary: "round to nearest in GGUF's formats, scales searched, by importance where it is known",
  taxonomy: { tensors: ["weights"], format: "uniform", parameters: "search", update: "rounding" },
  needsCalibration: false,
  options: OPTIONS,
  plan: (artifact, options) => {
    const formats = formatsOf(artifact, options, options.importance === "measured");
    return withTensors(artifact, (tensor) => planned(tensor, formats.get(tensor.name) ?? tensor.dtype));
  },
  apply,
});

async function apply(artifact: ModelArtifact, context: PassContext, options: Options): Promise<PassResult> {
  const { store, calibration, progress, signal } = context;
  const importance =
    options.importance === "none"
      ? undefined
      : (context.importance ?? (calibration && (await measureImportance(artifact, context, calibration))));
  const formats = formatsOf(artifact, options, importance !== undefined);
  const total = [...formats.keys()].reduce((sum, name) => sum + (artifact.tensors.get(name)?.byteLength ?? 0), 0);
  let done = 0;
  const made = new Map<string, Tensor>();
  const losses: Record<string, number> = {};
  for (const [name, dtype] of formats) {
    signal?.throwIfAborted();
    const tensor = artifact.tensors.get(name);
    if (tensor === undefined || tensor.dtype === dtype) continue;
    const { kept, loss } = await rounded(tensor, dtype, context, importance);
    made.set(name, kept);
    losses[name] = loss;
    done += tensor.byteLength;
    progress({ done, total, unit: "bytes" });
  }
  const { fileType } = MIXTURES[options.type];
  const changed = withTensors(artifact, (tensor) => made.get(tensor.name) ?? tensor, {
    "general.file_type": ["u32", fileType],
    "general.quantization_version": ["u32", 2],
  });
  await keepJson(store, "losses", async () => losses);
  return { artifact: changed, report: reportOf(options, losses, importance) };
}

/** One tensor in its new format, kept; and the share of its energy that was lost. */
export async function rounded(
  tensor: Tensor,
  dtype: WritableDType,
  { store, toolkit, signal }: PassContext,
  importance: Importance | undefined,
): Promise<{ readonly kept: Tensor; readonly loss: number }> {
  const { name, shape } = tensor;
  const columns = shape.at(-1) ?? 1;
  const count = shape.reduce((product, n) => product * n, 1);
  const rowsAtATime = Math.max(1, Math.floor(CHUNK_VALUES / columns)) * columns;
  const known = importance?.columns.get(name);
  let lost = 0;
  let energy = 0;
  async function* bytes(): AsyncGenerator<Uint8Array> {
    for (let start = 0; start < count; start += rowsAtATime) {
      signal?.throwIfAborted();
      const values = await tensorValues(tensor, start, Math.min(rowsAtATime, count - start));
      if (isFloat(dtype)) {
        yield encodeFloats(dtype, values);
        continue;
      }
      for (const value of values) energy += value * value;
      for (const part of expertParts(values, start, shape, known)) {
        const made = await toolkit.quantize(dtype, part.values, columns, part.importance);
        for (const error of made.errors) lost += error;
        yield made.bytes;
      }
    }
  }
  const kept = await keepTensor(store, { name, dtype, shape, bytes });
  const loss = await keepJson(store, `${name} loss`, async () => (energy === 0 ? 0 : lost / energy));
  return { kept, loss };
}

/** Rows under one importance each: a stack of experts has one for each expert. */
function* expertParts(
  values: Float32Array,
  start: number,
  shape: readonly number[],
  importance: Float32Array | undefined,
): Generator<{ readonly values: Float32Array; readonly importance: Float32Array | undefined }> {
  const columns = shape.at(-1) ?? 1;
  if (importance === undefined || importance.length === columns) return yield { values, importance };
  const size = (shape.at(-2) ?? 1) * columns;
  for (let at = start; at < start + values.length;) {
    const expert = Math.floor(at / size);
    const end = Math.min(start + values.length, (expert + 1) * size);
    yield {
      values: values.subarray(at - start, end - start),
      importance: importance.subarray(expert * columns, (expert + 1) * columns),
    };
    at = end;
  }
}

function isFloat(dtype: WritableDType): dtype is FloatDType {
  return dtype === "F32" || dtype === "F16" || dtype === "BF16";
}

/** The format of each matrix that the pass may change. */
export function formatsOf(
  artifact: ModelArtifact,
  options: Pick<Options, "type" | "pure" | "tensors">,
  hasImportance: boolean,
): Map<string, WritableDType> {
  if (artifact.ggufTypes === undefined)
    throw new UnsupportedError(`${artifact.name}: quantize writes GGUF's formats, and takes a model in GGUF`);
  const model = mixtureModel(artifact, hasImportance);
  const own = options.tensors.map(({ match, type }) => ({ match: new RegExp(match), type }));
  const formats = new Map<string, WritableDType>();
  for (const tensor of artifact.tensors.values()) {
    if (!isQuantizable(tensor)) continue;
    const columns = tensor.shape.at(-1) ?? 1;
    const named = own.find(({ match }) => match.test(tensor.name))?.type;
    const { base } = MIXTURES[options.type];
    const dtype =
      named !== undefined
        ? fitting(named, columns)
        : options.pure
          ? fitting(base, columns)
          : mixtureType(options.type, tensor.name, columns, model);
    formats.set(tensor.name, dtype);
  }
  return formats;
}

function planned(tensor: Tensor, dtype: DType): Tensor {
  const { blockSize, blockBytes } = DTYPES[dtype];
  const count = tensor.shape.reduce((product, n) => product * n, 1);
  return { ...tensor, dtype, byteLength: (count / blockSize) * blockBytes };
}

function reportOf(
  options: Options,
  losses: Readonly<Record<string, number>>,
  importance: Importance | undefined,
): PassReport {
  const values = Object.values(losses).sort((a, b) => a - b);
  const mean = values.reduce((sum, loss) => sum + loss, 0) / Math.max(1, values.length);
  return {
    type: options.type,
    tensors: values.length,
    meanLoss: mean,
    largestLoss: values.at(-1) ?? 0,
    importance: importance === undefined ? "none" : importance.name,
  };
}
