/**
 * BLOOM (BigScience Workshop 2022): distance takes from the scores instead of positions (ALiBi), a layer norm on the
 * embeddings too, biases everywhere, a plain MLP.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { alibiSlopes } from "./alibi.ts";
import { kvState, readDimensions } from "./dimensions.ts";
import type { GraphOptions } from "./family.ts";
import type { TensorNames } from "./names.ts";
import { Network } from "./network.ts";

const NAMES = {
  prefixes: ["transformer.", ""],
  layers: "h",
  model: {
    embed: ["token_embd", "word_embeddings"],
    embedNorm: ["token_embd_norm", "word_embeddings_layernorm"],
    norm: ["output_norm", "ln_f"],
  },
  layer: {
    attnNorm: ["attn_norm", "input_layernorm"],
    qkv: ["attn_qkv", "self_attention.query_key_value"],
    o: ["attn_output", "self_attention.dense"],
    ffnNorm: ["ffn_norm", "post_attention_layernorm"],
    up: ["ffn_up", "mlp.dense_h_to_4h"],
    down: ["ffn_down", "mlp.dense_4h_to_h"],
  },
} as const satisfies TensorNames;

export async function bloom(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const net = new Network(artifact, options.title, NAMES);
  const { g, config } = net;
  const heads = ["attention.head_count", "n_head"] as const;
  const width = config.int(["embedding_length", "hidden_size"]);
  const d = readDimensions(config, {
    heads,
    kvHeads: heads,
    layers: ["block_count", "n_layer"],
    eps: ["attention.layer_norm_epsilon", "layer_norm_epsilon"],
    known: { hidden: 4 * width },
  });
  const { layers, headDim, hidden, eps, contextLength } = d;
  const slopes = alibiSlopes(d.heads);
  const scale = 1 / Math.sqrt(headDim);

  let x = net.layerNorm(net.embed(width), eps, 0, "embedNorm");
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const [q, k, v] = layer.groupedQkv(layer.layerNorm(x, "attnNorm", eps), "qkv", d);
    const attended = g.attention(q, k, v, { state: g.state(kvState(i, d)), heads: d.heads, scale, slopes });
    x = g.add(x, layer.linear(attended, "o", width));
    x = g.add(x, layer.mlp(layer.layerNorm(x, "ffnNorm", eps), hidden, "geluTanh"));
  }
  return net.finish(net.head(net.layerNorm(x, eps), true), contextLength);
}
