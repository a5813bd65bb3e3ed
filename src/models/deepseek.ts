/**
 * DeepSeek V2 and V3 (DeepSeek-AI 2024): attention over a latent of keys and values that all heads share, of which rope turns
 * a few columns apart from the rest (MLA). It is computed in its absorbed form, for all rows alike: queries and outputs go
 * through each head's part of the matrix that would unpack the latent, and the cache holds the latent and the turned key
 * alone. Behind the first layers, mixtures of experts chosen within groups, with experts that see every token. Kimi K2 and
 * others are built alike.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { isObject } from "./config.ts";
import { ConfigReader } from "./config.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { readSharedMixture } from "./mixture.ts";
import { LLAMA_NAMES } from "./names.ts";

const NAMES = {
  ...LLAMA_NAMES,
  layer: {
    ...LLAMA_NAMES.layer,
    qA: ["attn_q_a", "self_attn.q_a_proj"],
    qANorm: ["attn_q_a_norm", "self_attn.q_a_layernorm"],
    qB: ["attn_q_b", "self_attn.q_b_proj"],
    kvA: ["attn_kv_a_mqa", "self_attn.kv_a_proj_with_mqa"],
    kvANorm: ["attn_kv_a_norm", "self_attn.kv_a_layernorm"],
    kvB: ["attn_kv_b", "self_attn.kv_b_proj"],
    kB: ["attn_k_b"],
    vB: ["attn_v_b"],
  },
} as const;

/** Of the norms of latents, in Hugging Face's code; GGUF's readers take the file's. */
const LATENT_EPS = 1e-6;

export async function deepseek(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const sizes = readSizes(new ConfigReader(artifact));
  const { rank, nope, turned, valueDim } = sizes;
  const decoder = await readDecoder(artifact, options, NAMES, {
    style: "interleaved",
    rope: { headDim: turned, turned },
  });
  const { net, g, config, layers, width, heads, hidden, eps, activation } = decoder;
  const latentEps = config.format === "hf" ? LATENT_EPS : eps;
  const { magnitude, factor } = yarnFactors(config, decoder.rope.magnitude);
  const rope = { ...decoder.rope, magnitude };
  const scale = factor / Math.sqrt(nope + turned);
  const { dense, sharedHidden, ...mixture } = readMixture(decoder, options.title);

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    const packed = layer.has("qA");
    const queries = packed ? layer.rmsNorm(layer.linear(h, "qA", sizes.queryRank), "qANorm", latentEps) : h;
    const run = { heads, stride: nope + turned };
    const part = packed ? "qB" : "q";
    const qNope = layer.linearRuns(queries, part, { ...run, first: 0, count: nope });
    const qTurned = g.rope(layer.linearRuns(queries, part, { ...run, first: nope, count: turned }), rope);
    const kv = layer.linear(h, "kvA", rank + turned);
    const latent = layer.rmsNorm(g.slice(kv, 0, rank), "kvANorm", latentEps);
    const key = g.concat(latent, g.rope(g.slice(kv, rank, turned), rope));

    const stored = { part: "kvB", stride: nope + valueDim } as const;
    const absorbed = layer.headLinear(qNope, "kB", [heads, rank, nope], { ...stored, first: 0, transpose: true });
    const state = g.state({ name: `layer ${i}`, kind: "latent-kv", kvHeads: 1, keyDim: rank + turned, valueDim: rank });
    const attended = g.latentAttention(g.concat(absorbed, qTurned, heads), key, { state, heads, scale });
    const values = layer.headLinear(attended, "vB", [heads, valueDim, rank], { ...stored, first: nope });
    x = g.add(x, layer.linear(values, "o", width));

    const m = layer.rmsNorm(x, "ffnNorm", eps);
    if (i < dense) x = g.add(x, layer.gatedMlp(m, hidden, activation));
    else x = g.add(x, g.add(layer.moe(m, mixture), layer.sharedExpert(m, sharedHidden, activation)));
  }
  return net.finish(net.head(net.norm(x, eps), false), decoder.contextLength);
}

/** Columns: of the latents of keys and of queries, and of a head's unturned and turned keys and its values. */
function readSizes(config: ConfigReader): Record<"rank" | "queryRank" | "nope" | "turned" | "valueDim", number> {
  const turned = config.int(["rope.dimension_count", "qk_rope_head_dim"]);
  const gguf = config.format === "gguf";
  return {
    rank: config.int(["attention.kv_lora_rank", "kv_lora_rank"]),
    queryRank: config.optional(["attention.q_lora_rank", "q_lora_rank"]) ?? 1,
    nope: gguf ? config.int(["attention.key_length_mla", null]) - turned : config.int([null, "qk_nope_head_dim"]),
    turned,
    valueDim: config.int(["attention.value_length_mla", "v_head_dim"]),
  };
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
