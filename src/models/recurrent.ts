/**
 * Parts of recurrent layers that several families have: short convolutions, Mamba-2's mixer (SSD), and what a scan
 * remembers. A family's file says in which order they stand.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Value, WeightRef } from "../graph/graph.ts";
import { HISTORY_PLACES } from "../graph/graph.ts";
import type { ConfigReader, Key } from "./config.ts";
import { numberList } from "./config.ts";
import type { Layer } from "./layer.ts";
import type { TensorNames } from "./names.ts";

/** What layer `index` remembers of the last `places` rows, each `width` columns. */
export function recentRows(g: GraphBuilder, index: number, width: number, places: number, what = "recent"): number {
  return g.state({ name: `layer ${index} ${what}`, kind: "rows", width, window: places });
}

/** What a scan of layer `index` remembers: its state, and what came in since the last border. */
export function scanStates(
  g: GraphBuilder,
  index: number,
  widths: { readonly state: number; readonly history: number },
): { readonly state: number; readonly history: number } {
  return {
    state: g.state({ name: `layer ${index}`, kind: "recurrent", width: widths.state }),
    history: recentRows(g, index, widths.history, HISTORY_PLACES, "history"),
  };
}

/** The causal convolution of x by a layer's part `conv`, over `taps` places. */
export function shortConv<N extends TensorNames>(
  g: GraphBuilder,
  layer: Layer<N>,
  index: number,
  x: Value,
  taps: number,
): Value {
  const width = g.width(x);
  const bias = layer.optionalValues("conv", ".bias", width);
  const weight = layer.values("conv", ".weight", width * taps);
  return g.conv(x, { weight, state: recentRows(g, index, width, taps), ...(bias && { bias }) });
}

/** −e^A of a stored A: GGUF's converter has done that already. */
export function decayFactor(config: ConfigReader): "weight" | "negativeExp" {
  return config.format === "gguf" ? "weight" : "negativeExp";
}

/** What a GGUF gives layer by layer, 0 where a layer has none: key/value heads, columns inside MLPs. */
export function hybridSizes({ config: { architecture, values } }: ModelArtifact): {
  known?: { kvHeads?: number; hidden?: number };
} {
  const most = (key: string): number | undefined => {
    const perLayer = numberList(values[`${architecture}.${key}`]);
    return perLayer === undefined ? undefined : Math.max(1, ...perLayer);
  };
  const [kvHeads, hidden] = [most("attention.head_count_kv"), most("feed_forward_length")];
  return { known: { ...(kvHeads !== undefined && { kvHeads }), ...(hidden !== undefined && { hidden }) } };
}

/** GGUF's and config.json's way to say which layers are attention: no key/value heads elsewhere; names. */
export function attentionLayers(config: ConfigReader, layers: number): (layer: number) => boolean {
  const perLayer = numberList(config.get(["attention.head_count_kv", null]));
  if (perLayer !== undefined && perLayer.length >= layers) return (layer) => (perLayer[layer] ?? 0) > 0;
  const key: Key = [null, "layer_types"];
  const types = config.get(key);
  if (!Array.isArray(types) || types.length < layers) throw config.wrong(key, `a list of ${layers} names`);
  return (layer) => types[layer] === "attention" || types[layer] === "full_attention";
}

export interface SsdSizes {
  readonly heads: number;
  readonly headDim: number;
  /** Of heads that share B and C. */
  readonly groups: number;
  readonly stateDim: number;
  readonly taps: number;
  readonly eps: number;
  /** Is the norm over each group in Hugging Face's code too? */
  readonly groupedNorm?: boolean;
}

/** Sizes by GGUF's keys and, in this order, config.json's names of heads, headDim, groups, stateDim and taps. */
export function readSsd(
  config: ConfigReader,
  names: readonly [heads: string, headDim: string, groups: string, stateDim: string, taps: string],
  eps: number,
): SsdSizes {
  const [headsName, headDim, groups, stateDim, taps] = names;
  const heads = config.int(["ssm.time_step_rank", headsName]);
  return {
    heads,
    headDim: config.format === "gguf" ? config.int(["ssm.inner_size", null]) / heads : config.int([null, headDim]),
    groups: config.int(["ssm.group_count", groups]),
    stateDim: config.int(["ssm.state_size", stateDim]),
    taps: config.int(["ssm.conv_kernel", taps]),
    eps,
  };
}

/** Names of the parts below, after the mixer's own in Hugging Face's files. */
export function ssdNames<const P extends string>(mixer: P) {
  return {
    ssmIn: ["ssm_in", `${mixer}.in_proj`],
    conv: ["ssm_conv1d", `${mixer}.conv1d`],
    dtBias: ["ssm_dt.bias", `${mixer}.dt_bias`],
    A: ["ssm_a", `${mixer}.A_log`],
    D: ["ssm_d", `${mixer}.D`],
    ssmNorm: ["ssm_norm", `${mixer}.norm`],
    ssmOut: ["ssm_out", `${mixer}.out_proj`],
  } as const;
}

/**
 * Mamba-2's mixer (Dao & Gu 2024): z, x, B, C and dt of one matrix; x, B and C convolved; S = e^(dt A) S + dt x Bᵀ a head, of
 * which y = S C + D x; the norm of y · silu(z); a matrix. The norm is over each group in GGUF, as in the authors' code and
 * llama.cpp, over all columns in transformers' Mamba-2.
 */
export function ssd<N extends TensorNames>(
  g: GraphBuilder,
  config: ConfigReader,
  layer: Layer<N>,
  index: number,
  h: Value,
  { heads, headDim, groups, stateDim, taps, eps, groupedNorm = false }: SsdSizes,
): Value {
  const width = g.width(h);
  const [inner, keys] = [heads * headDim, groups * stateDim];
  const total = 2 * inner + 2 * keys + heads;
  const rows = (label: string, rowStart: number, rowCount: number, bias?: WeightRef): Value =>
    layer.rows(h, "ssmIn", total, [{ rowStart, rowCount }], label, bias);
  const z = rows("z", 0, inner);
  const c = g.activation(shortConv(g, layer, index, rows("x B C", inner, inner + 2 * keys), taps), "silu");
  const [x, B, C] = [g.slice(c, 0, inner), g.slice(c, inner, keys), g.slice(c, inner + keys, keys)];
  const dt = g.activation(rows("dt", total - heads, heads, layer.values("dtBias", "", heads)), "softplus");
  const decay = g.columnScale(dt, layer.values("A", "", heads), decayFactor(config));
  const states = scanStates(g, index, { state: keys * (inner / groups), history: keys + inner + heads });
  const scanned = g.scan([C, B, x, decay, dt], { heads, keyHeads: groups, delta: false, ...states });
  const y = g.add(scanned, g.columnScale(x, layer.values("D", "", heads)));
  const gated = g.gate(z, y, "silu");
  const weight = layer.values("ssmNorm", ".weight", inner);
  const isGrouped = (groupedNorm || config.format === "gguf") && groups > 1;
  const normed = isGrouped
    ? g.columnScale(g.rmsNorm(gated, undefined, { eps, groupSize: inner / groups }), weight)
    : g.rmsNorm(gated, weight, { eps });
  return layer.linear(normed, "ssmOut", width);
}
