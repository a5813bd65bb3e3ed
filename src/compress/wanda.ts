/**
 * The pass `wanda`: of each row the weights go whose size times the norm of what they meet is least (Wanda, Sun et al.
 * 2024; C9-32). With `refine` the mask is then mended without training: weights are swapped as long as a row's mean error
 * falls (DSØT, Zhang et al. 2024; C9-33). The weights that stay keep their values.
 */
import { z } from "zod";

import { refineMask } from "./dsnot.ts";
import { definePass } from "./pass.ts";
import { isLayered, LAYERED_OPTIONS, LAYERED_RULE, masked, maskOf, pruneByLayer, wandaScores } from "./sparsity.ts";

const OPTIONS = z
  .strictObject({
    ...LAYERED_OPTIONS,
    /** "dsnot": swap weights afterwards. */
    refine: z.enum(["none", "dsnot"]).default("none"),
  })
  .refine(isLayered, LAYERED_RULE);
type Options = z.infer<typeof OPTIONS>;

export const wanda = definePass<Options>({
  name: "wanda",
  summary: "Wanda (Sun et al. 2024): zero where |weight| · ‖input‖ is least in a row, DSØT's swaps on wish; simulated",
  taxonomy: { tensors: ["weights"], format: "sparse", parameters: "statistics", update: "none" },
  needsCalibration: true,
  options: OPTIONS,
  plan: (artifact) => artifact,
  apply: (artifact, context, options) =>
    pruneByLayer(artifact, context, options, "columns", ({ values, columns }, seen, wanted) => {
      const scores = wandaScores(values, seen.norms());
      const mask = maskOf(scores, columns, wanted, "row");
      if (options.refine === "dsnot") refineMask({ values, scores, mask, columns }, seen, options);
      return masked(values, mask);
    }),
});
