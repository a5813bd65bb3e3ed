/** The passes by name. A new one is a file beside this one and a line here. */
import { magnitude } from "./magnitude.ts";
import type { Pass } from "./pass.ts";
import { plantOutliers } from "./plant-outliers.ts";
import { quantize } from "./quantize.ts";
import { ria } from "./ria.ts";
import { rotate } from "./rotate.ts";
import { sparsegpt } from "./sparsegpt.ts";
import { wanda } from "./wanda.ts";

const ALL = [
  quantize,
  // The same function in other weights.
  rotate,
  plantOutliers,
  // Zeros.
  magnitude,
  wanda,
  ria,
  sparsegpt,
];

export const PASSES: ReadonlyMap<string, Pass> = new Map(ALL.map((pass) => [pass.name, pass]));
