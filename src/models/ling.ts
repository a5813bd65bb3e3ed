/**
 * Ling (Ling Team 2025): Llama with q, k and v in one matrix and mixtures of experts with an expert more that sees every
 * token. The second generation normalises each head of q and k, turns half of it, and routes as DeepSeek V3 does.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { readSharedMixture } from "./mixture.ts";
import { LLAMA_NAMES } from "./names.ts";

const NAMES = {
  ...LLAMA_NAMES,
  model: { ...LLAMA_NAMES.model, embed: ["token_embd", "word_embeddings"] },
  layer: {
    ...LLAMA_NAMES.layer,
    qkv: ["attn_qkv", "attention.query_key_value"],
    o: ["attn_output", "attention.dense"],
    qNorm: ["attn_q_norm", "attention.query_layernorm"],
    kNorm: ["attn_k_norm", "attention.key_layernorm"],
    routerBias: ["exp_probs_b", "mlp.gate.expert_bias"],
  },
} as const;

/** config.json's names of the mixture's numbers. */
const MOE_NAMES = {
  experts: "num_experts",
  topK: "num_experts_per_tok",
  groups: "n_group",
  normalize: "norm_topk_prob",
  shared: "num_shared_experts",
} as const;

export async function ling(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const isSecond = options.title.endsWith("2");
  const decoder = await readDecoder(artifact, options, NAMES, { style: isSecond ? "half" : "permuted" });
  const { net, g, config, layers, width, headDim, qWidth, kvWidth, hidden, eps, activation } = decoder;
  const { dense, sharedHidden, ...mixture } = readSharedMixture(
    decoder,
    { scores: isSecond ? "sigmoid" : "softmax" },
    MOE_NAMES,
  );

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    const [q, k, v] = layer.qkv(h, qWidth, kvWidth);
    const [query, key] = layer.has("qNorm")
      ? [layer.rmsNorm(q, "qNorm", eps, { headDim }), layer.rmsNorm(k, "kNorm", eps, { headDim })]
      : [q, k];
    x = g.add(x, layer.linear(decoder.attend(i, query, key, v), "o", width));
    const m = layer.rmsNorm(x, "ffnNorm", eps);
    if (i < dense) x = g.add(x, layer.gatedMlp(m, hidden, activation));
    else x = g.add(x, g.add(layer.moe(m, mixture), layer.sharedExpert(m, sharedHidden, activation)));
  }
  const isUnit = config.bool([null, "norm_head"], false);
  return net.finish(await net.headOfUnitRows(net.norm(x, eps), isUnit), decoder.contextLength);
}
