/**
 * The pass `awq`: columns that meet large activations are scaled up before rounding, and the rows that they read down, so
 * that what the model computes stays and rounding errs less where it matters (AWQ, Lin et al. 2023; C9-05). For each group of
 * matrices that read one value the exponent of the scale is searched with the output's error on sampled rows; the rounding
 * that is tried weighs errors by activations, which clips outliers where that pays (AWQ's clip search). The pass leaves
 * floats: `quantize` or `gptq` follow.
 */
import { z } from "zod";

import type { ModelArtifact, Tensor } from "../artifact/artifact.ts";
import { tensorValues } from "../artifact/tensor-values.ts";
import type { Grid, Toolkit } from "../backend/cpu/toolkit.ts";
import type { ColumnStatistics } from "./column-statistics.ts";
import { type ChosenFactors, type Fold, foldLayers, meanOf } from "./folds.ts";
import { definePass, type PassContext, type PassResult } from "./pass.ts";
import { GRID_OPTIONS, gridOf, hasOneTarget, ONE_TARGET, roundedValues } from "./targets.ts";

/** Rows of activations on which an output's error is measured. */
const SAMPLE_ROWS = 128;
/** Rows of a matrix that are tried: a scale serves all, so a share of them tells. */
const TRIED_ROWS = 256;

const OPTIONS = z
  .strictObject({ ...GRID_OPTIONS, steps: z.int().min(2).max(50).default(20) })
  .refine(hasOneTarget, ONE_TARGET);
type Options = z.infer<typeof OPTIONS>;

export const awq = definePass<Options>({
  name: "awq",
  summary: "AWQ (Lin et al. 2023): scale up the columns that meet large activations, their inverses folded before",
  taxonomy: { tensors: ["weights"], format: "uniform", parameters: "search", update: "equivalent transform" },
  needsCalibration: true,
  options: OPTIONS,
  plan: (artifact) => artifact,
  apply,
});

async function apply(artifact: ModelArtifact, context: PassContext, options: Options): Promise<PassResult> {
  const { artifact: changed, found } = await foldLayers<Found>(artifact, context, {
    pass: "awq",
    sampleRows: SAMPLE_ROWS,
    choose: (model, fold, seen) => searchScale(model, fold, seen, context.toolkit, options),
  });
  return { artifact: changed, report: { folds: found.length, meanExponent: meanOf(found, (one) => one.exponent) } };
}

interface Found extends ChosenFactors {
  readonly exponent: number;
}

/** The exponent whose scale makes the rounded matrices' outputs err least. */
async function searchScale(
  artifact: ModelArtifact,
  fold: Fold,
  seen: ColumnStatistics,
  toolkit: Toolkit,
  options: Options,
): Promise<Found> {
  const { width } = fold;
  const matrices: { readonly values: Float32Array; readonly grid: Grid }[] = [];
  for (const { tensor: name } of fold.sites) {
    const tensor = artifact.tensors.get(name);
    const grid = tensor && gridOf(artifact, tensor, options);
    if (tensor === undefined || grid === undefined) continue;
    matrices.push({ values: await someRows(tensor), grid });
  }
  const sample = seen.sample();
  const squares = seen.meanSquare();
  const magnitudes = seen.meanMagnitude();
  let best: Found & { error: number } = { exponent: 0, factors: Array<number>(fold.factors).fill(1), error: Infinity };
  for (let step = 0; step < options.steps; step++) {
    const exponent = step / options.steps;
    const factors = awqFactors(fold, magnitudes, exponent);
    const columns = Float32Array.from({ length: width }, (_, i) => factors[fold.factorOf(i)] ?? 1);
    const importance = squares.map((square, i) => square / (columns[i] ?? 1) ** 2);
    let error = 0;
    for (const { values, grid } of matrices) {
      const scaled = values.map((value, i) => value * (columns[i % width] ?? 1));
      const rounded = await roundedValues(toolkit, grid, scaled, width, importance);
      const difference = rounded.map((value, i) => value / (columns[i % width] ?? 1) - (values[i] ?? 0));
      error += await outputError(toolkit, difference, sample, width);
    }
    if (error < best.error) best = { exponent, factors: [...factors], error };
  }
  return { exponent: best.exponent, factors: best.factors };
}

/** ‖x Eᵀ‖² over sampled rows x `[t, width]` and errors E `[n, width]`. */
async function outputError(
  toolkit: Toolkit,
  errors: Float32Array,
  sample: Float32Array,
  width: number,
): Promise<number> {
  const rows = errors.length / width;
  const cols = sample.length / width;
  const product = new Float32Array(rows * cols);
  await toolkit.addProduct(errors, sample, product, { rows, cols, terms: width }, "b");
  return product.reduce((sum, value) => sum + value * value, 0);
}

/** Rows spread over the matrix. */
async function someRows(tensor: Tensor): Promise<Float32Array> {
  const [rows = 1, columns = 1] = tensor.shape;
  const runs = Math.min(8, rows);
  const perRun = Math.min(Math.floor(rows / runs), Math.ceil(TRIED_ROWS / runs));
  const values = new Float32Array(runs * perRun * columns);
  for (let r = 0; r < runs; r++) {
    const first = Math.floor((r * rows) / runs);
    values.set(await tensorValues(tensor, first * columns, perRun * columns), r * perRun * columns);
  }
  return values;
}

/** The mean magnitudes of columns to a power, as factors of geometric middle 1. */
export function awqFactors(fold: Fold, magnitudes: Float32Array, exponent: number): Float32Array {
  return normalised(sharedMeans(fold, magnitudes).map((m) => Math.max(m, 1e-8) ** exponent));
}

/** Means over the columns that share a factor. */
function sharedMeans(fold: Fold, columns: Float32Array): Float64Array {
  const sums = new Float64Array(fold.factors);
  for (const [i, value] of columns.entries()) {
    const factor = fold.factorOf(i);
    sums[factor] = (sums[factor] ?? 0) + (value * fold.factors) / fold.width;
  }
  return sums;
}

/** Divided by √(largest · smallest), so that rows keep their size. */
function normalised(factors: Float64Array): Float32Array {
  const [low, high] = [factors.reduce((a, b) => Math.min(a, b), Infinity), factors.reduce((a, b) => Math.max(a, b), 0)];
  const middle = Math.sqrt(low * high) || 1;
  return Float32Array.from(factors, (factor) => factor / middle);
}
