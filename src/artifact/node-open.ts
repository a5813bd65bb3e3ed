/**
 * Opens a model that lies on disk: a GGUF file (of a split model, any part), or a folder with one GGUF model or with
 * safetensors files and their JSON. Fetching models from elsewhere is `node-hub.ts`'s job.
 */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { ArtifactError } from "../errors.ts";
import type { ByteSource, ModelArtifact } from "./artifact.ts";
import { splitNames } from "./gguf-writer.ts";
import { hfArtifact, type HfTexts, parseModules, parseShardIndex } from "./hf-artifact.ts";
import { readDense } from "./node-dense.ts";
import { fileSource, readSmallFile, reason } from "./node-file.ts";
import { openGguf } from "./node-gguf.ts";
import { withQuantizedWeights } from "./quantized/checkpoint.ts";
import { readSafetensors } from "./safetensors.ts";

/** In bytes; real tokenizer.json files have up to 35 MB. */
const MOST = {
  "config.json": 4 * 2 ** 20,
  "generation_config.json": 4 * 2 ** 20,
  "tokenizer.json": 64 * 2 ** 20,
  "tekken.json": 64 * 2 ** 20,
  "tokenizer_config.json": 16 * 2 ** 20,
  "chat_template.jinja": 2 ** 20,
  "modules.json": 2 ** 20,
  "1_Pooling/config.json": 2 ** 20,
  "model.safetensors.index.json": 64 * 2 ** 20,
} as const;

/**
 * Opens the model at a path; its files stay open until `close()`.
 * @throws ArtifactError naming the file, the field and what was expected.
 */
export async function openArtifact(path: string): Promise<ModelArtifact> {
  const info = await stat(path).catch((cause: unknown) => {
    throw new ArtifactError(`can't open ${path}: ${reason(cause)}`, { cause });
  });
  if (info.isDirectory()) return openFolder(path);
  if (/\.safetensors$/i.test(path)) {
    throw new ArtifactError(
      `${path}: name the folder, as a safetensors model is several files (config.json, tokenizer.json, …)`,
    );
  }
  return openGguf(path);
}

async function openFolder(folder: string): Promise<ModelArtifact> {
  const names = await readdir(folder).catch((cause: unknown) => {
    throw new ArtifactError(`can't read the folder ${folder}: ${reason(cause)}`, { cause });
  });
  names.sort();
  const ggufs = oneNameAModel(names);
  const safetensors = names.filter((name) => name.endsWith(".safetensors"));
  if (safetensors.length > 0 && names.includes("config.json")) return openHf(folder, names);
  const [only, ...others] = ggufs;
  if (only !== undefined && others.length === 0) return openGguf(join(folder, only));
  if (only !== undefined)
    throw new ArtifactError(`${folder} holds several GGUF models; name one of: ${ggufs.join(", ")}`);
  if (names.includes("adapter_config.json")) {
    throw new ArtifactError(
      `${folder} is an adapter: load the model that it was made for, and name it with the option "adapters" (--adapter)`,
    );
  }
  throw new ArtifactError(
    safetensors.length > 0
      ? `${folder} holds safetensors files but no config.json`
      : `${folder} holds no model: expected a .gguf file, or .safetensors files with config.json`,
  );
}

/** GGUF files that stand for a model each: of split ones the first part; no vision projectors. */
function oneNameAModel(names: readonly string[]): string[] {
  return names.filter((name) => {
    if (!/\.gguf$/i.test(name) || /^mmproj/i.test(name)) return false;
    const parts = splitNames(name);
    return parts.length === 0 || parts[0] === name;
  });
}

async function openHf(folder: string, names: readonly string[]): Promise<ModelArtifact> {
  const text = async (name: keyof typeof MOST) =>
    names.includes(name) ? new TextDecoder().decode(await readSmallFile(join(folder, name), MOST[name])) : undefined;
  const required = async (name: keyof typeof MOST) => {
    const content = await text(name);
    if (content === undefined) throw new ArtifactError(`${folder}: ${name} is missing`);
    return content;
  };
  const texts: HfTexts = {
    "config.json": await required("config.json"),
    "generation_config.json": await text("generation_config.json"),
    "tokenizer.json": await text("tokenizer.json"),
    "tekken.json": names.includes("tokenizer.json") ? undefined : await text("tekken.json"),
    "tokenizer_config.json": await text("tokenizer_config.json"),
    "chat_template.jinja": await text("chat_template.jinja"),
    "modules.json": await text("modules.json"),
    "1_Pooling/config.json": await pooling(folder, names),
  };
  const index = await text("model.safetensors.index.json");
  const weightMap = index === undefined ? undefined : parseShardIndex(folder, index);
  const files = weightMap === undefined ? [singleFile(folder, names)] : [...new Set(weightMap.values())];

  const sources: ByteSource[] = [];
  try {
    for (const file of files) sources.push(await fileSource(join(folder, file)));
    const parsed = [];
    for (const source of sources) parsed.push(await readSafetensors(source));
    const dense = await readDense(folder, parseModules(folder, texts["modules.json"]));
    return await withQuantizedWeights(hfArtifact(folder, texts, parsed, weightMap, dense), parsed);
  } catch (error) {
    await Promise.all(sources.map((source) => source.close()));
    throw error;
  }
}

/** sentence-transformers keeps it a folder down. */
async function pooling(folder: string, names: readonly string[]): Promise<string | undefined> {
  const name = "1_Pooling/config.json";
  if (!names.includes("1_Pooling")) return undefined;
  const inside = await readdir(join(folder, "1_Pooling")).catch((): string[] => []);
  if (!inside.includes("config.json")) return undefined;
  return new TextDecoder().decode(await readSmallFile(join(folder, name), MOST[name]));
}

function singleFile(folder: string, names: readonly string[]): string {
  if (names.includes("model.safetensors")) return "model.safetensors";
  const [only, ...others] = names.filter((name) => name.endsWith(".safetensors"));
  if (only !== undefined && others.length === 0) return only;
  throw new ArtifactError(`${folder} holds several safetensors files but no model.safetensors.index.json`);
}
