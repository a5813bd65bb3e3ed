/**
 * The pass `gptq`: rounding column by column, each column's error made up for by those that follow, as the Gram matrix of the
 * rows that a matrix reads says (GPTQ, Frantar et al. 2022; C9-04). Layer by layer: what a layer became computes the rows of
 * the next one. Into GGUF's formats, whose blocks are fitted to what the feedback made of the columns; or plain integers,
 * "simulated". Embedding and head are rounded to nearest.
 */
import { z } from "zod";

import type { ModelArtifact, Tensor } from "../artifact/artifact.ts";
import { tensorValues } from "../artifact/tensor-values.ts";
import type { Factor, Grid, Toolkit } from "../backend/cpu/toolkit.ts";
import { RequestError } from "../errors.ts";
import type { Value } from "../graph/graph.ts";
import { LayerWalk } from "./layer-walk.ts";
import { MIXTURES } from "./mixtures.ts";
import { keepPacked, keptPacked, type PackedMatrix } from "./packed.ts";
import { definePass, type PassContext, type PassResult } from "./pass.ts";
import { formatsOf, rounded } from "./quantize.ts";
import type { Site } from "./sections.ts";
import { keepJson, keepTensor, onlyChunk } from "./store.ts";
import { GRID_OPTIONS, gridOf, hasOneTarget, ONE_TARGET } from "./targets.ts";
import { encodeFloats, withTensors } from "./tensors.ts";

const OPTIONS = z
  .strictObject({
    ...GRID_OPTIONS,
    /** Columns in the order of their activations, the largest first; scales are fitted beforehand then. */
    actOrder: z.boolean().default(false),
    /** Added to the diagonal, as a share of its mean. */
    damp: z.number().min(1e-6).max(1).default(0.01),
  })
  .refine(hasOneTarget, ONE_TARGET);
type Options = z.infer<typeof OPTIONS>;

export const gptq = definePass<Options>({
  name: "gptq",
  summary: "GPTQ (Frantar et al. 2022): round column by column, later columns making up for the error",
  taxonomy: { tensors: ["weights"], format: "uniform", parameters: "statistics", update: "compensation" },
  needsCalibration: true,
  options: OPTIONS,
  apply,
});

async function apply(artifact: ModelArtifact, context: PassContext, options: Options): Promise<PassResult> {
  const { backend, calibration, store, progress, signal, toolkit } = context;
  if (calibration === undefined) throw new RequestError("gptq needs text to calibrate with");
  const walk = await LayerWalk.begin(artifact, { backend, calibration, signal });
  const total = walk.sections.layers.length;
  const made = new Map<string, Tensor>();
  const losses: number[] = [];
  const packed = new Map<string, () => Promise<PackedMatrix>>();
  for (let section = walk.section; section !== undefined; section = walk.section) {
    const targets = section.sites.flatMap((site) => {
      const tensor = artifact.tensors.get(site.tensor);
      const grid = tensor && gridOf(artifact, tensor, options);
      return tensor === undefined || grid === undefined ? [] : [{ site, tensor, grid }];
    });
    const missing = await targetsMissing(store, targets);
    const grams = missing.length === 0 ? undefined : await gramsOf(walk, missing, toolkit);
    const changed = new Map<string, Tensor>();
    for (const [input, gram] of grams ?? []) {
      const readers = missing.filter(({ site }) => site.input === input);
      const prepared = await prepare(gram, options, toolkit);
      for (const { tensor, grid } of readers) {
        signal?.throwIfAborted();
        await roundMatrix(tensor, grid, prepared, context);
      }
    }
    for (const { tensor, grid } of targets) {
      changed.set(tensor.name, await kept(tensor, grid, context));
      if (!("dtype" in grid)) packed.set(tensor.name, keptPacked(store, tensor, grid));
      losses.push(await keepJson(store, `${tensor.name} loss`, async () => 0));
    }
    for (const [name, tensor] of changed) made.set(name, tensor);
    await walk.advance(changed);
    progress({ done: section.index + 1, total, unit: "steps" });
  }
  // What stands outside of the layers: rounded to nearest.
  if (options.type !== undefined) {
    const others = formatsOf(artifact, { type: options.type, pure: options.pure, tensors: [] }, true);
    for (const [name, dtype] of others) {
      const tensor = artifact.tensors.get(name);
      if (tensor !== undefined && !made.has(name) && tensor.dtype !== dtype)
        made.set(name, (await rounded(tensor, dtype, context, undefined)).kept);
    }
  }
  const changed = withTensors(artifact, (tensor) => made.get(tensor.name) ?? tensor, {
    ...(options.type !== undefined && {
      "general.file_type": ["u32", MIXTURES[options.type].fileType] as const,
      "general.quantization_version": ["u32", 2] as const,
    }),
  });
  const mean = losses.reduce((sum, loss) => sum + loss, 0) / Math.max(1, losses.length);
  const target =
    options.type === undefined
      ? { bits: options.bits ?? 0, group: options.group, symmetric: options.symmetric, simulated: true }
      : { type: options.type };
  return { artifact: changed, packed, report: { ...target, matrices: losses.length, meanLoss: mean } };
}

