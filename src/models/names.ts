/**
 * What a tensor is called in either kind of file, by its part in the network. Hugging Face's names stand after
 * the prefix that the file uses ("model."), a layer's after "layers.N." or "blk.N."; ".weight" and ".bias" follow.
 * A family takes `LLAMA_NAMES`, which most of the world follows, and overrides what it calls differently.
 */

/** GGUF's name ("": it has none), then Hugging Face's names (older and newer ones). */
export type TensorName = readonly [gguf: string, ...hf: string[]];

export interface TensorNames {
  /** What may stand before Hugging Face's names; the one under which the embedding is found is used. */
  readonly prefixes: readonly string[];
  /** Hugging Face's name of the list of layers. */
  readonly layers: string;
  readonly model: Readonly<Record<string, TensorName>>;
  readonly layer: Readonly<Record<string, TensorName>>;
}

export const LLAMA_NAMES = {
  prefixes: ["model."],
  layers: "layers",
  model: {
    embed: ["token_embd", "embed_tokens"],
    norm: ["output_norm", "norm"],
  },
  layer: {
    attnNorm: ["attn_norm", "input_layernorm"],
    q: ["attn_q", "self_attn.q_proj"],
    k: ["attn_k", "self_attn.k_proj"],
    v: ["attn_v", "self_attn.v_proj"],
    o: ["attn_output", "self_attn.o_proj"],
    qNorm: ["attn_q_norm", "self_attn.q_norm"],
    kNorm: ["attn_k_norm", "self_attn.k_norm"],
    ffnNorm: ["ffn_norm", "post_attention_layernorm"],
    gate: ["ffn_gate", "mlp.gate_proj"],
    up: ["ffn_up", "mlp.up_proj"],
    down: ["ffn_down", "mlp.down_proj"],
    // Mixtures of experts. `*` stands for the expert's number where a file keeps experts apart.
    router: ["ffn_gate_inp", "block_sparse_moe.gate", "mlp.gate"],
    expertGate: ["ffn_gate.*", "block_sparse_moe.experts.*.w1", "mlp.experts.*.gate_proj"],
    expertUp: ["ffn_up.*", "block_sparse_moe.experts.*.w3", "mlp.experts.*.up_proj"],
    expertDown: ["ffn_down.*", "block_sparse_moe.experts.*.w2", "mlp.experts.*.down_proj"],
    // All experts of a layer in one tensor each (transformers 5 in memory, without ".weight").
    expertsGateUp: ["", "block_sparse_moe.experts.gate_up_proj", "mlp.experts.gate_up_proj"],
    expertsDown: ["", "block_sparse_moe.experts.down_proj", "mlp.experts.down_proj"],
    routerBias: ["exp_probs_b", "mlp.gate.e_score_correction_bias", "mlp.moe_statics.e_score_correction_bias"],
    // An expert that sees every token, and the row whose sigmoid it is multiplied by.
    sharedGate: ["ffn_gate_shexp", "mlp.shared_experts.gate_proj", "mlp.shared_expert.gate_proj"],
    sharedUp: ["ffn_up_shexp", "mlp.shared_experts.up_proj", "mlp.shared_expert.up_proj"],
    sharedDown: ["ffn_down_shexp", "mlp.shared_experts.down_proj", "mlp.shared_expert.down_proj"],
    sharedScale: ["ffn_gate_inp_shexp", "mlp.shared_expert_gate"],
  },
} as const satisfies TensorNames;
