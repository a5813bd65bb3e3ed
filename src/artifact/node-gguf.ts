/** GGUF models in files: all parts of a split one opened together, and writing. */
import { basename, dirname, join } from "node:path";
import type { ModelArtifact } from "./artifact.ts";
import { ggufArtifact } from "./gguf-artifact.ts";
import type { GgufDescription } from "./gguf-file.ts";
import { readGguf } from "./gguf-reader.ts";
import { ggufBytes, splitGguf, splitName, splitNames, type SplitLimits } from "./gguf-writer.ts";
import { fileSource } from "./node-file.ts";
import { writeWhole } from "./node-whole-file.ts";

/** Opens a GGUF file; of a split model, any part names the whole. */
export async function openGguf(path: string): Promise<ModelArtifact> {
  const names = splitNames(basename(path));
  const paths = names.length > 0 ? names.map((name) => join(dirname(path), name)) : [path];
  const sources = [];
  try {
    for (const part of paths) sources.push(await fileSource(part));
    const files = [];
    for (const source of sources) files.push(await readGguf(source));
    return ggufArtifact(files);
  } catch (error) {
    await Promise.all(sources.map((source) => source.close()));
    throw error;
  }
}

/**
 * Writes a model as one GGUF file, or, given limits, as split parts beside each other. A file appears under its name
 * only when it is whole.
 * @returns the paths written.
 */
export async function writeGguf(path: string, model: GgufDescription, limits?: SplitLimits): Promise<string[]> {
  const parts = limits === undefined ? [model] : splitGguf(model, limits);
  const paths: string[] = [];
  for (const [index, part] of parts.entries()) {
    const target = limits === undefined ? path : splitName(path, index, parts.length);
    await writeWhole(target, ggufBytes(part));
    paths.push(target);
  }
  return paths;
}