interface Target {
  readonly site: Site;
  readonly tensor: Tensor;
  readonly grid: Grid;
}

async function targetsMissing(store: PassContext["store"], targets: readonly Target[]): Promise<Target[]> {
  const missing: Target[] = [];
  for (const target of targets) if ((await store.find(target.tensor.name)) === undefined) missing.push(target);
  return missing;
}

/** For each value that matrices read, Σ x xᵀ over its rows (the upper triangle), the layer as it is. */
async function gramsOf(
  walk: LayerWalk,
  targets: readonly Target[],
  toolkit: Toolkit,
): Promise<Map<Value, Float32Array>> {
  const { widths } = walk.sections.graph;
  const inputs = new Set(targets.map(({ site }) => site.input));
  const grams = new Map([...inputs].map((v) => [v, new Float32Array((widths[v] ?? 0) ** 2)] as const));
  await walk.observe([...inputs], async (value, rows) => {
    const gram = grams.get(value);
    if (gram !== undefined) await toolkit.addGram(rows, widths[value] ?? 1, gram);
  });
  return grams;
}

interface Prepared {
  readonly factor: Factor;
  /** The diagonal before it was damped: mean squares of columns, times the number of rows. */
  readonly diagonal: Float32Array;
  readonly order: Int32Array | undefined;
}

/** The Gram matrix damped, in the order in which columns are rounded, and factored. */
export async function prepare(
  gram: Float32Array,
  { actOrder, damp }: { readonly actOrder: boolean; readonly damp: number },
  toolkit: Toolkit,
): Promise<Prepared> {
  const n = Math.sqrt(gram.length);
  const diagonal = Float32Array.from({ length: n }, (_, i) => gram[i * n + i] ?? 0);
  const mean = diagonal.reduce((sum, value) => sum + value, 0) / n || 1;
  const order = actOrder
    ? Int32Array.from(diagonal.keys()).sort((a, b) => (diagonal[b] ?? 0) - (diagonal[a] ?? 0) || a - b)
    : undefined;
  const at = (i: number, j: number): number => gram[Math.min(i, j) * n + Math.max(i, j)] ?? 0;
  for (let extra = damp; ; extra *= 10) {
    const matrix = new Float32Array(gram.length);
    for (let i = 0; i < n; i++) {
      for (let j = i; j < n; j++) matrix[i * n + j] = order === undefined ? at(i, j) : at(order[i] ?? 0, order[j] ?? 0);
      // A column that is never met: any positive number does.
      matrix[i * n + i] = (matrix[i * n + i] ?? 0) + extra * mean;
    }
    try {
      return { factor: await toolkit.factor(matrix, n), diagonal, order };
    } catch (error) {
      // Rows that depend on each other, in single precision: more damping helps.
      if (extra > 1) throw error;
    }
  }
}

/** Rounds the matrix and keeps what came of it: the format's bytes, or the floats that its integers stand for. */
async function roundMatrix(tensor: Tensor, grid: Grid, prepared: Prepared, context: PassContext): Promise<void> {
  const { factor, diagonal, order } = prepared;
  const values = await tensorValues(tensor);
  const solved = await context.toolkit.solve(values, factor, { grid, importance: diagonal, order });
  // In units of what the columns carry: Σ w² times their mean square.
  const energy = values.reduce((sum, value, i) => sum + value * value * (diagonal[i % factor.n] ?? 0), 0);
  const error = solved.errors.reduce((sum, value) => sum + value, 0);
  await keepJson(context.store, `${tensor.name} loss`, async () => error / (energy || 1));
  if (!("dtype" in grid)) await keepPacked(context.store, tensor.name, solved);
  await kept(tensor, grid, context, solved.blocks ?? encodeFloats("F16", solved.values));
}

/** The rounded matrix, from the store unless its bytes are given. */
function kept(
  tensor: Tensor,
  grid: Grid,
  { store }: PassContext,
  bytes: Uint8Array = new Uint8Array(),
): Promise<Tensor> {
  const { name, shape } = tensor;
  return keepTensor(store, { name, shape, dtype: "dtype" in grid ? grid.dtype : "F16", bytes: () => onlyChunk(bytes) });
}
