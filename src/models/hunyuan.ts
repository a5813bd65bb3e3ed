/**
 * Hunyuan, dense (Tencent 2025): Llama with an RMS norm on each head of q and k, after they are turned.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { LLAMA_NAMES } from "./names.ts";

const NAMES = {
  ...LLAMA_NAMES,
  layer: {
    ...LLAMA_NAMES.layer,
    qNorm: ["attn_q_norm", "self_attn.query_layernorm"],
    kNorm: ["attn_k_norm", "self_attn.key_layernorm"],
  },
} as const;

export async function hunyuan(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, NAMES);
  const { net, g, layers, width, headDim, qWidth, kvWidth, hidden, eps, activation, rope } = decoder;

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    const q = layer.rmsNorm(g.rope(layer.linear(h, "q", qWidth), rope), "qNorm", eps, { headDim });
    const k = layer.rmsNorm(g.rope(layer.linear(h, "k", kvWidth), rope), "kNorm", eps, { headDim });
    const v = layer.linear(h, "v", kvWidth);
    x = g.add(x, layer.linear(decoder.attend(i, q, k, v, { rope: null }), "o", width));
    x = g.add(x, layer.gatedMlp(layer.rmsNorm(x, "ffnNorm", eps), hidden, activation));
  }
  return net.finish(net.head(net.norm(g.rows(x), eps), false), decoder.contextLength);
}
