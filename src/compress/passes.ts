/** The passes by name. A new one is a file beside this one and a line here. */
import type { Pass } from "./pass.ts";
import { plantOutliers } from "./plant-outliers.ts";
import { quantize } from "./quantize.ts";
import { rotate } from "./rotate.ts";

export const PASSES: ReadonlyMap<string, Pass> = new Map(
  [quantize, rotate, plantOutliers].map((pass) => [pass.name, pass]),
);
