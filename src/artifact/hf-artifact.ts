/**
 * A ModelArtifact from a Hugging Face model: safetensors files beside config.json, generation_config.json, tokenizer.json
 * (or Mistral's tekken.json), tokenizer_config.json and chat_template.jinja. Where the texts come from is the caller's
 * affair.
 */
import { ArtifactError } from "../errors.ts";
import type {
  DenseLayer,
  EmbeddingDefaults,
  MetaObject,
  MetaValue,
  ModelArtifact,
  Tensor,
  TokenizerSource,
} from "./artifact.ts";
import { hfEmbedding } from "./embedding-defaults.ts";
import { hfDefaults } from "./generation-defaults.ts";
import type { SafetensorsFile } from "./safetensors.ts";

/** The contents of the side files; absent ones undefined. */
export interface HfTexts {
  readonly "config.json": string;
  readonly "generation_config.json"?: string | undefined;
  /** One of the two is there; the first is taken where both are. */
  readonly "tokenizer.json"?: string | undefined;
  readonly "tekken.json"?: string | undefined;
  readonly "tokenizer_config.json"?: string | undefined;
  readonly "chat_template.jinja"?: string | undefined;
  /** sentence-transformers' list of modules, and the pooling's config. */
  readonly "modules.json"?: string | undefined;
  readonly "1_Pooling/config.json"?: string | undefined;
}

/**
 * Puts a model together.
 * @param name the folder or repository, for messages
 * @param weightMap of a sharded model: tensor name → file name, as in model.safetensors.index.json
 * @param dense what its vectors go through behind the pooling
 */
export function hfArtifact(
  name: string,
  texts: HfTexts,
  files: readonly SafetensorsFile[],
  weightMap?: ReadonlyMap<string, string>,
  dense?: readonly DenseLayer[],
): ModelArtifact {
  const config = parseObject(name, "config.json", texts["config.json"]);
  const generation = optional(name, "generation_config.json", texts["generation_config.json"]);
  const tokenizerConfig = optional(name, "tokenizer_config.json", texts["tokenizer_config.json"]);
  const architecture = config["model_type"];
  if (typeof architecture !== "string" || architecture === "") {
    throw new ArtifactError(`${name}: config.json has no model_type, so the model can't be known`);
  }
  const chatTemplate = texts["chat_template.jinja"] ?? defaultTemplate(tokenizerConfig["chat_template"]);
  return {
    name,
    config: { format: "hf", architecture, values: config },
    tokenizer: tokenizerSource(name, texts, tokenizerConfig),
    ...(chatTemplate !== undefined && { chatTemplate }),
    generation: hfDefaults(generation, config),
    embedding: embeddingOf(name, texts, dense),
    tensors: collect(name, files, weightMap),
    metadata: {
      "config.json": config,
      "generation_config.json": generation,
      "tokenizer_config.json": tokenizerConfig,
    },
    close: async () => {
      await Promise.all(files.map((file) => file.source.close()));
    },
  };
}

function embeddingOf(name: string, texts: HfTexts, dense: readonly DenseLayer[] | undefined): EmbeddingDefaults {
  const { "1_Pooling/config.json": pooling } = texts;
  const read = pooling === undefined ? undefined : parseObject(name, "1_Pooling/config.json", pooling);
  return hfEmbedding(parseModules(name, texts["modules.json"]), read, dense);
}

/** What modules.json holds: a list, which the reader of objects takes as a member. */
export function parseModules(name: string, modules: string | undefined): MetaValue | undefined {
  return modules === undefined ? undefined : parseObject(name, "modules.json", `{"modules": ${modules}}`)["modules"];
}

function tokenizerSource(name: string, texts: HfTexts, config: MetaObject): TokenizerSource {
  const own = texts["tokenizer.json"];
  if (own !== undefined) return { name, format: "hf", tokenizer: parseObject(name, "tokenizer.json", own), config };
  const tekken = texts["tekken.json"];
  if (tekken !== undefined) return { name, format: "tekken", tekken: parseObject(name, "tekken.json", tekken) };
  throw new ArtifactError(`${name}: tokenizer.json is missing`);
}

/** The template itself, or of a list of named ones the default. */
function defaultTemplate(template: MetaValue | undefined): string | undefined {
  if (typeof template === "string") return template;
  if (!Array.isArray(template)) return undefined;
  for (const entry of template as readonly MetaValue[]) {
    if (!isObject(entry)) continue;
    const { name, template: source } = entry as { name?: MetaValue; template?: MetaValue };
    if (name === "default" && typeof source === "string") return source;
  }
  return undefined;
}

function collect(
  name: string,
  files: readonly SafetensorsFile[],
  weightMap?: ReadonlyMap<string, string>,
): Map<string, Tensor> {
  const tensors = new Map<string, Tensor>();
  const left = new Set(weightMap?.keys());
  for (const file of files) {
    for (const tensor of file.tensors) {
      if (tensors.has(tensor.name))
        throw new ArtifactError(`${file.source.name}: tensor "${tensor.name}" is in another file too`);
      tensors.set(tensor.name, tensor);
      left.delete(tensor.name);
    }
    for (const { name: raw } of file.raw) left.delete(raw);
  }
  const [missing] = left;
  if (missing === undefined) return tensors;
  const file = String(weightMap?.get(missing));
  throw new ArtifactError(
    `${name}: the index says that ${file} holds tensor "${missing}" (${left.size} in all), but no file does`,
  );
}

/** Reads model.safetensors.index.json: which file holds a tensor. File names are checked to lie in the same folder. */
export function parseShardIndex(name: string, text: string): Map<string, string> {
  const file = "model.safetensors.index.json";
  const map = parseObject(name, file, text)["weight_map"];
  if (!isObject(map)) throw new ArtifactError(`${name}: ${file} has no weight_map`);
  const result = new Map<string, string>();
  for (const [tensor, shard] of Object.entries(map)) {
    if (typeof shard !== "string" || !/^[^/\\]+\.safetensors$/.test(shard)) {
      throw new ArtifactError(
        `${name}: ${file} places "${tensor.slice(0, 80)}" in ${JSON.stringify(shard)?.slice(0, 80)}, no safetensors file`,
      );
    }
    result.set(tensor, shard);
  }
  if (result.size === 0) throw new ArtifactError(`${name}: ${file} names no tensors`);
  return result;
}

function optional(name: string, file: string, text: string | undefined): MetaObject {
  return text === undefined ? {} : parseObject(name, file, text);
}

export function parseObject(name: string, file: string, text: string): MetaObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ArtifactError(
      `${name}: ${file} is no valid JSON: ${cause instanceof Error ? cause.message.slice(0, 200) : ""}`,
      { cause },
    );
  }
  if (!isObject(value)) throw new ArtifactError(`${name}: ${file} holds no object`);
  return value;
}

function isObject(value: unknown): value is MetaObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
}
