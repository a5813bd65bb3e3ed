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

export const PRESETS: ReadonlyMap<string, RecipeSource> = new Map(mixtures);
