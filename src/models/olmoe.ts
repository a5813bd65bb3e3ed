/**
 * OLMoE (Muennighoff et al. 2024): Llama with an RMS norm over all heads of q and of k together, and mixtures of many
 * small experts whose shares are not divided by their sum.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { UnsupportedError } from "../errors.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { readMixture } from "./mixture.ts";
import { LLAMA_NAMES } from "./names.ts";

export async function olmoe(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, LLAMA_NAMES);
  const { net, g, config, layers, width, qWidth, kvWidth, eps } = decoder;
  const mixture = readMixture(decoder);
  if (mixture === undefined) throw config.wrong(["expert_count", "num_experts"], "a positive whole number");
  if (config.optional(["attention.clamp_kqv", "clip_qkv"]) !== undefined)
    throw new UnsupportedError(`${artifact.name}: OLMoE with clipped q, k and v`);

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    const q = layer.rmsNorm(layer.linear(h, "q", qWidth), "qNorm", eps);
    const k = layer.rmsNorm(layer.linear(h, "k", kvWidth), "kNorm", eps);
    const v = layer.linear(h, "v", kvWidth);
    x = g.add(x, layer.linear(decoder.attend(i, q, k, v), "o", width));
    x = g.add(x, layer.moe(layer.rmsNorm(x, "ffnNorm", eps), mixture));
  }
  return net.finish(net.head(net.norm(x, eps), false), decoder.contextLength);
}
