/** The recipes that have names. */
import { MIXTURE_NAMES } from "./mixtures.ts";

/** What a recipe's file says: passes by name, in order, each with options of its own beside it. */
export interface RecipeSource {
  readonly name?: string | undefined;
  readonly about?: string | undefined;
  readonly passes: readonly { readonly pass: string; readonly [option: string]: unknown }[];
}

const mixtures = MIXTURE_NAMES.map((type): [string, RecipeSource] => [
  type.toLowerCase(),
  { about: `GGUF in ${type}`, passes: [{ pass: "quantize", type }] },
]);

const others: Readonly<Record<string, RecipeSource>> = {
  rotated: { about: "QuaRot's folded rotations; a pass that rounds comes behind", passes: [{ pass: "rotate" }] },
  hardened: {
    about: "the same function, harder to compress: the stream turned at random, outliers planted",
    passes: [{ pass: "rotate", kind: "orthogonal", values: false }, { pass: "plant-outliers" }],
  },
  sparse24: {
    about: "SparseGPT, two of four weights stay; in F16, with the zeros (simulated)",
    passes: [
      { pass: "sparsegpt", pattern: "2:4" },
      { pass: "quantize", type: "F16" },
    ],
  },
  sparse50: {
    about: "SparseGPT, half of the weights go; in F16, with the zeros (simulated)",
    passes: [
      { pass: "sparsegpt", sparsity: 0.5 },
      { pass: "quantize", type: "F16" },
    ],
  },
};

export const PRESETS: ReadonlyMap<string, RecipeSource> = new Map([...mixtures, ...Object.entries(others)]);
