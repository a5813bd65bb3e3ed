/**
 * StarCoder2 (Lozhkov et al. 2024): layer norms, a plain MLP, biases everywhere, and a window in some models.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import type { TensorNames } from "./names.ts";
import { LLAMA_NAMES } from "./names.ts";

const NAMES = {
  ...LLAMA_NAMES,
  layer: {
    ...LLAMA_NAMES.layer,
    up: ["ffn_up", "mlp.c_fc"],
    down: ["ffn_down", "mlp.c_proj"],
  },
} as const satisfies TensorNames;

export async function starcoder2(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, NAMES, {
    keys: { eps: ["attention.layer_norm_epsilon", "norm_epsilon"] },
    activation: "geluTanh",
  });
  const { net, g, layers, width, qWidth, kvWidth, hidden, eps, activation } = decoder;

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.layerNorm(x, "attnNorm", eps);
    const q = layer.linear(h, "q", qWidth);
    const k = layer.linear(h, "k", kvWidth);
    const v = layer.linear(h, "v", kvWidth);
    x = g.add(x, layer.linear(decoder.attend(i, q, k, v), "o", width));
    x = g.add(x, layer.mlp(layer.layerNorm(x, "ffnNorm", eps), hidden, activation));
  }
  return net.finish(net.head(net.layerNorm(x, eps), true), decoder.contextLength);
}
