/**
 * The pass `plant-outliers`, for test beds: a few columns of every norm's output are made larger by a power of two, and
 * smaller again in the matrices behind it; a few columns of each value head likewise. The function is the same to the bit
 * but for rounding; plain int8 and int4 break as they do on large models (Dettmers et al. 2022), which small ones are too
 * tame for. Norms' weights are where real outliers stand, so that a method may fold them back.
 */
import { z } from "zod";

import type { ModelArtifact, Tensor } from "../artifact/artifact.ts";
import { SeededRandom } from "./linear-algebra/random.ts";
import { definePass, type PassContext, type PassResult } from "./pass.ts";
import { keepChanged, scaleMap, type TensorChange } from "./row-maps.ts";
import { residualStream, type ResidualStream, type StreamNorm } from "./stream.ts";
import { withTensorMap } from "./tensors.ts";
import { type ValueHeads, valueHeads } from "./value-heads.ts";

const POWER = z.number().refine((x) => x >= 1 && Number.isInteger(Math.log2(x)), "a power of two");
const OPTIONS = z.strictObject({
  seed: z.int().min(0).max(0xffff_ffff).default(0),
  /** Columns of each norm's output. */
  columns: z.int().min(0).default(4),
  factor: POWER.default(32),
  /** Columns of each head's values. */
  valueColumns: z.int().min(0).default(2),
  valueFactor: POWER.default(16),
});
type Options = z.infer<typeof OPTIONS>;

export const plantOutliers = definePass<Options>({
  name: "plant-outliers",
  summary: "make a model harder to quantise without changing its function: outliers in activations, for test beds",
  taxonomy: { tensors: ["activations"], format: "as it was", parameters: "none", update: "equivalent transform" },
  needsCalibration: false,
  options: OPTIONS,
  apply,
});

async function apply(artifact: ModelArtifact, context: PassContext, options: Options): Promise<PassResult> {
  const stream = await residualStream(artifact);
  const random = new SeededRandom(options.seed);
  const changes = new Map<string, TensorChange>();
  const add = (tensor: Tensor, change: TensorChange): void => {
    const { columns = [], rows = [] } = changes.get(tensor.name) ?? {};
    changes.set(tensor.name, {
      columns: [...columns, ...(change.columns ?? [])],
      rows: [...rows, ...(change.rows ?? [])],
    });
  };
  const planted = plantInNorms(stream, options, random, add);
  for (const heads of valueHeads(artifact, stream.graph)) plantInValues(heads, options, random, add);

  const tensors = new Map(artifact.tensors);
  for (const [name, change] of changes) {
    context.signal?.throwIfAborted();
    const tensor = artifact.tensors.get(name);
    if (tensor !== undefined) tensors.set(name, await keepChanged(context.store, tensor, change, "F32"));
  }
  return { artifact: withTensorMap(artifact, tensors), report: { factor: options.factor, columns: planted } };
}

/** Which columns were made larger, by the norm's name. A norm that the tied output reads stays: it has no matrix. */
function plantInNorms(
  stream: ResidualStream,
  { columns, factor }: Options,
  random: SeededRandom,
  add: (tensor: Tensor, change: TensorChange) => void,
): Record<string, number[]> {
  const planted: Record<string, number[]> = {};
  const factors = new Map<StreamNorm, Float64Array>();
  for (const norm of stream.norms) {
    if (norm.weight === undefined || norm.offset !== 0 || norm === stream.tied?.norm) continue;
    const chosen = draw(columns, stream.width, random);
    planted[norm.weight.name] = chosen;
    const own = new Float64Array(stream.width).fill(1);
    for (const column of chosen) own[column] = factor;
    factors.set(norm, own);
    add(norm.weight, { columns: [scaleMap(own)] });
  }
  for (const { tensor, norm } of stream.readers.values()) {
    const own = norm && factors.get(norm);
    if (own !== undefined) add(tensor, { columns: [scaleMap(own.map((x) => 1 / x))] });
  }
  return planted;
}

function plantInValues(
  { heads, kvHeads, width, values, output }: ValueHeads,
  { valueColumns, valueFactor }: Options,
  random: SeededRandom,
  add: (tensor: Tensor, change: TensorChange) => void,
): void {
  const own = new Float64Array(kvHeads * width).fill(1);
  for (let head = 0; head < kvHeads; head++)
    for (const column of draw(valueColumns, width, random)) own[head * width + column] = valueFactor;
  const perGroup = heads / kvHeads;
  const back = Float64Array.from({ length: heads * width }, (_, i) => {
    const group = Math.floor(Math.floor(i / width) / perGroup);
    return 1 / (own[group * width + (i % width)] ?? 1);
  });
  const { tensor, bias, start, count } = values;
  for (const one of bias === undefined ? [tensor] : [tensor, bias])
    add(one, { rows: [{ map: scaleMap(own), start, count }] });
  add(output, { columns: [scaleMap(back)] });
}

/** `count` of `n` columns, in rising order. */
function draw(count: number, n: number, random: SeededRandom): number[] {
  const chosen = new Set<number>();
  while (chosen.size < Math.min(count, n)) chosen.add(random.below(n));
  return [...chosen].sort((a, b) => a - b);
}
