/**
 * The numbers that all families of the Llama kind share, from either vocabulary, and what a layer remembers.
 */
import { ArtifactError } from "../errors.ts";
import type { Activation, StateSpec } from "../graph/graph.ts";
import type { ConfigReader, Key } from "./config.ts";

export interface Dimensions {
  readonly layers: number;
  /** Columns of the residual stream. */
  readonly width: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Columns inside the MLP. */
  readonly hidden: number;
  readonly eps: number;
  /** Positions that the model was made for. */
  readonly contextLength: number;
}

/** Beyond this a config is nonsense, and nothing shall be allocated for it. */
const MAX_HEAD_DIM = 4096;
const MAX_LAYERS = 4096;

/** Where each number stands; a family overrides what it calls differently. */
const KEYS = {
  layers: ["block_count", "num_hidden_layers"],
  width: ["embedding_length", "hidden_size"],
  heads: ["attention.head_count", "num_attention_heads"],
  kvHeads: ["attention.head_count_kv", "num_key_value_heads"],
  headDim: ["attention.key_length", "head_dim"],
  hidden: ["feed_forward_length", "intermediate_size"],
  eps: ["attention.layer_norm_rms_epsilon", "rms_norm_eps"],
} as const satisfies Record<string, Key>;

export type DimensionKeys = Readonly<Partial<Record<keyof typeof KEYS, Key>>>;

export function readDimensions(config: ConfigReader, own: DimensionKeys = {}): Dimensions {
  const keys = { ...KEYS, ...own };
  const width = config.int(keys.width);
  const heads = config.int(keys.heads);
  const kvHeads = config.int(keys.kvHeads, heads);
  const headDim = config.int(keys.headDim, Math.max(1, Math.floor(width / heads)));
  if (headDim > MAX_HEAD_DIM) throw config.wrong(keys.headDim, `at most ${MAX_HEAD_DIM}`);
  if (heads % kvHeads !== 0) throw new ArtifactError(`config: ${heads} heads can't share ${kvHeads} key/value heads`);
  const layers = config.int(keys.layers);
  if (layers > MAX_LAYERS) throw config.wrong(keys.layers, `at most ${MAX_LAYERS}`);
  return {
    layers,
    width,
    heads,
    kvHeads,
    headDim,
    hidden: config.int(keys.hidden),
    eps: config.float(keys.eps, 1e-6),
    contextLength: readContextLength(config),
  };
}

/** Positions that the model was made for. Configs that are silent mean transformers' default. */
export function readContextLength(config: ConfigReader): number {
  if (config.format === "gguf") return config.int(["context_length", null]);
  const known = ["max_position_embeddings", "n_positions"].find((key) => config.get([null, key]) !== undefined);
  return known === undefined ? 2048 : config.int([null, known]);
}

/**
 * What layer `layer` remembers: keys and values of all positions, or of the last `window`. A window that reaches
 * over the whole context is none.
 */
export function kvState(
  layer: number,
  d: Pick<Dimensions, "kvHeads" | "headDim" | "contextLength">,
  window?: number,
): StateSpec {
  const spec = { name: `layer ${layer}`, kvHeads: d.kvHeads, keyDim: d.headDim, valueDim: d.headDim };
  if (window === undefined || window >= d.contextLength) return { ...spec, kind: "kv" };
  return { ...spec, kind: "window-kv", window };
}

/** A family's own defaults: is a window that the config gives in use, and from which layer on? */
export interface WindowDefaults {
  readonly onByDefault: boolean;
  readonly firstLayer: number;
}

/**
 * The window of each layer: where `sliding_window` is set and not switched off, the layers that `layer_types` names,
 * or those from `max_window_layers` on.
 */
export function layerWindows(
  config: ConfigReader,
  layers: number,
  defaults: WindowDefaults = { onByDefault: true, firstLayer: 0 },
): (number | undefined)[] {
  const window = config.optional(["attention.sliding_window", "sliding_window"]);
  const onByDefault = config.format === "gguf" || defaults.onByDefault;
  const on = window !== undefined && config.bool([null, "use_sliding_window"], onByDefault);
  const types = config.get([null, "layer_types"]);
  if (types !== undefined && !(Array.isArray(types) && types.length >= layers))
    throw config.wrong([null, "layer_types"], `a list of ${layers} names`);
  const from = config.get([null, "max_window_layers"]);
  if (from !== undefined && typeof from !== "number") throw config.wrong([null, "max_window_layers"], "a number");
  const first = from ?? (config.format === "gguf" ? 0 : defaults.firstLayer);
  return Array.from({ length: layers }, (_, i) => {
    const sliding = Array.isArray(types) ? types[i] === "sliding_attention" : i >= first;
    return on && sliding ? window : undefined;
  });
}

const ACTIVATIONS = {
  silu: "silu",
  swish: "silu",
  gelu: "gelu",
  gelu_new: "geluTanh",
  gelu_pytorch_tanh: "geluTanh",
  relu: "relu",
} as const;

/** The MLP's activation: GGUF doesn't name it, Hugging Face does under `key`. */
export function readActivation(config: ConfigReader, key: string, fallback: Activation): Activation {
  return config.choice<Activation>([null, key], ACTIVATIONS, fallback);
}
