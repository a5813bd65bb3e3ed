/**
 * OLMo 2 (OLMo et al. 2024): norms after each block instead of before, and an RMS norm over all heads of q and of k
 * together. OLMo 3 (2025) adds windows on three of four layers, to which a rope scaling doesn't apply. FlexOlmo (Shi et
 * al. 2025) puts a mixture of experts in the MLP's place.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { readMixture } from "./mixture.ts";
import { LLAMA_NAMES } from "./names.ts";
import { readRope } from "./rope.ts";

export const POST_NORM_NAMES = {
  ...LLAMA_NAMES,
  layer: {
    ...LLAMA_NAMES.layer,
    attnPostNorm: ["post_attention_norm", "post_attention_layernorm"],
    ffnPostNorm: ["post_ffw_norm", "post_feedforward_layernorm"],
  },
} as const;

export async function olmo2(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, POST_NORM_NAMES, {
    windows: { fullEvery: 4 },
    rope: { layerType: "full_attention", defaultBase: 500_000 },
  });
  const { net, g, config, layers, width, headDim, qWidth, kvWidth, hidden, eps, activation, contextLength } = decoder;
  const localRope = await readRope(artifact, config, {
    headDim,
    style: "half",
    contextLength,
    context: options.context,
    layerType: "sliding_attention",
    defaultBase: 500_000,
    unscaled: true,
  });
  const mixture = readMixture(decoder);

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const q = layer.rmsNorm(layer.linear(x, "q", qWidth), "qNorm", eps);
    const k = layer.rmsNorm(layer.linear(x, "k", kvWidth), "kNorm", eps);
    const v = layer.linear(x, "v", kvWidth);
    const rope = decoder.windows[i] === undefined ? decoder.rope : localRope;
    const attended = layer.linear(decoder.attend(i, q, k, v, { rope }), "o", width);
    x = g.add(x, layer.rmsNorm(attended, "attnPostNorm", eps));
    const mlp = mixture === undefined ? layer.gatedMlp(x, hidden, activation) : layer.moe(x, mixture);
    x = g.add(x, layer.rmsNorm(mlp, "ffnPostNorm", eps));
  }
  return net.finish(net.head(net.norm(x, eps), false), contextLength);
}
