/**
 * Phi-3, Phi-3.5 and Phi-4 (Abdin et al. 2024): Llama with q, k, v in one matrix and gate, up in one matrix in the file,
 * and LongRoPE for the long-context models, whose factors are chosen by the context that the model is loaded for.
 * Phi-4-mini turns only a part of each head's columns.
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
    qkv: ["attn_qkv", "self_attn.qkv_proj"],
    gateUp: ["ffn_up", "mlp.gate_up_proj"],
  },
} as const;

export async function phi3(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, NAMES);
  const { net, g, layers, width, qWidth, kvWidth, hidden, eps, activation } = decoder;

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const [q, k, v] = layer.split(layer.rmsNorm(x, "attnNorm", eps), "qkv", [qWidth, kvWidth, kvWidth]);
    x = g.add(x, layer.linear(decoder.attend(i, q, k, v), "o", width));
    x = g.add(x, layer.gatedMlp(layer.rmsNorm(x, "ffnNorm", eps), hidden, activation));
  }
  return net.finish(net.head(net.norm(x, eps), false), decoder.contextLength);
}
