/**
 * Attention over a latent of keys and values that all heads share, of which a few columns stand apart, turned by rope where a
 * family turns them (MLA, DeepSeek-AI 2024). It is computed in its absorbed form, for all rows alike: queries and outputs go
 * through each head's part of the matrix that would unpack the latent, and the cache holds the latent and the key's own
 * columns alone.
 */
import type { RopeOptions } from "../graph/builder.ts";
import type { Value } from "../graph/graph.ts";
import type { ConfigReader } from "./config.ts";
import type { Decoder } from "./decoder.ts";
import type { Layer } from "./layer.ts";
import { LLAMA_NAMES, type TensorNames } from "./names.ts";

/** Names of the parts below. */
export const LATENT_NAMES = {
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

/** Columns: of the latents of keys and of queries, and of a head's keys inside and outside the latent and its values. */
export type LatentSizes = Record<"rank" | "queryRank" | "nope" | "turned" | "valueDim", number>;

export function readLatentSizes(config: ConfigReader): LatentSizes {
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

/** Of the norms of latents, in Hugging Face's code; GGUF's readers take the file's. */
const LATENT_EPS = 1e-6;

export function latentAttention<N extends TensorNames>(
  { g, config, width, heads, eps }: Pick<Decoder<N>, "g" | "config" | "width" | "heads" | "eps">,
  layer: Layer<N>,
  index: number,
  h: Value,
  { rank, queryRank, nope, turned, valueDim }: LatentSizes,
  { rope, scale }: { readonly rope: RopeOptions | null; readonly scale: number },
): Value {
  const latentEps = config.format === "hf" ? LATENT_EPS : eps;
  const turn = (x: Value): Value => (rope === null ? x : g.rope(x, rope));
  const packed = layer.has("qA");
  const queries = packed ? layer.rmsNorm(layer.linear(h, "qA", queryRank), "qANorm", latentEps) : h;
  const run = { heads, stride: nope + turned };
  const part = packed ? "qB" : "q";
  const qNope = layer.linearRuns(queries, part, { ...run, first: 0, count: nope });
  const qTurned = turn(layer.linearRuns(queries, part, { ...run, first: nope, count: turned }));
  const kv = layer.linear(h, "kvA", rank + turned);
  const latent = layer.rmsNorm(g.slice(kv, 0, rank), "kvANorm", latentEps);
  const key = g.concat(latent, turn(g.slice(kv, rank, turned)));

  const stored = { part: "kvB", stride: nope + valueDim } as const;
  const absorbed = layer.headLinear(qNope, "kB", [heads, rank, nope], { ...stored, first: 0, transpose: true });
  const shape = { kvHeads: 1, keyDim: rank + turned, valueDim: rank } as const;
  const state = g.state({ name: `layer ${index}`, kind: "latent-kv", ...shape });
  const attended = g.latentAttention(g.concat(absorbed, qTurned, heads), key, { state, heads, scale });
  const values = layer.headLinear(attended, "vB", [heads, valueDim, rank], { ...stored, first: nope });
  return layer.linear(values, "o", width);
}
