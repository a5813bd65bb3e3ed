/** The passes by name. A new one is a file beside this one and a line here. */
import { awq } from "./awq.ts";
import { dropLayers } from "./drop-layers.ts";
import { gptq } from "./gptq.ts";
import { hqq } from "./hqq.ts";
import { lorc } from "./lorc.ts";
import { lowRank } from "./low-rank.ts";
import { magnitude } from "./magnitude.ts";
import type { Pass } from "./pass.ts";
import { plantOutliers } from "./plant-outliers.ts";
import { pruneExperts } from "./prune-experts.ts";
import { pruneWidth } from "./prune-width.ts";
import { quantize } from "./quantize.ts";
import { ria } from "./ria.ts";
import { rotate } from "./rotate.ts";
import { round } from "./round.ts";
import { sliceWidth } from "./slice-width.ts";
import { smoothquant } from "./smooth.ts";
import { sparsegpt } from "./sparsegpt.ts";
import { wanda } from "./wanda.ts";

const ALL = [
  // Fewer bits.
  quantize,
  round,
  gptq,
  hqq,
  // The same function in other weights.
  awq,
  smoothquant,
  rotate,
  plantOutliers,
  // Zeros.
  magnitude,
  wanda,
  ria,
  sparsegpt,
  // Narrow factors.
  lowRank,
  lorc,
  // Smaller models.
  dropLayers,
  pruneWidth,
  sliceWidth,
  pruneExperts,
];

export const PASSES: ReadonlyMap<string, Pass> = new Map(ALL.map((pass) => [pass.name, pass]));
