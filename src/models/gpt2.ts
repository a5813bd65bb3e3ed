/**
 * GPT-2 (Radford et al. 2019): learned positions, LayerNorm before each block, biases everywhere, a plain MLP, and
 * as many key/value heads as heads. Hugging Face's file holds the matrices transposed (Conv1D).
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { kvState, readActivation, readDimensions } from "./dimensions.ts";
import type { GraphOptions } from "./family.ts";
import type { TensorNames } from "./names.ts";
import { Network } from "./network.ts";

export const GPT2_NAMES = {
  prefixes: ["transformer.", ""],
  layers: "h",
  model: {
    embed: ["token_embd", "wte"],
    positions: ["position_embd", "wpe"],
    norm: ["output_norm", "ln_f"],
  },
  layer: {
    attnNorm: ["attn_norm", "ln_1"],
    qkv: ["attn_qkv", "attn.c_attn"],
    o: ["attn_output", "attn.c_proj"],
    ffnNorm: ["ffn_norm", "ln_2"],
    up: ["ffn_up", "mlp.c_fc"],
    down: ["ffn_down", "mlp.c_proj"],
  },
} as const satisfies TensorNames;

export const GPT2_KEYS = {
  layers: ["block_count", "n_layer"],
  width: ["embedding_length", "n_embd"],
  heads: ["attention.head_count", "n_head"],
  eps: ["attention.layer_norm_epsilon", "layer_norm_epsilon"],
} as const;

export async function gpt2(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const net = new Network(artifact, options.title, GPT2_NAMES);
  const { g, config } = net;
  const width = config.int(GPT2_KEYS.width);
  const hidden = config.int(["feed_forward_length", "n_inner"], 4 * width);
  const d = readDimensions(config, { ...GPT2_KEYS, kvHeads: GPT2_KEYS.heads, known: { hidden } });
  const { layers, heads, headDim, eps, contextLength } = d;
  const activation = readActivation(config, "activation_function", "geluTanh");
  if (width % heads !== 0) throw config.wrong(GPT2_KEYS.heads, `a divisor of ${width}`);
  const scaled = config.bool([null, "scale_attn_weights"], true);
  const byLayer = config.bool([null, "scale_attn_by_inverse_layer_idx"], false);
  const file = { bias: "required", transposed: true } as const;

  let x = g.add(net.embed(width), net.positions("positions", contextLength, width));
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const [q, k, v] = layer.split(layer.layerNorm(x, "attnNorm", eps, file), "qkv", [width, width, width], file);
    const state = g.state(kvState(i, d));
    const scale = (scaled ? 1 / Math.sqrt(headDim) : 1) / (byLayer ? i + 1 : 1);
    x = g.add(x, layer.linear(g.attention(q, k, v, { state, heads, scale }), "o", width, file));
    x = g.add(x, layer.mlp(layer.layerNorm(x, "ffnNorm", eps, file), hidden, activation, file));
  }
  return net.finish(net.head(net.layerNorm(x, eps), true), contextLength);
}
