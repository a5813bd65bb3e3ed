/**
 * GLM-4.5 (GLM Team 2025): GLM-4 with rope in halves, perhaps an RMS norm on each head of q and k, and mixtures of experts
 * behind the first layers, routed as DeepSeek-V3's, with one expert more that sees every token. The layers that predict
 * further tokens (MTP), which GGUF counts among the others, are left out.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { readSharedMixture } from "./mixture.ts";
import { LLAMA_NAMES } from "./names.ts";

const NAMES = {
  ...LLAMA_NAMES,
  layer: { ...LLAMA_NAMES.layer, ffnNorm: ["post_attention_norm", "post_attention_layernorm"] },
} as const;

export async function glm4moe(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, NAMES);
  const { net, g, config, width, headDim, qWidth, kvWidth, hidden, eps, activation } = decoder;
  const { dense, sharedHidden, ...mixture } = readSharedMixture(decoder);
  const layers = decoder.layers - (config.optional(["nextn_predict_layers", null]) ?? 0);

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    let [q, k] = [layer.linear(h, "q", qWidth), layer.linear(h, "k", kvWidth)];
    if (layer.has("qNorm")) {
      q = layer.rmsNorm(q, "qNorm", eps, { headDim });
      k = layer.rmsNorm(k, "kNorm", eps, { headDim });
    }
    const v = layer.linear(h, "v", kvWidth);
    x = g.add(x, layer.linear(decoder.attend(i, q, k, v), "o", width));

    const m = layer.rmsNorm(x, "ffnNorm", eps);
    if (i < dense) x = g.add(x, layer.gatedMlp(m, hidden, activation));
    else x = g.add(x, g.add(layer.moe(m, mixture), layer.sharedExpert(m, sharedHidden, activation)));
  }
  return net.finish(net.head(net.norm(x, eps), false), decoder.contextLength);
}
