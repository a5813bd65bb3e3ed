/**
 * Mixtral (Jiang et al. 2024): Llama whose MLP is a mixture of experts; the chosen experts' shares add up to 1.
 * GGUF calls it "llama" and gives a number of experts.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { LLAMA_NAMES } from "./names.ts";

export async function mixtral(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, LLAMA_NAMES, { style: "permuted" });
  const { net, g, config, layers, width, qWidth, kvWidth, hidden, eps, activation } = decoder;
  const experts = config.int(["expert_count", "num_local_experts"]);
  const topK = config.int(["expert_used_count", "num_experts_per_tok"]);

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    const q = layer.linear(h, "q", qWidth);
    const k = layer.linear(h, "k", kvWidth);
    const v = layer.linear(h, "v", kvWidth);
    x = g.add(x, layer.linear(decoder.attend(i, q, k, v), "o", width));
    const mixture = { experts, topK, hidden, normalize: true, activation };
    x = g.add(x, layer.moe(layer.rmsNorm(x, "ffnNorm", eps), mixture));
  }
  return net.finish(net.head(net.norm(x, eps), false), decoder.contextLength);
}
