/**
 * Kimi Linear (Kimi Team 2025): of four layers three are Kimi delta attention, a gated delta net (Yang et al. 2024) that
 * forgets each key column at a rate of its own; the fourth is latent attention without positions (latent.ts). Behind the first
 * layers, mixtures of experts as in DeepSeek V3.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Graph, Value } from "../graph/graph.ts";
import { ConfigReader, isObject, numberList } from "./config.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { latentAttention, LATENT_NAMES, readLatentSizes } from "./latent.ts";
import type { Layer } from "./layer.ts";
import { readSharedMixture } from "./mixture.ts";
import { decayFactor, recentRows, scanStates } from "./recurrent.ts";

const NAMES = {
  ...LATENT_NAMES,
  layer: {
    ...LATENT_NAMES.layer,
    qConv: ["ssm_conv1d_q", "self_attn.q_conv1d"],
    kConv: ["ssm_conv1d_k", "self_attn.k_conv1d"],
    vConv: ["ssm_conv1d_v", "self_attn.v_conv1d"],
    rateDown: ["ssm_f_a", "self_attn.f_a_proj"],
    rateUp: ["ssm_f_b", "self_attn.f_b_proj"],
    rateBias: ["ssm_dt.bias", "self_attn.dt_bias"],
    A: ["ssm_a", "self_attn.A_log"],
    beta: ["ssm_beta", "self_attn.b_proj"],
    outDown: ["ssm_g_a", "self_attn.g_a_proj"],
    outUp: ["ssm_g_b", "self_attn.g_b_proj"],
    headNorm: ["ssm_norm", "self_attn.o_norm"],
    gate: ["ffn_gate", "mlp.gate_proj", "block_sparse_moe.gate_proj"],
    up: ["ffn_up", "mlp.up_proj", "block_sparse_moe.up_proj"],
    down: ["ffn_down", "mlp.down_proj", "block_sparse_moe.down_proj"],
    routerBias: ["exp_probs_b", "block_sparse_moe.gate.e_score_correction_bias"],
    sharedGate: ["ffn_gate_shexp", "block_sparse_moe.shared_experts.gate_proj"],
    sharedUp: ["ffn_up_shexp", "block_sparse_moe.shared_experts.up_proj"],
    sharedDown: ["ffn_down_shexp", "block_sparse_moe.shared_experts.down_proj"],
  },
} as const;

export async function kimilinear(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const reader = new ConfigReader(artifact);
  const sizes = readLatentSizes(reader);
  const decoder = await readDecoder(artifact, options, NAMES, {
    rope: { headDim: sizes.turned, turned: sizes.turned },
  });
  const { net, g, layers, width, hidden, eps, activation } = decoder;
  const delta = readDelta(reader);
  const { sharedHidden, ...mixture } = readSharedMixture(decoder, {}, MOE_NAMES);
  const how = { rope: null, scale: 1 / Math.sqrt(sizes.nope + sizes.turned) };

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    if (layer.has("kvA")) x = g.add(x, latentAttention(decoder, layer, i, h, sizes, how));
    else x = g.add(x, deltaAttention(g, reader, layer, i, h, { ...delta, eps }));
    const m = layer.rmsNorm(x, "ffnNorm", eps);
    if (layer.has("router"))
      x = g.add(x, g.add(layer.moe(m, mixture), layer.sharedExpert(m, sharedHidden, activation)));
    else x = g.add(x, layer.gatedMlp(m, hidden, activation));
  }
  return net.finish(net.head(net.norm(x, eps), false), decoder.contextLength);
}

/** config.json's names where they are not DeepSeek's. */
const MOE_NAMES = {
  experts: "num_experts",
  topK: "num_experts_per_token",
  groups: "num_expert_group",
  normalize: "moe_renormalize",
  shared: "num_shared_experts",
} as const;

interface DeltaSizes {
  readonly heads: number;
  readonly headDim: number;
  readonly taps: number;
}

/** In transformers' words, or those of the authors' own config. */
function readDelta(config: ConfigReader): DeltaSizes {
  const own = config.object([null, "linear_attn_config"]);
  const number = (theirs: string, here: string): number => {
    const value = isObject(own) ? numberList([own[theirs] ?? null])?.[0] : undefined;
    return value ?? config.int([null, here]);
  };
  return {
    heads: number("num_heads", "linear_num_heads"),
    headDim: number("head_dim", "linear_head_dim"),
    taps: number("short_conv_kernel_size", "linear_conv_kernel_dim"),
  };
}

/**
 * S = diag(w) S + β k (v − (diag(w) S)ᵀ k)ᵀ with w = e^(−e^A softplus(f + bias)) for each key column; q, k and v convolved, q
 * and k of length 1; each head normalised, times a sigmoid.
 */
function deltaAttention(
  g: GraphBuilder,
  config: ConfigReader,
  layer: Layer<typeof NAMES>,
  index: number,
  h: Value,
  { heads, headDim, taps, eps }: DeltaSizes & { readonly eps: number },
): Value {
  const width = heads * headDim;
  const conv = (part: "q" | "k" | "v"): Value => {
    const state = recentRows(g, index, width, taps, `recent ${part}`);
    const weight = layer.values(`${part}Conv`, ".weight", width * taps);
    return g.activation(g.conv(layer.linear(h, part, width), { weight, state }), "silu");
  };
  // x / √(Σ x² + ε) as an RMS norm: √n times as much.
  const unit = (x: Value, scale: number): Value =>
    g.scale(g.rmsNorm(x, undefined, { eps: 1e-6 / headDim, groupSize: headDim }), scale);
  const low = (down: "rateDown" | "outDown", up: "rateUp" | "outUp"): Value =>
    layer.linear(layer.linear(h, down, layer.outputs(down)), up, width);
  const q = unit(conv("q"), 1 / headDim);
  const k = unit(conv("k"), 1 / Math.sqrt(headDim));
  const rate = g.activation(g.bias(low("rateDown", "rateUp"), layer.values("rateBias", "", width)), "softplus");
  const kept = g.activation(g.columnScale(rate, layer.values("A", "", heads), decayFactor(config)), "exp");
  const spread = Int32Array.from({ length: width }, (_, column) => Math.floor(column / headDim));
  const beta = g.pick(g.activation(layer.linear(h, "beta", heads), "sigmoid"), spread);
  const taken = [g.scale(g.multiply(kept, k), -1), g.multiply(beta, k)] as const;
  const y = g.matrixScan([q, kept, k, g.multiply(beta, conv("v")), ...taken], {
    heads,
    ...scanStates(g, index, { state: width * headDim, history: 5 * width }),
  });
  const normed = layer.rmsNorm(y, "headNorm", eps, { headDim });
  return layer.linear(g.gate(low("outDown", "outUp"), normed, "sigmoid"), "o", g.width(h));
}
