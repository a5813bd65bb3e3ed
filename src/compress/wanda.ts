/**
 * The pass `wanda`: of each row the weights go whose size times the norm of what they meet is least (Wanda, Sun et al.
 * 2024; C9-32). With `refine` the mask is then mended without training: weights are swapped as long as a row's mean error
 * falls (DSØT, Zhang et al. 2024; C9-33). The weights that stay keep their values.
 */
import { z } from "zod";

import { changeLayers } from "./change-layers.ts";
import { refineMask } from "./dsnot.ts";
import { definePass } from "./pass.ts";
import {
  isLayered,
  LAYERED_OPTIONS,
  LAYERED_RULE,
  masked,
  maskOf,
  shareByLayer,
  sparsityReport,
  wandaScores,
} from "./sparsity.ts";
import { invariant } from "../errors.ts";

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
  async apply(artifact, context, options) {
    const shareOf = await shareByLayer(artifact, context, options);
    const changed = await changeLayers(artifact, context, {
      needs: "columns",
      dtype: options.type,
      change({ values, columns, layer }, seen) {
        invariant(seen !== undefined, "columns were asked for");
        const scores = wandaScores(values, seen.norms());
        const mask = maskOf(scores, columns, { ...options, sparsity: shareOf(layer) }, "row");
        if (options.refine === "dsnot") refineMask({ values, scores, mask, columns }, seen, options);
        return masked(values, mask);
      },
    });
    return { artifact: changed, report: await sparsityReport(artifact, changed) };
  },
});
