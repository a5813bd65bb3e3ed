/** The passes by name. A new one is a file beside this one and a line here. */
import type { Pass } from "./pass.ts";
import { quantize } from "./quantize.ts";

export const PASSES: ReadonlyMap<string, Pass> = new Map([quantize].map((pass) => [pass.name, pass]));
