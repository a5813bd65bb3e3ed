/**
 * MPT (MosaicML 2023): distance takes from the scores instead of positions (ALiBi), layer norms without biases, a plain MLP,
 * and in some models queries, keys and values that are cut off at a limit.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import { UnsupportedError } from "../errors.ts";
import type { Graph, Value } from "../graph/graph.ts";
import { alibiSlopes } from "./alibi.ts";
import type { ConfigReader } from "./config.ts";
import { kvState, readDimensions } from "./dimensions.ts";
import type { GraphOptions } from "./family.ts";
import type { TensorNames } from "./names.ts";
import { Network } from "./network.ts";

const NAMES = {
  prefixes: ["transformer.", ""],
  layers: "blocks",
  model: { embed: ["token_embd", "wte"], norm: ["output_norm", "norm_f"] },
  layer: {
    attnNorm: ["attn_norm", "norm_1"],
    qkv: ["attn_qkv", "attn.Wqkv"],
    o: ["attn_output", "attn.out_proj"],
    ffnNorm: ["ffn_norm", "norm_2"],
    up: ["ffn_up", "ffn.up_proj"],
    down: ["ffn_down", "ffn.down_proj"],
  },
} as const satisfies TensorNames;

export async function mpt(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const net = new Network(artifact, options.title, NAMES);
  const { g, config } = net;
  const heads = ["attention.head_count", "n_heads"] as const;
  const width = config.int(["embedding_length", "d_model"]);
  const d = readDimensions(config, {
    width: ["embedding_length", "d_model"],
    heads,
    kvHeads: heads,
    layers: ["block_count", "n_layers"],
    eps: ["attention.layer_norm_epsilon", "layer_norm_epsilon"],
    known: { hidden: config.int(["feed_forward_length", "expansion_ratio"], 4) * (config.format === "hf" ? width : 1) },
  });
  const { layers, headDim, hidden, eps, contextLength } = d;
  const { slopes, limit, scale = 1 / Math.sqrt(headDim) } = readAttention(config, d.heads);
  if (slopes === undefined) throw new UnsupportedError(`${artifact.name}: MPT with learned positions`);
  const clamped = (x: Value): Value => (limit === undefined ? x : g.clamp(x, limit));

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const qkv = layer.split(layer.layerNorm(x, "attnNorm", eps), "qkv", [width, width, width]);
    const [q, k, v] = [clamped(qkv[0]), clamped(qkv[1]), clamped(qkv[2])];
    const attended = g.attention(q, k, v, { state: g.state(kvState(i, d)), heads: d.heads, scale, slopes });
    x = g.add(x, layer.linear(attended, "o", width));
    x = g.add(x, layer.mlp(layer.layerNorm(x, "ffnNorm", eps), hidden, "gelu"));
  }
  return net.finish(net.head(net.layerNorm(x, eps), true), contextLength);
}

/** Hugging Face keeps these a level down. */
function readAttention(
  config: ConfigReader,
  heads: number,
): { readonly slopes: Float32Array | undefined; readonly limit: number | undefined; readonly scale?: number } {
  if (config.format === "gguf") {
    const max = config.optional(["attention.max_alibi_bias", null]);
    const slopes = max === undefined ? undefined : alibiSlopes(heads, max);
    return { slopes, limit: config.optional(["attention.clamp_kqv", null]) };
  }
  const own = config.object([null, "attn_config"]) ?? {};
  const number = (key: string): number | undefined => {
    const value = own[key];
    return typeof value === "number" && value > 0 ? value : undefined;
  };
  const scale = number("softmax_scale");
  return {
    slopes: own["alibi"] === false ? undefined : alibiSlopes(heads, number("alibi_bias_max") ?? 8),
    limit: number("clip_qkv"),
    ...(scale !== undefined && { scale }),
  };
}
