/**
 * The built-in model: a file of the package `@millrace/models`, an optional dependency of the main one, so that who brings
 * a model of his own can leave it out.
 */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { ArtifactError } from "../errors.ts";

const PACKAGE = "@millrace/models";
const FILES = { brook: "brook-q8_0.gguf", rill: "rill-q8_0.gguf", mtp: "brook-mtp-q4_0.gguf" } as const;
/** What drafts for the built-in model, by method. */
const DRAFTS: Readonly<Record<string, BuiltinModel>> = { draft: "rill", mtp: "mtp" };

/** `brook` is what `load()` without a model means; `rill` is its draft, `mtp` its drafting head. */
export type BuiltinModel = keyof typeof FILES;

/** The path of what drafts for the built-in model by a method; undefined where nothing for that is installed. */
export function builtinDraftPath(method: string): string | undefined {
  const model = DRAFTS[method];
  const path = model && packageFile(FILES[model]);
  return path !== undefined && existsSync(path) ? path : undefined;
}

/** The path of a built-in model's file. Throws ArtifactError, which says how to name a model, where there is none. */
export function builtinModelPath(model: BuiltinModel = "brook"): string {
  const path = packageFile(FILES[model]);
  if (path !== undefined && existsSync(path)) return path;
  throw new ArtifactError(
    `the built-in model isn't installed (package ${PACKAGE}); name a model: a GGUF file, a folder with safetensors, or ` +
      `"hf:owner/repo:quant", for example --model hf:HuggingFaceTB/SmolLM2-135M-Instruct-GGUF:Q8_0`,
  );
}

function packageFile(name: string): string | undefined {
  try {
    return fileURLToPath(new URL(name, import.meta.resolve(`${PACKAGE}/package.json`)));
  } catch {
    return undefined;
  }
}
