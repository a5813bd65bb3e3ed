/**
 * InternLM 2 (Cai et al. 2024): Llama with q, k and v in one matrix, group after group. GGUF's converter takes it apart.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import type { TensorNames } from "./names.ts";

const NAMES = {
  prefixes: ["model."],
  layers: "layers",
  model: {
    embed: ["token_embd", "tok_embeddings"],
    norm: ["output_norm", "norm"],
  },
  layer: {
    attnNorm: ["attn_norm", "attention_norm"],
    qkv: ["", "attention.wqkv"],
    q: ["attn_q"],
    k: ["attn_k"],
    v: ["attn_v"],
    o: ["attn_output", "attention.wo"],
    ffnNorm: ["ffn_norm", "ffn_norm"],
    gate: ["ffn_gate", "feed_forward.w1"],
    up: ["ffn_up", "feed_forward.w3"],
    down: ["ffn_down", "feed_forward.w2"],
  },
} as const satisfies TensorNames;

export async function internlm2(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, NAMES, { style: "permuted" });
  const { net, g, layers, width, qWidth, kvWidth, hidden, eps, activation } = decoder;

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    const [q, k, v] = layer.has("qkv")
      ? layer.groupedQkv(h, "qkv", decoder)
      : [layer.linear(h, "q", qWidth), layer.linear(h, "k", kvWidth), layer.linear(h, "v", kvWidth)];
    x = g.add(x, layer.linear(decoder.attend(i, q, k, v), "o", width));
    x = g.add(x, layer.gatedMlp(layer.rmsNorm(x, "ffnNorm", eps), hidden, activation));
  }
  return net.finish(net.head(net.norm(x, eps), false, "output"), decoder.contextLength);
}
