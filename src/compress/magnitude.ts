/** The pass `magnitude`: the smallest weights of each matrix become zero (Han et al. 2015). What others are measured by. */
import { z } from "zod";

import { changeLayers } from "./change-layers.ts";
import { definePass } from "./pass.ts";
import { masked, maskOf, SPARSITY_OPTIONS, sparsityReport } from "./sparsity.ts";

const OPTIONS = z.strictObject(SPARSITY_OPTIONS);
type Options = z.infer<typeof OPTIONS>;

export const magnitude = definePass<Options>({
  name: "magnitude",
  summary: "the smallest weights of each matrix become zero (Han et al. 2015); simulated",
  taxonomy: { tensors: ["weights"], format: "sparse", parameters: "statistics", update: "none" },
  needsCalibration: false,
  options: OPTIONS,
  plan: (artifact) => artifact,
  async apply(artifact, context, options) {
    const changed = await changeLayers(artifact, context, {
      needs: "nothing",
      dtype: options.type,
      change: ({ values, columns }) =>
        masked(values, maskOf(Float64Array.from(values, Math.abs), columns, options, "matrix")),
    });
    return { artifact: changed, report: await sparsityReport(artifact, changed) };
  },
});
