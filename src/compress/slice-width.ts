/**
 * The pass `slice-width`: the residual stream turned so that its columns are principal components of what norms see, and the
 * last of them left out (SliceGPT, Ashkboos et al. 2024; C9-38): a narrower model of its family. The paper turns each
 * layer's stream by a matrix of its own and carries them along; here one matrix serves all layers, so that the model needs
 * nothing new.
 */
import { z } from "zod";

import type { ModelArtifact } from "../artifact/artifact.ts";
import { RequestError, UnsupportedError } from "../errors.ts";
import { ConfigReader } from "../models/config.ts";
import { readDimensions } from "../models/dimensions.ts";
import { checkGraph } from "./check-graph.ts";
import { InputStatistics } from "./input-statistics.ts";
import { LayerWalk } from "./layer-walk.ts";
import { symmetricEigen } from "./linear-algebra/eigen.ts";
import { type Matrix, transpose } from "./linear-algebra/matrix.ts";
import { definePass, type PassContext, type PassResult } from "./pass.ts";
import { matrixMap } from "./row-maps.ts";
import { residualStream } from "./stream.ts";
import { withTensorMap } from "./tensors.ts";
import { turnStream } from "./turn-stream.ts";

const OPTIONS = z.strictObject({
  /** The share of the stream's columns that stays, … */
  keep: z.number().positive().max(1).default(0.75),
  /** … as a whole multiple of this. */
  multiple: z.int().min(1).default(32),
  type: z.enum(["F32", "F16", "BF16"]).default("F16"),
});
type Options = z.infer<typeof OPTIONS>;

export const sliceWidth = definePass<Options>({
  name: "slice-width",
  summary: "SliceGPT (Ashkboos et al. 2024), one rotation for all layers: a narrower stream; a smaller model",
  taxonomy: {
    tensors: ["weights", "activations"],
    format: "smaller shapes",
    parameters: "statistics",
    update: "equivalent transform",
  },
  needsCalibration: true,
  options: OPTIONS,
  apply,
});

async function apply(artifact: ModelArtifact, context: PassContext, options: Options): Promise<PassResult> {
  if (artifact.config.format !== "gguf")
    throw new UnsupportedError(`${artifact.name}: narrower streams are made of models in GGUF`);
  const { architecture } = artifact.config;
  const { headDim, eps } = readDimensions(new ConfigReader(artifact));
  const stream = await residualStream(artifact);
  const { width } = stream;
  const wanted = Math.round(width * options.keep);
  const kept = wanted >= options.multiple ? wanted - (wanted % options.multiple) : wanted;
  const { values, vectors } = symmetricEigen(await streamGram(artifact, context, width));
  const leading = { rows: kept, columns: width, values: vectors.values.slice(0, kept * width) };
  const turned = await turnStream(
    artifact,
    stream,
    { map: matrixMap(transpose(leading)), dtype: options.type },
    context,
  );
  const energy = (part: Float64Array): number => part.reduce((sum, value) => sum + Math.max(0, value), 0);
  const result = withTensorMap(turned, turned.tensors, {
    [`${architecture}.embedding_length`]: ["u32", kept],
    // What is added to the mean square, which is over fewer columns now, as are those that the mean is made of.
    [`${architecture}.attention.layer_norm_rms_epsilon`]: ["f32", Math.fround((eps * width) / kept)],
    [`${architecture}.attention.key_length`]: ["u32", headDim],
    [`${architecture}.attention.value_length`]: ["u32", headDim],
  });
  await checkGraph(result, "have a narrower stream");
  const report = { width: kept, widthBefore: width, energyKept: energy(values.subarray(0, kept)) / energy(values) };
  return { artifact: result, report };
}

/** Xᵀ X of the stream's rows before each layer and behind the last one, each row brought to length 1 as a norm would. */
async function streamGram(
  artifact: ModelArtifact,
  { backend, calibration, toolkit, progress, signal }: PassContext,
  width: number,
): Promise<Matrix> {
  if (calibration === undefined) throw new RequestError("slice-width needs text to calibrate with");
  const walk = await LayerWalk.begin(artifact, { backend, calibration, signal });
  const seen = new InputStatistics(width, { gram: true });
  const add = async (): Promise<void> => {
    for (const rows of walk.rows) await seen.add(unitRows(rows, width), toolkit);
  };
  for (; walk.section !== undefined; await walk.advance()) {
    await add();
    progress({ done: walk.section.index + 1, total: walk.sections.layers.length, unit: "steps" });
  }
  await add();
  const gram = seen.gram();
  if (gram === undefined) throw new UnsupportedError(`${artifact.name}: its stream has no rows`);
  return gram;
}

function unitRows(rows: Float32Array, width: number): Float32Array {
  const result = rows.slice();
  for (let at = 0; at < rows.length; at += width) {
    const row = result.subarray(at, at + width);
    const length = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
    if (length > 0) for (let i = 0; i < width; i++) row[i] = (row[i] ?? 0) / length;
  }
  return result;
}
