/** Opens an adapter: a GGUF file, a folder with PEFT's files, or one of the hub (`hf:owner/repo[:file]`). */
import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { ArtifactError } from "../errors.ts";
import type { AdapterArtifact } from "./adapter-artifact.ts";
import { ggufAdapter, isGgufAdapter } from "./gguf-adapter.ts";
import { readGguf } from "./gguf-reader.ts";
import { fileSource, readSmallFile, reason } from "./node-file.ts";
import type { HubOptions } from "./node-hub.ts";
import { resolveModel } from "./node-model.ts";
import { peftAdapter } from "./peft-adapter.ts";
import { readSafetensors } from "./safetensors.ts";

const CONFIG = "adapter_config.json";
const WEIGHTS = "adapter_model.safetensors";
const MOST_CONFIG_BYTES = 4 * 2 ** 20;

/**
 * Its files stay open until `close()`.
 * @throws ArtifactError, UnsupportedError, NetworkError
 */
export async function openAdapter(reference: string, options: HubOptions = {}): Promise<AdapterArtifact> {
  const path = await resolveModel(reference, options);
  const info = await stat(path).catch((cause: unknown) => {
    throw new ArtifactError(`can't open ${path}: ${reason(cause)}`, { cause });
  });
  if (info.isDirectory()) return openFolder(path);
  // Either of PEFT's files stands for their folder.
  const isPeft = [WEIGHTS, CONFIG].some((name) => name === basename(path));
  return isPeft ? openFolder(dirname(path)) : openFile(path);
}

/** Whether a path is an adapter's: a folder with adapter_config.json and no model, or a GGUF file that says so. */
export async function isAdapter(path: string): Promise<boolean> {
  const info = await stat(path).catch(() => undefined);
  if (info === undefined) return false;
  if (info.isDirectory()) {
    const names = await readdir(path);
    return names.includes(CONFIG) && !names.includes("config.json");
  }
  if (!info.isFile() || !/\.gguf$/i.test(path)) return basename(path) === CONFIG || basename(path) === WEIGHTS;
  const source = await fileSource(path);
  try {
    // Whoever reads it as a model says what is wrong with it.
    return await readGguf(source).then(isGgufAdapter, () => false);
  } finally {
    await source.close();
  }
}

async function openFolder(folder: string): Promise<AdapterArtifact> {
  const names = await readdir(folder);
  if (!names.includes(CONFIG)) {
    const ggufs = names.filter((name) => /\.gguf$/i.test(name));
    const [only, ...others] = ggufs;
    if (only !== undefined && others.length === 0) return openFile(join(folder, only));
    throw new ArtifactError(`${folder} holds no adapter: expected ${CONFIG} with ${WEIGHTS}, or one .gguf file`);
  }
  if (!names.includes(WEIGHTS)) {
    const hint = names.includes("adapter_model.bin") ? "; adapter_model.bin is a pickle, save it as safetensors" : "";
    throw new ArtifactError(`${folder}: ${WEIGHTS} is missing${hint}`);
  }
  const config = new TextDecoder().decode(await readSmallFile(join(folder, CONFIG), MOST_CONFIG_BYTES));
  const source = await fileSource(join(folder, WEIGHTS));
  try {
    return peftAdapter(folder, config, await readSafetensors(source));
  } catch (error) {
    await source.close();
    throw error;
  }
}

async function openFile(path: string): Promise<AdapterArtifact> {
  const source = await fileSource(path);
  try {
    return ggufAdapter(await readGguf(source));
  } catch (error) {
    await source.close();
    throw error;
  }
}
