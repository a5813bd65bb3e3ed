/**
 * Recipes: an ordered list of passes with their options, as JSON or YAML, or by the name of a preset. What a recipe says
 * is checked here once, before anything is read or computed.
 */
import { parse } from "yaml";
import { z } from "zod";

import { RequestError } from "../errors.ts";
import { nearest } from "../nearest.ts";
import type { PassStep } from "./pass.ts";
import { PASSES } from "./passes.ts";
import { PRESETS, type RecipeSource } from "./presets.ts";

export interface Recipe {
  readonly name: string;
  readonly about?: string | undefined;
  readonly steps: readonly PassStep[];
  /** As it was given: what the file's metadata keeps. */
  readonly source: RecipeSource;
}

const SOURCE = z.strictObject({
  name: z.string().optional(),
  about: z.string().optional(),
  passes: z.array(z.looseObject({ pass: z.string() })).min(1),
});

/** @throws RequestError naming the preset that is nearest where there is none of that name */
export function presetRecipe(name: string): Recipe {
  const preset = PRESETS.get(name.toLowerCase());
  if (preset !== undefined) return checkRecipe(preset, name);
  const near = nearest(name, [...PRESETS.keys()]);
  throw new RequestError(
    `there is no recipe ${JSON.stringify(name)}${near === undefined ? "" : `; did you mean ${near}?`} (a file is named by a path with .json or .yaml)`,
  );
}

/**
 * Reads a recipe from the text of a file: JSON, which YAML holds.
 * @param name of the file, for messages
 */
export function parseRecipe(text: string, name: string): Recipe {
  let value: unknown;
  try {
    // Aliases could make a small file large.
    value = parse(text, { maxAliasCount: 0 });
  } catch (cause) {
    throw new RequestError(`${name}: no valid YAML or JSON: ${cause instanceof Error ? cause.message : ""}`, { cause });
  }
  return checkRecipe(value, name);
}

/** @throws RequestError naming the pass and the option that is wrong */
export function checkRecipe(value: unknown, name: string): Recipe {
  const parsed = SOURCE.safeParse(value);
  if (!parsed.success) throw new RequestError(`recipe ${name}: ${complaint(parsed.error)}`);
  const source: RecipeSource = parsed.data;
  const steps = source.passes.map(({ pass: passName, ...options }, i) => {
    const pass = PASSES.get(passName);
    if (pass === undefined) {
      const near = nearest(passName, [...PASSES.keys()]);
      throw new RequestError(
        `recipe ${name}: there is no pass ${JSON.stringify(passName)}${near === undefined ? "" : `; did you mean ${near}?`}`,
      );
    }
    const checked = pass.options.safeParse(options);
    if (!checked.success)
      throw new RequestError(`recipe ${name}: pass ${i + 1} (${passName}): ${complaint(checked.error)}`);
    return { pass, options: checked.data };
  });
  return { name: source.name ?? name, about: source.about, steps, source };
}

function complaint(error: z.ZodError): string {
  return error.issues
    .map(({ path, message }) => (path.length === 0 ? message : `${path.join(".")}: ${message}`))
    .join("; ");
}
