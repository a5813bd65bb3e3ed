/**
 * DeepSeek V2 and V3 (DeepSeek-AI 2024): attention over a latent of keys and values that all heads share, of which rope turns
 * a few columns apart from the rest (MLA, see latent.ts). Behind the first layers, mixtures of experts chosen within groups,
 * with experts that see every token. Kimi K2 and others are built alike.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { ConfigReader, isObject } from "./config.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { latentAttention, LATENT_NAMES, readLatentSizes } from "./latent.ts";
import { readSharedMixture } from "./mixture.ts";

export async function deepseek(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const sizes = readLatentSizes(new ConfigReader(artifact));
  const decoder = await readDecoder(artifact, options, LATENT_NAMES, {
    style: "interleaved",
    rope: { headDim: sizes.turned, turned: sizes.turned },
  });
  const { net, g, config, layers, width, hidden, eps, activation } = decoder;
  const { magnitude, factor } = yarnFactors(config, decoder.rope.magnitude);
  const how = { rope: { ...decoder.rope, magnitude }, scale: factor / Math.sqrt(sizes.nope + sizes.turned) };
  const { dense, sharedHidden, ...mixture } = readMixture(decoder, options.title);

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    x = g.add(x, latentAttention(decoder, layer, i, layer.rmsNorm(x, "attnNorm", eps), sizes, how));
    const m = layer.rmsNorm(x, "ffnNorm", eps);
    if (i < dense) x = g.add(x, layer.gatedMlp(m, hidden, activation));
    else x = g.add(x, g.add(layer.moe(m, mixture), layer.sharedExpert(m, sharedHidden, activation)));
  }
  return net.finish(net.head(net.norm(x, eps), false), decoder.contextLength);
}

/** YaRN's factor on cosines and sines, and on the scores. GGUF moves all of it to the scores. */
function yarnFactors(config: ConfigReader, magnitude: number): { readonly magnitude: number; readonly factor: number } {
  const scaling = config.object([null, "rope_parameters"]) ?? config.object([null, "rope_scaling"]);
  const number = (key: string): number => {
    const value = isObject(scaling) ? scaling[key] : undefined;
    return typeof value === "number" && value > 0 ? value : 0;
  };
  const gguf = config.format === "gguf";
  const multiplier = gguf
    ? (config.optional(["rope.scaling.yarn_log_multiplier", null]) ?? 0)
    : 0.1 * number("mscale_all_dim");
  const stretch = gguf ? config.float(["rope.scaling.factor", null], 1) : Math.max(1, number("factor"));
  if (multiplier === 0) return { magnitude, factor: 1 };
  return { magnitude: gguf ? 1 : magnitude, factor: (1 + multiplier * Math.log(stretch)) ** 2 };
}

/**
 * V2 takes the largest softmax of all or of a group, and its shares as they are, whatever its config says; V3 sigmoids with
 * a bias, and two of a group.
 */
function readMixture(
  decoder: Parameters<typeof readSharedMixture>[0],
  title: string,
): ReturnType<typeof readSharedMixture> {
  const { config } = decoder;
  const second =
    title === "deepseek_v2" || (config.format === "gguf" && config.get(["expert_gating_func", null]) !== 2);
  if (!second) return readSharedMixture(decoder);
  const { groups, ...mixture } = readSharedMixture(decoder, { scores: "softmax", by: "largest" });
  const grouped = groups !== undefined && config.get([null, "topk_method"]) !== "greedy";
  return { ...mixture, normalize: false, ...(grouped && { groups }) };
}
