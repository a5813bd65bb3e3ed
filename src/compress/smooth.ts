/**
 * The pass `smoothquant`: moves the difficulty of rounding from activations to weights (SmoothQuant, Xiao et al. 2022; C9-17):
 * a column's factor is max|x|^α ÷ max|w|^(1−α), over the rows and the matrices that read them, folded into the norm before.
 * What the model computes stays; the pass leaves floats, for a rounding of weights and rows to 8 bits to follow.
 */
import { z } from "zod";

import type { ModelArtifact } from "../artifact/artifact.ts";
import { tensorValues } from "../artifact/tensor-values.ts";
import { type Fold, foldLayers, meanOf } from "./folds.ts";
import { definePass, type PassContext, type PassResult } from "./pass.ts";

const OPTIONS = z.strictObject({
  /** 0: all difficulty stays in the activations; 1: all goes to the weights. */
  strength: z.number().min(0).max(1).default(0.5),
  /** "norms": where a norm comes before, as in the paper; "all": values and gated products, too. */
  where: z.enum(["norms", "all"]).default("norms"),
});
type Options = z.infer<typeof OPTIONS>;

export const smoothquant = definePass<Options>({
  name: "smoothquant",
  summary: "SmoothQuant (Xiao et al. 2022): even out activations' columns, the weights taking what they lose",
  taxonomy: {
    tensors: ["weights", "activations"],
    format: "uniform",
    parameters: "statistics",
    update: "equivalent transform",
  },
  needsCalibration: true,
  options: OPTIONS,
  plan: (artifact) => artifact,
  apply,
});

async function apply(artifact: ModelArtifact, context: PassContext, options: Options): Promise<PassResult> {
  const { artifact: changed, found } = await foldLayers(artifact, context, {
    pass: "smoothquant",
    wants({ input }, graph) {
      const op = graph.nodes[input]?.op;
      return options.where === "all" || op === "rmsNorm" || op === "layerNorm";
    },
    async choose(model, fold, seen) {
      const rows = seen.largest();
      const factors = [...smoothing(fold, rows, await largestWeights(model, fold), options.strength)];
      const flattened = peak(rows) / peak(rows.map((value, c) => value / (factors[fold.factorOf(c)] ?? 1)));
      return { factors, flattened };
    },
  });
  return { artifact: changed, report: { folds: found.length, meanFlattening: meanOf(found, (one) => one.flattened) } };
}

/** max|x|^α ÷ max|w|^(1−α) for each factor; what shares one takes the largest of its columns. */
export function smoothing(fold: Fold, rows: Float32Array, weights: Float32Array, strength: number): Float32Array {
  const [x, w] = [new Float32Array(fold.factors), new Float32Array(fold.factors)];
  for (let i = 0; i < fold.width; i++) {
    const at = fold.factorOf(i);
    x[at] = Math.max(x[at] ?? 0, rows[i] ?? 0);
    w[at] = Math.max(w[at] ?? 0, weights[i] ?? 0);
  }
  return x.map((value, i) => {
    const factor = Math.max(value, 1e-5) ** strength / Math.max(w[i] ?? 0, 1e-5) ** (1 - strength);
    return Math.max(factor, 1e-5);
  });
}

/** The largest weight of each column, over all matrices that read it. */
async function largestWeights(artifact: ModelArtifact, fold: Fold): Promise<Float32Array> {
  const largest = new Float32Array(fold.width);
  for (const { tensor: name } of fold.sites) {
    const tensor = artifact.tensors.get(name);
    if (tensor === undefined) continue;
    const values = await tensorValues(tensor);
    for (const [i, value] of values.entries()) {
      const column = i % fold.width;
      if (Math.abs(value) > (largest[column] ?? 0)) largest[column] = Math.abs(value);
    }
  }
  return largest;
}

/** How far the largest value stands out over the mean. */
function peak(columns: Float32Array): number {
  const sum = columns.reduce((total, value) => total + value, 0);
  return (columns.reduce((a, b) => Math.max(a, b), 0) * columns.length) / (sum || 1);
}
