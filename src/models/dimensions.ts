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
const MAX_HEADS = 65_536;

/** Where each number stands. */
const KEYS = {
  layers: ["block_count", "num_hidden_layers"],
  width: ["embedding_length", "hidden_size"],
  heads: ["attention.head_count", "num_attention_heads"],
  kvHeads: ["attention.head_count_kv", "num_key_value_heads"],
  headDim: ["attention.key_length", "head_dim"],
  hidden: ["feed_forward_length", "intermediate_size"],
  eps: ["attention.layer_norm_rms_epsilon", "rms_norm_eps"],
} as const satisfies Record<string, Key>;

/** What a family calls differently, or knows without a key. */
export type DimensionKeys = Readonly<Partial<Record<keyof typeof KEYS, Key>>> & {
  readonly known?: Readonly<Partial<Pick<Dimensions, "kvHeads" | "hidden" | "layers">>>;
};

export function readDimensions(config: ConfigReader, own: DimensionKeys = {}): Dimensions {
  const { known = {}, ...names } = own;
  const keys = { ...KEYS, ...names };
  const width = config.int(keys.width);
  const heads = config.int(keys.heads);
  if (heads > MAX_HEADS) throw config.wrong(keys.heads, `at most ${MAX_HEADS}`);
  const kvHeads = known.kvHeads ?? config.int(keys.kvHeads, heads);
  const headDim = config.int(keys.headDim, Math.max(1, Math.floor(width / heads)));
  if (headDim > MAX_HEAD_DIM) throw config.wrong(keys.headDim, `at most ${MAX_HEAD_DIM}`);
  if (heads % kvHeads !== 0) throw new ArtifactError(`config: ${heads} heads can't share ${kvHeads} key/value heads`);
  const layers = known.layers ?? config.int(keys.layers);
  if (layers > MAX_LAYERS) throw config.wrong(keys.layers, `at most ${MAX_LAYERS}`);
  return {
    layers,
    width,
    heads,
    kvHeads,
    headDim,
    hidden: known.hidden ?? config.int(keys.hidden),
    eps: config.float(keys.eps, 1e-6),
    contextLength: readContextLength(config),
  };
}

/** RoBERTa's kin has rows of positions before the first one, up to the padding token's id, in Hugging Face's files. */
export function skippedPositions(config: ConfigReader): number {
  return config.format === "hf" && /roberta|camembert/.test(config.architecture) ? 2 : 0;
}

/** Positions that the model was made for. Configs that are silent mean transformers' default. */
export function readContextLength(config: ConfigReader): number {
  if (config.format === "gguf") return config.int(["context_length", null]);
  const known = ["max_position_embeddings", "n_positions", "max_seq_len", "model_max_length", "seq_length"].find(
    (key) => config.get([null, key]) !== undefined,
  );
  return known === undefined ? 2048 : Math.max(1, config.int([null, known]) - skippedPositions(config));
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

/** A family's own defaults about windows, where the config is silent. */
export interface WindowDefaults {
  /** Is a window that the config gives in use? Default true. */
  readonly onByDefault?: boolean;
  /** The first layer with a window. Default 0. */
  readonly firstLayer?: number;
  /** Every so many layers, the last sees everything. */
  readonly fullEvery?: number;
  /** The window. */
  readonly size?: number;
}

const PATTERN: Key = ["attention.sliding_window_pattern", "sliding_window_pattern"];

/**
 * The window of each layer: where `sliding_window` is set and not switched off, the layers that `layer_types` or
 * `sliding_window_pattern` names, or those from `max_window_layers` on.
 */
export function layerWindows(
  config: ConfigReader,
  layers: number,
  defaults: WindowDefaults = {},
): (number | undefined)[] {
  const window = config.optional(["attention.sliding_window", "sliding_window"]) ?? defaults.size;
  const onByDefault = config.format === "gguf" || (defaults.onByDefault ?? true);
  const on = window !== undefined && config.bool([null, "use_sliding_window"], onByDefault);
  const slides = slidingLayers(config, layers, defaults);
  return Array.from({ length: layers }, (_, i) => (on && slides(i) ? window : undefined));
}

function slidingLayers(config: ConfigReader, layers: number, defaults: WindowDefaults): (layer: number) => boolean {
  const types = config.get([null, "layer_types"]);
  if (types !== undefined) {
    if (!Array.isArray(types) || types.length < layers)
      throw config.wrong([null, "layer_types"], `a list of ${layers} names`);
    return (layer) => types[layer] === "sliding_attention";
  }
  const pattern = config.get(PATTERN);
  // A letter for each layer of the pattern: local or global.
  if (typeof pattern === "string" && pattern !== "") return (layer) => pattern[layer % pattern.length] === "L";
  if (Array.isArray(pattern) || ArrayBuffer.isView(pattern)) {
    const flags: readonly unknown[] = Array.from(pattern as ArrayLike<unknown>);
    if (flags.length < layers) throw config.wrong(PATTERN, `a flag for each of ${layers} layers`);
    return (layer) => flags[layer] === true || flags[layer] === 1;
  }
  const every = pattern === undefined ? defaults.fullEvery : config.int(PATTERN);
  if (every !== undefined) return (layer) => (layer + 1) % every !== 0;
  const from = config.get([null, "max_window_layers"]);
  if (from !== undefined && typeof from !== "number") throw config.wrong([null, "max_window_layers"], "a number");
  const first = from ?? (config.format === "gguf" ? 0 : (defaults.firstLayer ?? 0));
  return (layer) => layer >= first;
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
export function readActivation(config: ConfigReader, key: string | null, fallback: Activation): Activation {
  return config.choice<Activation>([null, key], ACTIVATIONS, fallback);
}
