/**
 * GLM-4 (GLM Team 2024): Llama with gate and up in one matrix, biases on q, k and v, and rope in neighbouring pairs on half
 * of each head. GLM-4-0414 ("glm4") adds norms after each block.
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
    qkv: ["attn_qkv"],
    attnPostNorm: ["post_attention_norm", "post_self_attn_layernorm"],
    gateUp: ["ffn_up", "mlp.gate_up_proj"],
    ffnPostNorm: ["post_ffw_norm", "post_mlp_layernorm"],
  },
} as const;

export async function glm(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, NAMES, { style: "interleaved" });
  const { net, g, layers, width, qWidth, kvWidth, hidden, eps, activation } = decoder;
  const sandwiched = options.title === "glm4";

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    const [q, k, v] = layer.qkv(h, qWidth, kvWidth);
    const attended = layer.linear(decoder.attend(i, q, k, v), "o", width);
    x = g.add(x, sandwiched ? layer.rmsNorm(attended, "attnPostNorm", eps) : attended);
    const mlp = layer.gatedMlp(layer.rmsNorm(x, "ffnNorm", eps), hidden, activation);
    x = g.add(x, sandwiched ? layer.rmsNorm(mlp, "ffnPostNorm", eps) : mlp);
  }
  return net.finish(net.head(net.norm(x, eps), false), decoder.contextLength);
}
