/**
 * StarCoder (Li et al. 2023), SantaCoder and GPTBigCode: GPT-2 with one key/value head for all queries.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { kvState, readActivation, readDimensions } from "./dimensions.ts";
import type { GraphOptions } from "./family.ts";
import { GPT2_KEYS, GPT2_NAMES } from "./gpt2.ts";
import { Network } from "./network.ts";

export async function starcoder(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const net = new Network(artifact, options.title, GPT2_NAMES);
  const { g, config } = net;
  const single = config.bool([null, "multi_query"], true);
  const width = config.int(GPT2_KEYS.width);
  const d = readDimensions(config, {
    ...GPT2_KEYS,
    kvHeads: ["attention.head_count_kv", "n_head"],
    known: {
      hidden: config.int(["feed_forward_length", "n_inner"], 4 * width),
      ...(config.format === "hf" && single && { kvHeads: 1 }),
    },
  });
  const { layers, heads, kvHeads, headDim, hidden, eps, contextLength } = d;
  const activation = readActivation(config, "activation_function", "geluTanh");
  const scale = config.bool([null, "scale_attn_weights"], true) ? 1 / Math.sqrt(headDim) : 1;

  let x = g.add(net.embed(width), net.positions("positions", contextLength, width));
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.layerNorm(x, "attnNorm", eps);
    // With a key/value head for each head the matrix holds each head's three parts side by side.
    const [q, k, v] =
      kvHeads === heads
        ? layer.groupedQkv(h, "qkv", d)
        : layer.split(h, "qkv", [width, kvHeads * headDim, kvHeads * headDim]);
    const state = g.state(kvState(i, d));
    x = g.add(x, layer.linear(g.attention(q, k, v, { state, heads, scale }), "o", width));
    x = g.add(x, layer.mlp(layer.layerNorm(x, "ffnNorm", eps), hidden, activation));
  }
  return net.finish(net.head(net.layerNorm(x, eps), true), contextLength);
}
