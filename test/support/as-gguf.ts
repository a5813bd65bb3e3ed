/**
 * A parity fixture as llama.cpp's converter would write it into a GGUF: other tensor names, other config keys, q and k
 * of Llama permuted, Gemma's norms with their 1 added, GPT-2's matrices transposed, experts stacked, rope factors as
 * tensors. It lets the same recorded logits judge how the families read GGUF.
 */
import type { MetaObject, ModelArtifact } from "../../src/artifact/artifact.ts";
import { dequantize } from "../../src/artifact/dequantize.ts";
import { TensorMaker } from "./memory-artifact.ts";

interface Values {
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

/** [Hugging Face's name within a layer, GGUF's]. */
const LAYER_NAMES: Readonly<Record<string, string>> = {
  input_layernorm: "attn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  "self_attn.q_norm": "attn_q_norm",
  "self_attn.k_norm": "attn_k_norm",
  "self_attn.qkv_proj": "attn_qkv",
  post_attention_layernorm: "ffn_norm",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
  "mlp.gate_up_proj": "ffn_up",
  "block_sparse_moe.gate": "ffn_gate_inp",
  "mlp.gate": "ffn_gate_inp",
  ln_1: "attn_norm",
  "attn.c_attn": "attn_qkv",
  "attn.c_proj": "attn_output",
  ln_2: "ffn_norm",
  "mlp.c_fc": "ffn_up",
  "mlp.c_proj": "ffn_down",
};
const GEMMA_LAYER_NAMES: Readonly<Record<string, string>> = {
  ...LAYER_NAMES,
  post_attention_layernorm: "post_attention_norm",
  pre_feedforward_layernorm: "ffn_norm",
  post_feedforward_layernorm: "post_ffw_norm",
};
const MODEL_NAMES: Readonly<Record<string, string>> = {
  "model.embed_tokens": "token_embd",
  "model.norm": "output_norm",
  lm_head: "output",
  "transformer.wte": "token_embd",
  "transformer.wpe": "position_embd",
  "transformer.ln_f": "output_norm",
};
const EXPERT = /^(?:block_sparse_moe|mlp)\.experts\.(\d+)\.(w1|w2|w3|gate_proj|up_proj|down_proj)\.weight$/;
const EXPERT_NAMES: Readonly<Record<string, string>> = {
  w1: "ffn_gate_exps",
  w2: "ffn_down_exps",
  w3: "ffn_up_exps",
  gate_proj: "ffn_gate_exps",
  up_proj: "ffn_up_exps",
  down_proj: "ffn_down_exps",
};

async function readValues(artifact: ModelArtifact): Promise<Map<string, Values>> {
  const all = new Map<string, Values>();
  for (const { name, dtype, shape, source, offset, byteLength } of artifact.tensors.values()) {
    const values = new Float32Array(shape.reduce((product, n) => product * n, 1));
    dequantize(dtype, await source.read(offset, byteLength), values);
    all.set(name, { shape, values });
  }
  return all;
}

/** Rows (h, half, i) of each head become (h, i, half). */
function permuteHeads({ shape, values }: Values, headDim: number): Values {
  const columns = shape[1] ?? 1;
  const out = new Float32Array(values.length);
  const n = headDim / 2;
  for (let row = 0; row < values.length / columns; row++) {
    const head = row - (row % headDim);
    const target = head + 2 * (row % n) + Math.floor((row % headDim) / n);
    out.set(values.subarray(row * columns, (row + 1) * columns), target * columns);
  }
  return { shape, values: out };
}

function transposed({ shape, values }: Values): Values {
  const [k = 1, n = 1] = shape;
  const out = new Float32Array(values.length);
  for (let i = 0; i < k; i++) for (let j = 0; j < n; j++) out[j * k + i] = values[i * n + j] ?? 0;
  return { shape: [n, k], values: out };
}

interface HfConfig {
  readonly [key: string]: unknown;
}

export async function asGguf(artifact: ModelArtifact): Promise<ModelArtifact> {
  const hf: HfConfig = artifact.config.values;
  const { architecture } = artifact.config;
  const arch =
    { mistral: "llama", mixtral: "llama", gemma3_text: "gemma3", qwen3_moe: "qwen3moe" }[architecture] ?? architecture;
  const number = (...keys: string[]): number =>
    keys.map((key) => hf[key]).find((value) => typeof value === "number") ?? 0;
  const headDim = number("head_dim") || number("hidden_size", "n_embd") / number("num_attention_heads", "n_head");
  const maker = new TensorMaker(0);
  const stacks = new Map<string, Map<number, Values>>();
  for (const [name, tensor] of await readValues(artifact)) {
    const layer = /^(?:model\.layers|transformer\.h)\.(\d+)\.(.*)$/.exec(name);
    const rest = layer?.[2] ?? name;
    const expert = EXPERT.exec(rest);
    if (layer !== null && expert !== null) {
      const key = `blk.${layer[1]}.${EXPERT_NAMES[expert[2] ?? ""]}.weight`;
      stacks.set(key, (stacks.get(key) ?? new Map<number, Values>()).set(Number(expert[1]), tensor));
      continue;
    }
    const [, part = "", suffix = ""] = /^(.*)\.(weight|bias)$/.exec(rest) ?? [];
    const own = (arch === "gemma3" ? GEMMA_LAYER_NAMES : LAYER_NAMES)[part];
    const target = layer === null ? `${MODEL_NAMES[part]}.${suffix}` : `blk.${layer[1]}.${own}.${suffix}`;
    let out = tensor;
    if (arch === "llama" && /[qk]_proj/.test(part)) out = permuteHeads(tensor, headDim);
    if (arch === "gemma3" && part.includes("norm")) out = { ...tensor, values: tensor.values.map((x) => x + 1) };
    if (arch === "gpt2" && layer !== null && tensor.shape.length === 2) out = transposed(tensor);
    maker.values(target, "F32", out.shape, Array.from(out.values));
  }
  for (const [name, experts] of stacks) {
    const first = experts.get(0);
    const values = Array.from({ length: experts.size }, (_, e) => Array.from(experts.get(e)?.values ?? [])).flat();
    maker.values(name, "F32", [experts.size, ...(first?.shape ?? [])], values);
  }
  const values = {
    ...ggufKeys(arch, number, headDim),
    ...ropeKeys(arch, hf, headDim, maker),
  };
  return {
    ...maker.artifact(),
    name: `${artifact.name} as GGUF`,
    config: { format: "gguf", architecture: arch, values },
  };
}

function ggufKeys(arch: string, number: (...keys: string[]) => number, headDim: number): MetaObject {
  const keys: Record<string, number> = {
    block_count: number("num_hidden_layers", "n_layer"),
    embedding_length: number("hidden_size", "n_embd"),
    "attention.head_count": number("num_attention_heads", "n_head"),
    "attention.head_count_kv": number("num_key_value_heads", "n_head"),
    "attention.key_length": headDim,
    "attention.value_length": headDim,
    feed_forward_length: number("intermediate_size", "n_inner"),
    "attention.layer_norm_rms_epsilon": number("rms_norm_eps"),
    "attention.layer_norm_epsilon": number("layer_norm_epsilon"),
    context_length: number("max_position_embeddings", "n_positions"),
    // The converter writes no window for families that can switch it off.
    "attention.sliding_window": arch.startsWith("qwen") ? 0 : number("sliding_window"),
    expert_count: number("num_local_experts", "num_experts"),
    expert_used_count: number("num_experts_per_tok"),
    expert_feed_forward_length: number("moe_intermediate_size"),
    final_logit_softcapping: number("final_logit_softcapping"),
  };
  const set = Object.entries(keys).filter(([, value]) => value !== 0);
  return Object.fromEntries(set.map(([key, value]) => [`${arch}.${key}`, value]));
}

interface RopeParameters {
  readonly rope_theta: number;
  readonly rope_type: string;
  readonly factor?: number;
  readonly original_max_position_embeddings?: number;
  readonly low_freq_factor?: number;
  readonly high_freq_factor?: number;
  readonly long_factor?: readonly number[];
  readonly short_factor?: readonly number[];
}

/** The keys of a rope scaling; Llama 3's and LongRoPE's factors become tensors, as the converter makes them. */
function ropeKeys(arch: string, hf: HfConfig, headDim: number, maker: TensorMaker): MetaObject {
  const all = hf["rope_parameters"] as (RopeParameters & { readonly full_attention?: RopeParameters }) | undefined;
  const rope = all?.full_attention ?? all;
  if (rope === undefined) return {};
  const {
    factor = 1,
    original_max_position_embeddings: original = 0,
    low_freq_factor: low = 1,
    high_freq_factor: high = 4,
  } = rope;
  const keys: Record<string, number | string> = { [`${arch}.rope.freq_base`]: rope.rope_theta };
  if (rope.rope_type === "linear" || rope.rope_type === "yarn") {
    keys[`${arch}.rope.scaling.type`] = rope.rope_type;
    keys[`${arch}.rope.scaling.factor`] = factor;
  }
  if (original > 0) keys[`${arch}.rope.scaling.original_context_length`] = original;
  if (rope.rope_type === "llama3") {
    const factors = Array.from({ length: headDim / 2 }, (_, i) => {
      const wavelength = 2 * Math.PI * rope.rope_theta ** ((2 * i) / headDim);
      if (wavelength < original / high) return 1;
      if (wavelength > original / low) return factor;
      const smooth = (original / wavelength - low) / (high - low);
      return 1 / ((1 - smooth) / factor + smooth);
    });
    maker.values("rope_freqs.weight", "F32", [factors.length], factors);
  }
  const { long_factor: long, short_factor: short } = rope;
  if (long !== undefined && short !== undefined) {
    maker.values("rope_factors_long.weight", "F32", [long.length], long);
    maker.values("rope_factors_short.weight", "F32", [short.length], short);
  }
  return keys;
}
