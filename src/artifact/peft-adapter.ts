/**
 * Adapters as PEFT saves them: adapter_config.json and adapter_model.safetensors. LoRA, rsLoRA (Kalajdzievski 2023) and
 * DoRA are read; what else a config asks for changes the result, and is refused by its name.
 * Format: https://huggingface.co/docs/peft/developer_guides/checkpoint
 */
import { ArtifactError, UnsupportedError } from "../errors.ts";
import { pairLayers, type AdapterArtifact } from "./adapter-artifact.ts";
import type { MetaObject, MetaValue } from "./artifact.ts";
import type { SafetensorsFile } from "./safetensors.ts";

const CONFIG = "adapter_config.json";
/** The wrappers that PEFT puts around a model. */
const PREFIX = "base_model.model.";
/** Settings that must be off: each changes what is computed, or adds weights of another kind. */
const UNSUPPORTED = [
  "modules_to_save",
  "layer_replication",
  "lora_bias",
  "target_parameters",
  "trainable_token_indices",
  "alora_invocation_tokens",
  "use_qalora",
  "arrow_config",
  "kasa_config",
  "velora_config",
  "monteclora_config",
  "use_bdlora",
] as const;
/** Initialisations that leave the base's weights changed, too. */
const CHANGES_BASE = /^(pissa|olora|loftq|corda)/i;

/** `name`: the folder or repository, for messages. */
export function peftAdapter(name: string, configText: string, file: SafetensorsFile): AdapterArtifact {
  const config = parse(name, configText);
  checkConfig(name, config);
  const alpha = number(name, config, "lora_alpha");
  const patterns = alphaPatterns(name, config["alpha_pattern"]);
  const rooted = config["use_rslora"] === true;
  const held = file.tensors.find((tensor) => tensor.name.endsWith(".base_layer.weight"));
  if (held !== undefined) {
    throw new UnsupportedError(
      `${name}: it holds weights of the base (${held.name}), which aren't applied; ` +
        "save the adapter with save_embedding_layers=False",
    );
  }
  const layers = pairLayers(file.source, file.tensors, placeOf, (layer, rank) => {
    const own = patterns.find(([suffix]) => layer === suffix || layer.endsWith(`.${suffix}`))?.[1] ?? alpha;
    return own / (rooted ? Math.sqrt(rank) : rank);
  });
  const dora = config["use_dora"] === true;
  for (const [layer, { magnitude }] of layers) {
    if (dora === (magnitude !== undefined)) continue;
    throw new ArtifactError(`${name}: use_dora is ${dora}, but "${layer}" ${dora ? "has no" : "has a"} magnitude`);
  }
  return { name, format: "peft", layers, metadata: config, close: () => file.source.close() };
}

function placeOf(tensor: string): { layer: string; part: "a" | "b" | "magnitude" } | undefined {
  const match = /^(.+)\.(lora_A\.weight|lora_B\.weight|lora_magnitude_vector(?:\.weight)?)$/.exec(tensor);
  const [, path, end] = match ?? [];
  if (path === undefined || end === undefined) return undefined;
  const layer = path.startsWith(PREFIX) ? path.slice(PREFIX.length) : path;
  return { layer, part: end.startsWith("lora_A") ? "a" : end.startsWith("lora_B") ? "b" : "magnitude" };
}

function checkConfig(name: string, config: MetaObject): void {
  const { peft_type: type = "LORA", bias = "none", init_lora_weights: init } = config;
  if (type !== "LORA")
    throw new UnsupportedError(`${name}: peft_type is ${show(type)}; of PEFT's methods LoRA is supported (LORA)`);
  if (bias !== "none")
    throw new UnsupportedError(`${name}: bias is ${show(bias)}; adapters that train biases aren't supported`);
  for (const key of UNSUPPORTED) {
    const value = config[key];
    const off = value === undefined || value === null || value === false || isEmpty(value);
    if (!off) throw new UnsupportedError(`${name}: ${CONFIG} sets ${key}, which isn't supported`);
  }
  if (typeof init === "string" && CHANGES_BASE.test(init)) {
    throw new UnsupportedError(
      `${name}: init_lora_weights is ${show(init)}, which changes the base's weights as well; ` +
        "save the adapter converted to plain LoRA (PEFT: path_initial_model_for_weight_conversion)",
    );
  }
}

function isEmpty(value: MetaValue): boolean {
  return typeof value === "object" && value !== null && Object.keys(value).length === 0;
}

/** Keys are module names, or their last parts; PEFT takes them for regular expressions, of which none is needed here. */
function alphaPatterns(name: string, value: MetaValue | undefined): [suffix: string, alpha: number][] {
  if (value === undefined || value === null) return [];
  if (typeof value !== "object" || Array.isArray(value) || ArrayBuffer.isView(value))
    throw new ArtifactError(`${name}: alpha_pattern in ${CONFIG} is no object`);
  return Object.entries(value as MetaObject).map(([key, alpha]) => {
    const plain = key.replace(/^\^/, "").replaceAll("\\.", ".");
    if (!/^[\w.]+$/.test(plain))
      throw new UnsupportedError(`${name}: alpha_pattern has the key ${show(key)}; names of modules are supported`);
    if (typeof alpha !== "number" || !Number.isFinite(alpha))
      throw new ArtifactError(`${name}: alpha_pattern of ${show(key)} is ${show(alpha)}, expected a number`);
    return [plain, alpha];
  });
}

function number(name: string, config: MetaObject, key: string): number {
  const value = config[key];
  if (typeof value === "number" && Number.isFinite(value)) return value;
  throw new ArtifactError(`${name}: ${key} in ${CONFIG} is ${show(value)}, expected a number`);
}

function parse(name: string, text: string): MetaObject {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as MetaObject;
  } catch (cause) {
    throw new ArtifactError(`${name}: ${CONFIG} is no valid JSON`, { cause });
  }
  throw new ArtifactError(`${name}: ${CONFIG} holds no object`);
}

function show(value: MetaValue | undefined): string {
  return (JSON.stringify(value) ?? "missing").slice(0, 80);
}
