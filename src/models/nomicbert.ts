/**
 * Nomic BERT (Nussbaum et al. 2024): BERT with rope instead of learned positions, a gated MLP, and no biases in its matrices.
 * jina-embeddings-v3 (Sturua et al. 2024) has biases and a plain MLP; its adapters for tasks are not read.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import type { ConfigReader, Key } from "./config.ts";
import { kvState, readDimensions } from "./dimensions.ts";
import type { GraphOptions } from "./family.ts";
import type { TensorNames } from "./names.ts";
import { Network } from "./network.ts";
import { readRope } from "./rope.ts";

const NAMES = {
  prefixes: ["", "bert."],
  layers: "encoder.layers",
  model: {
    embed: ["token_embd", "embeddings.word_embeddings"],
    types: ["token_types", "embeddings.token_type_embeddings"],
    embedNorm: ["token_embd_norm", "emb_ln"],
    pooler: ["", "pooler.dense"],
  },
  layer: {
    qkv: ["attn_qkv", "attn.Wqkv", "mixer.Wqkv"],
    o: ["attn_output", "attn.out_proj", "mixer.out_proj"],
    attnNorm: ["attn_output_norm", "norm1"],
    up: ["ffn_up", "mlp.fc11", "mlp.fc1"],
    gate: ["ffn_gate", "mlp.fc12"],
    down: ["ffn_down", "mlp.fc2"],
    ffnNorm: ["layer_output_norm", "norm2"],
  },
} as const satisfies TensorNames;

export async function nomicbert(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const net = new Network(artifact, options.title, NAMES);
  const { g, config } = net;
  const d = readDimensions(config, keysOf(config));
  const { layers, width, heads, headDim, hidden, eps, contextLength } = d;
  const base =
    config.get([null, "rotary_emb_base"]) === undefined ? undefined : config.float([null, "rotary_emb_base"]);
  const rope = await readRope(artifact, config, {
    headDim,
    style: "half",
    contextLength,
    context: options.context,
    defaultBase: base ?? (options.title.startsWith("jina") ? 20_000 : 1000),
  });

  let x = net.layerNorm(net.embedSegments(width, "types"), eps, 0, "embedNorm");
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const [q, k, v] = layer.split(x, "qkv", [width, width, width]);
    const options = { state: g.state(kvState(i, d)), heads, scale: 1 / Math.sqrt(headDim) };
    const attended = g.attention(g.rope(q, rope), g.rope(k, rope), v, options);
    x = layer.layerNorm(g.add(x, layer.linear(attended, "o", width)), "attnNorm", eps);
    x = layer.layerNorm(
      g.add(x, layer.has("gate") ? layer.gatedMlp(x, hidden, "silu") : layer.mlp(x, hidden, "gelu")),
      "ffnNorm",
      eps,
    );
  }
  g.output("hidden", x);
  if (net.has("pooler")) g.output("pooled", g.softcap(net.linear(x, "pooler", width), 1));
  return g.build({ contextLength });
}

/** The config of transformers, or that of the model's own code, which calls things as GPT-2's does. */
function keysOf(config: ConfigReader): Record<"width" | "heads" | "layers" | "hidden" | "eps", Key> {
  const own = config.get([null, "n_embd"]) !== undefined;
  return {
    width: ["embedding_length", own ? "n_embd" : "hidden_size"],
    heads: ["attention.head_count", own ? "n_head" : "num_attention_heads"],
    layers: ["block_count", own ? "n_layer" : "num_hidden_layers"],
    hidden: ["feed_forward_length", own ? "n_inner" : "intermediate_size"],
    eps: ["attention.layer_norm_epsilon", own ? "layer_norm_epsilon" : "layer_norm_eps"],
  };
}
