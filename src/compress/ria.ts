/**
 * The pass `ria`: weights go by their relative importance, the sum of their shares in their row and in their column, times
 * the root of their input's norm, so that no row or column loses everything (RIA, Zhang et al. 2024; C9-32). The channel
 * permutation that the paper has for N:M patterns is not here.
 */
import { z } from "zod";

import { definePass } from "./pass.ts";
import { isLayered, LAYERED_OPTIONS, LAYERED_RULE, masked, maskOf, pruneByLayer } from "./sparsity.ts";

const OPTIONS = z.strictObject(LAYERED_OPTIONS).refine(isLayered, LAYERED_RULE);
type Options = z.infer<typeof OPTIONS>;

export const ria = definePass<Options>({
  name: "ria",
  summary:
    "RIA (Zhang et al. 2024): zero where a weight's share of its row and column, by its input, is least; simulated",
  taxonomy: { tensors: ["weights"], format: "sparse", parameters: "statistics", update: "none" },
  needsCalibration: true,
  options: OPTIONS,
  plan: (artifact) => artifact,
  apply: (artifact, context, options) =>
    pruneByLayer(artifact, context, options, "columns", ({ values, columns }, seen, wanted) =>
      masked(values, maskOf(riaScores(values, seen.norms()), columns, wanted, "matrix")),
    ),
});

/** (|w| / Σ row + |w| / Σ column) · √‖x‖ */
export function riaScores(values: Float32Array, norms: Float64Array): Float64Array {
  const columns = norms.length;
  const ofRow = new Float64Array(values.length / columns);
  const ofColumn = new Float64Array(columns);
  for (let i = 0; i < values.length; i++) {
    const [row, column, size] = [Math.floor(i / columns), i % columns, Math.abs(values[i] ?? 0)];
    ofRow[row] = (ofRow[row] ?? 0) + size;
    ofColumn[column] = (ofColumn[column] ?? 0) + size;
  }
  const share = (size: number, sum: number): number => (sum > 0 ? size / sum : 0);
  return Float64Array.from(values, (value, i) => {
    const [row, column, size] = [Math.floor(i / columns), i % columns, Math.abs(value)];
    return (share(size, ofRow[row] ?? 0) + share(size, ofColumn[column] ?? 0)) * Math.sqrt(norms[column] ?? 0);
  });
}
