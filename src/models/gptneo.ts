/**
 * GPT-Neo (Black et al. 2021): GPT-2 whose scores are not scaled, with a window on every second layer.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { kvState, readActivation, readDimensions } from "./dimensions.ts";
import type { GraphOptions } from "./family.ts";
import type { TensorNames } from "./names.ts";
import { Network } from "./network.ts";

const NAMES = {
  prefixes: ["transformer."],
  layers: "h",
  model: {
    embed: ["", "wte"],
    positions: ["", "wpe"],
    norm: ["", "ln_f"],
  },
  layer: {
    attnNorm: ["", "ln_1"],
    q: ["", "attn.attention.q_proj"],
    k: ["", "attn.attention.k_proj"],
    v: ["", "attn.attention.v_proj"],
    o: ["", "attn.attention.out_proj"],
    ffnNorm: ["", "ln_2"],
    up: ["", "mlp.c_fc"],
    down: ["", "mlp.c_proj"],
  },
} as const satisfies TensorNames;

export async function gptneo(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const net = new Network(artifact, options.title, NAMES);
  const { g, config } = net;
  const width = config.int([null, "hidden_size"]);
  const d = readDimensions(config, {
    layers: [null, "num_layers"],
    heads: [null, "num_heads"],
    eps: [null, "layer_norm_epsilon"],
    known: { hidden: config.int([null, "intermediate_size"], 4 * width) },
  });
  const { layers, heads, headDim, hidden, eps, contextLength } = d;
  const activation = readActivation(config, "activation_function", "geluTanh");
  const window = config.int([null, "window_size"], 256);
  const kinds = config.get([null, "attention_layers"]);
  if (!Array.isArray(kinds) || kinds.length < layers)
    throw config.wrong([null, "attention_layers"], `${layers} entries`);

  let x = g.add(net.embed(width), net.positions("positions", contextLength, width));
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.layerNorm(x, "attnNorm", eps);
    const q = layer.linear(h, "q", heads * headDim);
    const k = layer.linear(h, "k", heads * headDim);
    const v = layer.linear(h, "v", heads * headDim);
    const state = g.state(kvState(i, d, kinds[i] === "local" ? window : undefined));
    x = g.add(x, layer.linear(g.attention(q, k, v, { state, heads, scale: 1 }), "o", width));
    x = g.add(x, layer.mlp(layer.layerNorm(x, "ffnNorm", eps), hidden, activation));
  }
  return net.finish(net.head(net.layerNorm(x, eps), true), contextLength);
}
