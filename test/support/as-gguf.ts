/**
 * A parity fixture as llama.cpp's converter would write it into a GGUF: other tensor names, other config keys, q and k of
 * Llama's kin permuted, Gemma's norms with their 1 added, GPT-2's matrices transposed, packed matrices taken apart, experts
 * stacked, rope factors as tensors. It lets the same recorded logits judge how the families read GGUF. What the converter
 * does is stated here on its own, not taken from src/models.
 */
import type { MetaObject, ModelArtifact } from "../../src/artifact/artifact.ts";
import { dequantize } from "../../src/artifact/dequantize.ts";
import { rwkvKeys, rwkvTensors } from "./as-gguf-rwkv.ts";
import { TensorMaker } from "./memory-artifact.ts";

export interface Values {
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

/** What differs from one architecture to another; unmarked ones are written as they are, under other names. */
interface Conversion {
  /** llama.cpp's name; the model_type where absent. */
  readonly arch?: string;
  /** Pairs of a head's rows in q and k lie side by side. */
  readonly permuted?: true;
  /** Norms have their 1 added. */
  readonly centred?: true;
  /** Hugging Face's matrices are held as [K, N] (Conv1D). */
  readonly transposed?: true;
  /** Groups of Mamba-2's mixer. */
  readonly groups?: number;
  /** Parts of a layer that are called differently from LAYER_NAMES. */
  readonly names?: Readonly<Record<string, string>>;
}

/** The norms that stand after a block, where an architecture has such. */
const POST_NORMS = {
  post_attention_layernorm: "post_attention_norm",
  post_feedforward_layernorm: "post_ffw_norm",
} as const;
const SANDWICHED = { ...POST_NORMS, pre_feedforward_layernorm: "ffn_norm" } as const;

/** By config.json's model_type. Those that llama.cpp doesn't know are missing. */
const CONVERSIONS: Readonly<Record<string, Conversion>> = {
  arcee: { permuted: true },
  bailing_moe: { arch: "bailingmoe", permuted: true },
  bailing_moe_v2: { arch: "bailingmoe2" },
  chatglm: {},
  jamba: {},
  nemotron_h: { groups: 2 },
  rwkv6: {},
  rwkv7: {},
  baichuan: { permuted: true },
  bloom: {},
  cohere: { arch: "command-r" },
  cohere2: {},
  deepseek_v2: { arch: "deepseek2" },
  deepseek_v3: { arch: "deepseek2" },
  ernie4_5: {},
  ernie4_5_moe: { arch: "ernie4_5-moe" },
  exaone4: { names: POST_NORMS },
  falcon: {},
  gemma: { centred: true },
  gemma2: { centred: true, names: SANDWICHED },
  gemma3_text: { arch: "gemma3", centred: true, names: SANDWICHED },
  glm: { arch: "chatglm" },
  falcon_mamba: { arch: "mamba" },
  glm4_moe: { arch: "glm4moe", names: { post_attention_layernorm: "post_attention_norm" } },
  glm4: { names: { post_self_attn_layernorm: "post_attention_norm", post_mlp_layernorm: "post_ffw_norm" } },
  gpt2: { transposed: true },
  gpt_oss: { arch: "gpt-oss", names: { post_attention_layernorm: "post_attention_norm" } },
  gpt_bigcode: { arch: "starcoder" },
  gpt_neox: { arch: "gptneox" },
  granite: { permuted: true },
  granitemoe: { permuted: true },
  granitemoehybrid: { arch: "granitehybrid", permuted: true },
  granitemoeshared: { arch: "granitemoe", permuted: true },
  hunyuan_v1_dense: { arch: "hunyuan-dense" },
  hunyuan_v1_moe: { arch: "hunyuan-moe" },
  internlm2: { permuted: true },
  lfm2: {},
  llama: { permuted: true },
  mamba: {},
  llama4_text: { arch: "llama4" },
  mpt: {},
  minicpm: { permuted: true },
  nemotron: { centred: true },
  olmo: { permuted: true },
  mistral: { arch: "llama", permuted: true },
  mixtral: { arch: "llama", permuted: true },
  olmo2: { names: POST_NORMS },
  olmo3: { arch: "olmo2", names: POST_NORMS },
  olmoe: {},
  phi: { arch: "phi2" },
  phi3: {},
  qwen2: {},
  qwen2_moe: { arch: "qwen2moe" },
  qwen3: {},
  qwen3_moe: { arch: "qwen3moe" },
  qwen3_next: { arch: "qwen3next", centred: true, names: { post_attention_layernorm: "post_attention_norm" } },
  seed_oss: { names: { post_attention_layernorm: "post_attention_norm" } },
  smollm3: { permuted: true },
  stablelm: {},
  starcoder2: {},
};

/** Hugging Face's name within a layer → GGUF's. */
const LAYER_NAMES: Readonly<Record<string, string>> = {
  input_layernorm: "attn_norm",
  post_attention_layernorm: "ffn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  "self_attn.q_norm": "attn_q_norm",
  "self_attn.k_norm": "attn_k_norm",
  "self_attn.query_layernorm": "attn_q_norm",
  "self_attn.key_layernorm": "attn_k_norm",
  "self_attn.qkv_proj": "attn_qkv",
  "self_attn.dense": "attn_output",
  "self_attn.q_layernorm": "attn_q_norm",
  "self_attn.k_layernorm": "attn_k_norm",
  "self_attn.out_proj": "attn_output",
  operator_norm: "attn_norm",
  "conv.in_proj": "shortconv.in_proj",
  "conv.conv": "shortconv.conv",
  "conv.out_proj": "shortconv.out_proj",
  "linear_attn.in_proj_qkvz": "ssm_in",
  "linear_attn.in_proj_ba": "ssm_ba",
  "linear_attn.conv1d": "ssm_conv1d",
  "linear_attn.norm": "ssm_norm",
  "linear_attn.out_proj": "ssm_out",
  pre_ff_layernorm: "ffn_norm",
  "mamba.x_proj": "ssm_x",
  "mamba.dt_proj": "ssm_dt",
  "mamba.dt_layernorm": "ssm_dt_norm",
  "mamba.b_layernorm": "ssm_b_norm",
  "mamba.c_layernorm": "ssm_c_norm",
  "mixer.q_proj": "attn_q",
  "mixer.k_proj": "attn_k",
  "mixer.v_proj": "attn_v",
  "mixer.o_proj": "attn_output",
  "mixer.up_proj": "ffn_up",
  "mixer.down_proj": "ffn_down",
  "mixer.gate": "ffn_gate_inp",
  "mixer.shared_experts.up_proj": "ffn_up_shexp",
  "mixer.shared_experts.down_proj": "ffn_down_shexp",
  "mixer.norm": "ssm_norm",
  "feed_forward.gate_proj": "ffn_gate",
  "feed_forward.up_proj": "ffn_up",
  "feed_forward.down_proj": "ffn_down",
  "attention.query_layernorm": "attn_q_norm",
  "attention.key_layernorm": "attn_k_norm",
  "mamba.in_proj": "ssm_in",
  "mamba.conv1d": "ssm_conv1d",
  "mamba.norm": "ssm_norm",
  "mamba.out_proj": "ssm_out",
  norm: "attn_norm",
  "mixer.in_proj": "ssm_in",
  "mixer.conv1d": "ssm_conv1d",
  "mixer.x_proj": "ssm_x",
  "mixer.dt_proj": "ssm_dt",
  "mixer.out_proj": "ssm_out",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
  "mlp.gate_up_proj": "ffn_up",
  "mlp.fc1": "ffn_up",
  "mlp.fc2": "ffn_down",
  "block_sparse_moe.gate": "ffn_gate_inp",
  "block_sparse_moe.router.layer": "ffn_gate_inp",
  "block_sparse_moe.output_linear": "ffn_down_exps",
  "shared_mlp.output_linear": "ffn_down_shexp",
  "mlp.gate": "ffn_gate_inp",
  "mlp.gate.wg": "ffn_gate_inp",
  "mlp.shared_mlp.gate_proj": "ffn_gate_shexp",
  "mlp.shared_mlp.up_proj": "ffn_up_shexp",
  "mlp.shared_mlp.down_proj": "ffn_down_shexp",
  "mlp.shared_expert.gate_proj": "ffn_gate_shexp",
  "mlp.shared_expert.up_proj": "ffn_up_shexp",
  "mlp.shared_expert.down_proj": "ffn_down_shexp",
  "mlp.shared_experts.gate_proj": "ffn_gate_shexp",
  "mlp.shared_experts.up_proj": "ffn_up_shexp",
  "mlp.shared_experts.down_proj": "ffn_down_shexp",
  "mlp.router": "ffn_gate_inp",
  "feed_forward.router": "ffn_gate_inp",
  "feed_forward.shared_expert.gate_proj": "ffn_gate_shexp",
  "feed_forward.shared_expert.up_proj": "ffn_up_shexp",
  "feed_forward.shared_expert.down_proj": "ffn_down_shexp",
  "self_attn.q_a_proj": "attn_q_a",
  "self_attn.q_a_layernorm": "attn_q_a_norm",
  "self_attn.q_b_proj": "attn_q_b",
  "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa",
  "self_attn.kv_a_layernorm": "attn_kv_a_norm",
  norm_1: "attn_norm",
  "attn.Wqkv": "attn_qkv",
  "attn.out_proj": "attn_output",
  norm_2: "ffn_norm",
  "ffn.up_proj": "ffn_up",
  "ffn.down_proj": "ffn_down",
  ln_1: "attn_norm",
  "attn.c_attn": "attn_qkv",
  "attn.c_proj": "attn_output",
  ln_2: "ffn_norm",
  "mlp.c_fc": "ffn_up",
  "mlp.c_proj": "ffn_down",
  ln_mlp: "attn_norm",
  ln_attn: "attn_norm_2",
  "self_attention.dense": "attn_output",
  "attention.dense": "attn_output",
  "mlp.dense_h_to_4h": "ffn_up",
  "mlp.dense_4h_to_h": "ffn_down",
  attention_norm: "attn_norm",
  ffn_norm: "ffn_norm",
  "attention.wo": "attn_output",
  "feed_forward.w1": "ffn_gate",
  "feed_forward.w3": "ffn_up",
  "feed_forward.w2": "ffn_down",
};
const MODEL_NAMES: Readonly<Record<string, string>> = {
  "model.embed_tokens": "token_embd",
  "model.word_embeddings": "token_embd",
  "transformer.embedding.word_embeddings": "token_embd",
  "transformer.encoder.final_layernorm": "output_norm",
  "transformer.output_layer": "output",
  "model.tok_embeddings": "token_embd",
  "transformer.wte": "token_embd",
  "transformer.word_embeddings": "token_embd",
  "gpt_neox.embed_in": "token_embd",
  "transformer.wpe": "position_embd",
  "transformer.word_embeddings_layernorm": "token_embd_norm",
  "transformer.norm_f": "output_norm",
  "backbone.embeddings": "token_embd",
  "backbone.norm_f": "output_norm",
  "model.embedding_norm": "token_embd_norm",
  "model.norm": "output_norm",
  "model.final_layernorm": "output_norm",
  "transformer.ln_f": "output_norm",
  "gpt_neox.final_layer_norm": "output_norm",
  lm_head: "output",
  output: "output",
  embed_out: "output",
};
const LAYER =
  /^(?:model\.layers|transformer\.encoder\.layers|backbone\.layers|transformer\.h|transformer\.blocks|gpt_neox\.layers)\.(\d+)\.(.*)$/;
const EXPERT =
  /^(?:block_sparse_moe|mlp|mixer|feed_forward)\.experts\.(\d+)\.(w1|w2|w3|gate_proj|up_proj|down_proj)\.weight$/;
const EXPERT_NAMES: Readonly<Record<string, string>> = {
  w1: "ffn_gate_exps",
  w2: "ffn_down_exps",
  w3: "ffn_up_exps",
  gate_proj: "ffn_gate_exps",
  up_proj: "ffn_up_exps",
  down_proj: "ffn_down_exps",
};

interface HfConfig {
  readonly [key: string]: unknown;
}

interface Sizes {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/** Has llama.cpp an architecture for a model of this config? The oldest Falcon's serial blocks it doesn't know. */
export function hasGguf(config: MetaObject): boolean {
  const type = config["model_type"];
  return typeof type === "string" && type in CONVERSIONS && config["parallel_attn"] !== false;
}

export async function asGguf(artifact: ModelArtifact): Promise<ModelArtifact> {
  const hf: HfConfig = artifact.config.values;
  const conversion = CONVERSIONS[artifact.config.architecture];
  if (conversion === undefined) throw new Error(`llama.cpp has no "${artifact.config.architecture}"`);
  const mixedNemotron =
    artifact.config.architecture === "nemotron_h" && [hf["layers_block_type"]].flat().includes("moe");
  const arch = mixedNemotron ? "nemotron_h_moe" : (conversion.arch ?? artifact.config.architecture);
  const number = (...keys: string[]): number =>
    keys.map((key) => hf[key]).find((value) => typeof value === "number") ?? 0;
  const heads = number("num_attention_heads", "n_head", "n_heads");
  const single = hf["multi_query"] === true && hf["new_decoder_architecture"] !== true;
  const sizes: Sizes = {
    heads,
    kvHeads: single ? 1 : number("num_kv_heads", "num_key_value_heads", "multi_query_group_num") || heads,
    headDim: number("head_dim", "kv_channels") || number("hidden_size", "n_embd", "d_model") / heads,
  };
  const maker = new TensorMaker(0);
  if (arch.startsWith("rwkv")) {
    for (const [name, { shape, values }] of rwkvTensors(await readValues(artifact)))
      maker.values(name, "F32", shape, values);
    const config = { format: "gguf", architecture: arch, values: rwkvKeys(arch, hf) } as const;
    return { ...maker.artifact(), name: `${artifact.name} as GGUF`, config };
  }
  const write = (name: string, { shape, values }: Values): void => void maker.values(name, "F32", shape, values);
  const stacks = new Map<string, Map<number, Values>>();
  for (const [name, tensor] of await readValues(artifact)) {
    const layer = LAYER.exec(name);
    const rest = layer?.[2] ?? name;
    const expert = EXPERT.exec(rest);
    if (layer !== null && expert !== null) {
      const key = `blk.${layer[1]}.${EXPERT_NAMES[expert[2] ?? ""]}.weight`;
      stacks.set(key, (stacks.get(key) ?? new Map<number, Values>()).set(Number(expert[1]), tensor));
      continue;
    }
    const [, part = "", suffix = ""] = /^(.*)\.(weight|bias)$/.exec(rest) ?? [];
    const isNorm =
      conversion.centred === true && suffix === "weight" && part.includes("norm") && part !== "linear_attn.norm";
    if (layer === null) {
      write(`${MODEL_NAMES[part]}.${suffix}`, isNorm ? plusOne(tensor) : tensor);
      continue;
    }
    const unnamed = layer === null ? [] : unnamedParts(rest, tensor, hf);
    if (unnamed.length > 0) {
      for (const [own, values] of unnamed) write(`blk.${layer?.[1]}.${own}`, values);
      continue;
    }
    const vector = /\.(A_log|D|dt_bias)$/.exec(rest)?.[1];
    if (vector !== undefined) {
      // Of Mamba-2 a head's number stands in a row of its own.
      const isSecond = !rest.startsWith("linear_attn") && arch !== "mamba" && arch !== "jamba";
      const isRows = isSecond && vector !== "dt_bias" && tensor.shape.length === 1;
      const rows = isRows ? { ...tensor, shape: [...tensor.shape, 1] } : tensor;
      write(...recurrentVector(`blk.${layer[1]}.`, vector, rows));
      continue;
    }
    if (rest.endsWith("e_score_correction_bias") || rest.endsWith("expert_bias")) {
      write(`blk.${layer[1]}.exp_probs_b.bias`, { shape: [tensor.values.length], values: tensor.values });
      continue;
    }
    for (const [own, values] of layerParts(part, isNorm ? plusOne(tensor) : tensor, conversion, sizes)) {
      write(`blk.${layer[1]}.${own}.${suffix}`, values);
    }
  }
  for (const [name, experts] of stacks) {
    const inOrder = Array.from({ length: experts.size }, (_, e) => present(experts.get(e)));
    write(name, { shape: [experts.size, ...present(inOrder[0]).shape], values: join(inOrder).values });
  }
  const values = { ...ggufKeys(arch, hf, number, sizes), ...ropeKeys(arch, hf, sizes.headDim, maker) };
  return {
    ...maker.artifact(),
    name: `${artifact.name} as GGUF`,
    config: { format: "gguf", architecture: arch, values },
  };
}

function present(tensor: Values | undefined): Values {
  if (tensor === undefined) throw new Error("a tensor of a packed or stacked matrix is missing");
  return tensor;
}

/** Tensors of a layer that have no suffix, or are taken apart by the config. */
function unnamedParts(rest: string, tensor: Values, hf: HfConfig): [string, Values][] {
  const count = (key: string): number => Number(hf[key] ?? 0);
  switch (rest) {
    case "self_attn.sinks":
      return [["attn_sinks.weight", tensor]];
    case "self_attn.kv_b_proj.weight": {
      const [nope, value] = [count("qk_nope_head_dim"), count("v_head_dim")];
      const heads = Array.from({ length: count("num_attention_heads") }, (_, h) => h * (nope + value));
      return [
        ["attn_k_b.weight", stack(heads.map((row) => transposed(rowsOf(tensor, row, nope))))],
        ["attn_v_b.weight", stack(heads.map((row) => rowsOf(tensor, row + nope, value)))],
      ];
    }
    case "mlp.experts.gate_up_proj":
    case "feed_forward.experts.gate_up_proj": {
      const experts = matricesOf(tensor).map(transposed);
      const halves = rest.startsWith("mlp") ? pairsOfRows : halvesOfRows;
      return [
        ["ffn_gate_exps.weight", stack(experts.map((expert) => halves(expert)[0]))],
        ["ffn_up_exps.weight", stack(experts.map((expert) => halves(expert)[1]))],
      ];
    }
    case "mlp.experts.down_proj":
    case "feed_forward.experts.down_proj":
      return [["ffn_down_exps.weight", stack(matricesOf(tensor).map(transposed))]];
    case "mlp.experts.gate_up_proj_bias": {
      const [experts = 0, columns = 0] = tensor.shape;
      const pick = (odd: number): Values => ({
        shape: [experts, columns / 2],
        values: tensor.values.filter((_, i) => i % 2 === odd),
      });
      return [
        ["ffn_gate_exps.bias", pick(0)],
        ["ffn_up_exps.bias", pick(1)],
      ];
    }
    case "mlp.experts.down_proj_bias":
      return [["ffn_down_exps.bias", tensor]];
    default:
      return [];
  }
}

function matricesOf({ shape, values }: Values): Values[] {
  const [count = 0, ...one] = shape;
  const size = values.length / count;
  return Array.from({ length: count }, (_, i) => ({ shape: one, values: values.subarray(i * size, (i + 1) * size) }));
}

function stack(matrices: readonly Values[]): Values {
  return { shape: [matrices.length, ...present(matrices[0]).shape], values: join(matrices).values };
}

function halvesOfRows(tensor: Values): [Values, Values] {
  const half = (tensor.shape[0] ?? 0) / 2;
  return [rowsOf(tensor, 0, half), rowsOf(tensor, half, half)];
}

/** Every second row, and the others. */
function pairsOfRows(tensor: Values): [Values, Values] {
  const rows = Array.from({ length: tensor.shape[0] ?? 0 }, (_, i) => rowsOf(tensor, i, 1));
  return [join(rows.filter((_, i) => i % 2 === 0)), join(rows.filter((_, i) => i % 2 === 1))];
}

/** A vector of a recurrent layer: −e^A for A's logarithm; a head's numbers stand in rows of one. */
function recurrentVector(prefix: string, name: string, { shape, values }: Values): [string, Values] {
  if (name === "dt_bias") return [`${prefix}ssm_dt.bias`, { shape, values }];
  if (name === "D") return [`${prefix}ssm_d`, { shape, values }];
  return [`${prefix}ssm_a`, { shape, values: values.map((x) => -Math.exp(x)) }];
}

/** What becomes of one tensor of a layer: [GGUF's name, its values]. */
function layerParts(part: string, tensor: Values, conversion: Conversion, sizes: Sizes): [string, Values][] {
  const { heads, kvHeads, headDim } = sizes;
  const own = conversion.names?.[part] ?? LAYER_NAMES[part] ?? "";
  const paired = (values: Values): Values => (conversion.permuted ? permuteHeads(values, headDim) : values);
  switch (part) {
    case "self_attn.q_proj":
    case "self_attn.k_proj":
      return [[own, paired(tensor)]];
    case "conv.conv":
    case "linear_attn.conv1d":
    case "mamba.conv1d":
    case "mixer.conv1d": {
      // Without the dimension of one.
      const [channels = 0, ...rest] = tensor.shape;
      return [[own, { shape: [channels, ...rest.slice(1)], values: tensor.values }]];
    }
    case "mixer.norm": {
      // A norm of Mamba-2's mixer is stored group by group.
      const groups = conversion.groups ?? 1;
      return [[own, { shape: [groups, tensor.values.length / groups], values: tensor.values }]];
    }
    case "mlp.shared_expert_gate":
      return [["ffn_gate_inp_shexp", { shape: [tensor.values.length], values: tensor.values }]];
    case "attention.query_key_value":
      if (conversion.arch?.startsWith("bailing") === true) return plainQkv(tensor, sizes, conversion);
      return [["attn_qkv", join(takeApart(tensor, sizes))]];
    case "self_attention.query_key_value": {
      if (conversion === CONVERSIONS["chatglm"]) return [["attn_qkv", tensor]];
      const [q, k, v] = takeApart(tensor, sizes);
      return [["attn_qkv", join([q, k, v])]];
    }
    case "attention.wqkv": {
      const [q, k, v] = takeApart(tensor, sizes);
      return [
        ["attn_q", paired(q)],
        ["attn_k", paired(k)],
        ["attn_v", v],
      ];
    }
    case "self_attn.W_pack": {
      const [q, kv] = [heads * headDim, kvHeads * headDim];
      return [
        ["attn_q", paired(rowsOf(tensor, 0, q))],
        ["attn_k", paired(rowsOf(tensor, q, kv))],
        ["attn_v", rowsOf(tensor, q + kv, kv)],
      ];
    }
    case "block_sparse_moe.input_linear":
    case "shared_mlp.input_linear": {
      const kind = part.startsWith("shared") ? "shexp" : "exps";
      return [
        [`ffn_gate_${kind}`, halfOfRows(tensor, 0)],
        [`ffn_up_${kind}`, halfOfRows(tensor, 1)],
      ];
    }
    default: {
      if (own === "") throw new Error(`GGUF has no name for "${part}"`);
      if (conversion.transposed && tensor.shape.length === 2) return [[own, transposed(tensor)]];
      return [[own, tensor]];
    }
  }
}

/** Ling's queries, keys and values, which lie one after the other. */
function plainQkv(tensor: Values, sizes: Sizes, conversion: Conversion): [string, Values][] {
  if (conversion.permuted !== true) return [["attn_qkv", tensor]];
  const [q, kv] = [sizes.heads * sizes.headDim, sizes.kvHeads * sizes.headDim];
  return [
    ["attn_q", permuteHeads(rowsOf(tensor, 0, q), sizes.headDim)],
    ["attn_k", permuteHeads(rowsOf(tensor, q, kv), sizes.headDim)],
    ["attn_v", rowsOf(tensor, q + kv, kv)],
  ];
}

async function readValues(artifact: ModelArtifact): Promise<Map<string, Values>> {
  const all = new Map<string, Values>();
  for (const { name, dtype, shape, source, offset, byteLength } of artifact.tensors.values()) {
    const values = new Float32Array(shape.reduce((product, n) => product * n, 1));
    dequantize(dtype, await source.read(offset, byteLength), values);
    all.set(name, { shape, values });
  }
  return all;
}

/** Columns of a matrix; a vector counts as one column. */
function columnsOf({ shape }: Values): number {
  return shape.length === 1 ? 1 : (shape.at(-1) ?? 1);
}

function rowsOf(tensor: Values, start: number, count: number): Values {
  const columns = columnsOf(tensor);
  const values = tensor.values.subarray(start * columns, (start + count) * columns);
  return { shape: [count, ...tensor.shape.slice(1)], values };
}

/** Tensors of equal columns, one after another. */
function join(tensors: readonly Values[]): Values {
  const first = present(tensors[0]);
  const values = new Float32Array(tensors.reduce((sum, tensor) => sum + tensor.values.length, 0));
  let at = 0;
  for (const tensor of tensors) {
    values.set(tensor.values, at);
    at += tensor.values.length;
  }
  return { shape: [values.length / columnsOf(first), ...first.shape.slice(1)], values };
}

/** [E, 2F, d] → [E, F, d]: the first or second half of each expert's rows; [2F, d] alike. */
function halfOfRows(tensor: Values, half: 0 | 1): Values {
  const rows = tensor.shape.at(-2) ?? 0;
  const flat: Values = { shape: [tensor.values.length / columnsOf(tensor), columnsOf(tensor)], values: tensor.values };
  const experts = Array.from({ length: (flat.shape[0] ?? 0) / rows }, (_, e) =>
    rowsOf(flat, e * rows + (half * rows) / 2, rows / 2),
  );
  return { shape: [...tensor.shape.slice(0, -2), rows / 2, columnsOf(tensor)], values: join(experts).values };
}

/** For each key/value head its queries' rows, its key's, its value's → all queries, all keys, all values. */
function takeApart(tensor: Values, { heads, kvHeads, headDim }: Sizes): [q: Values, k: Values, v: Values] {
  const queries = heads / kvHeads;
  const pick = (first: number, count: number): Values =>
    join(
      Array.from({ length: kvHeads }, (_, group) =>
        rowsOf(tensor, (group * (queries + 2) + first) * headDim, count * headDim),
      ),
    );
  return [pick(0, queries), pick(queries, 1), pick(queries + 1, 1)];
}

/** Rows (h, half, i) of each head become (h, i, half). */
function permuteHeads(tensor: Values, headDim: number): Values {
  const { shape, values } = tensor;
  const columns = columnsOf(tensor);
  const out = new Float32Array(values.length);
  const n = headDim / 2;
  for (let row = 0; row < values.length / columns; row++) {
    const head = row - (row % headDim);
    const target = head + 2 * (row % n) + Math.floor((row % headDim) / n);
    out.set(values.subarray(row * columns, (row + 1) * columns), target * columns);
  }
  return { shape, values: out };
}

function plusOne({ shape, values }: Values): Values {
  return { shape, values: values.map((x) => x + 1) };
}

function transposed({ shape, values }: Values): Values {
  const [k = 1, n = 1] = shape;
  const out = new Float32Array(values.length);
  for (let i = 0; i < k; i++) for (let j = 0; j < n; j++) out[j * k + i] = values[i * n + j] ?? 0;
  return { shape: [n, k], values: out };
}

/** For the others the converter writes no window, and llama.cpp has none. */
const WINDOWED: ReadonlySet<string> = new Set(["cohere2", "gpt-oss", "exaone4", "gemma2", "gemma3", "olmo2", "phi3"]);

function ggufKeys(arch: string, hf: HfConfig, number: (...keys: string[]) => number, sizes: Sizes): MetaObject {
  const width = number("hidden_size", "n_embd", "d_model");
  const kinds: unknown = hf["layers_block_type"];
  const blocks: readonly unknown[] = Array.isArray(kinds) ? kinds : [];
  const layers = blocks.length || number("num_hidden_layers", "n_layer", "n_layers", "num_layers");
  const ling2 = arch === "bailingmoe2";
  const { heads, headDim } = sizes;
  const latent = number("kv_lora_rank");
  const kvHeads = latent > 0 ? 1 : sizes.kvHeads;
  const [llama4, gptoss, third] = [arch === "llama4", arch === "gpt-oss", hf["model_type"] === "deepseek_v3"];
  const minicpm = arch === "minicpm";
  const hunyuan = arch === "hunyuan-moe";
  const keys: Record<string, number> = {
    block_count: layers,
    embedding_length: width,
    "attention.head_count": heads,
    "attention.head_count_kv": kvHeads,
    "attention.key_length": latent > 0 ? latent + number("qk_rope_head_dim") : headDim,
    "attention.value_length": latent || headDim,
    "attention.key_length_mla": number("qk_head_dim"),
    "attention.value_length_mla": number("v_head_dim"),
    "attention.kv_lora_rank": latent,
    "attention.q_lora_rank": number("q_lora_rank"),
    "attention.max_alibi_bias": arch === "mpt" ? 8 : 0,
    feed_forward_length:
      number(llama4 ? "intermediate_size_mlp" : "intermediate_size", "ffn_hidden_size", "n_inner") || 4 * width,
    "attention.layer_norm_rms_epsilon":
      number("rms_norm_eps", "layernorm_epsilon") ||
      (arch === "lfm2" ? number("norm_eps") : arch === "mamba" ? number("layer_norm_epsilon") : 0) ||
      (blocks.length > 0 ? number("layer_norm_epsilon") : 0),
    "attention.layer_norm_epsilon": number("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps") || 1e-5,
    context_length: number("max_position_embeddings", "n_positions", "max_seq_len", "seq_length") || 2048,
    "attention.sliding_window": WINDOWED.has(arch) ? number("sliding_window") : 0,
    expert_count:
      arch === "nemotron_h" ? 0 : number("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"),
    expert_used_count: arch === "nemotron_h" ? 0 : number("num_experts_per_tok", "moe_topk", "moe_k"),
    expert_shared_count: number("n_shared_experts", "moe_num_shared_experts", "num_shared_experts"),
    leading_dense_block_count: number("first_k_dense_replace", "moe_layer_start_index"),
    interleave_moe_layer_step: number("moe_layer_interval", "interleave_moe_layer_step"),
    expert_weights_scale: number("routed_scaling_factor") || (arch === "bailingmoe" ? 1 : 0),
    expert_gating_func: arch === "glm4moe" || arch === "nemotron_h_moe" || ling2 || third ? 2 : latent > 0 ? 1 : 0,
    expert_group_count: arch === "nemotron_h" ? 0 : number("n_group"),
    expert_group_used_count: arch === "nemotron_h" ? 0 : number("topk_group"),
    "attention.clamp_kqv": number("clip_qkv"),
    // Hunyuan's experts are as wide as its MLPs, whatever moe_intermediate_size says.
    expert_feed_forward_length: number(hunyuan || llama4 || gptoss ? "intermediate_size" : "moe_intermediate_size"),
    expert_shared_feed_forward_length: hunyuan
      ? number("intermediate_size")
      : number("shared_intermediate_size", "shared_expert_intermediate_size") ||
        number("moe_shared_expert_intermediate_size") ||
        number("moe_num_shared_experts") * number("moe_intermediate_size"),
    "ssm.conv_kernel": number("conv_kernel", "mamba_d_conv", "linear_conv_kernel_dim"),
    "ssm.state_size": number("state_size", "mamba_d_state", "linear_key_head_dim", "ssm_state_size"),
    "ssm.time_step_rank": number(
      "time_step_rank",
      "mamba_n_heads",
      "linear_num_value_heads",
      "mamba_dt_rank",
      "mamba_num_heads",
    ),
    "ssm.group_count": number("mamba_n_groups", "linear_num_key_heads", "n_groups"),
    "ssm.inner_size":
      arch === "mamba"
        ? number("intermediate_size")
        : arch === "jamba"
          ? number("mamba_expand") * width
          : number("mamba_num_heads") * number("mamba_head_dim") +
            number("mamba_n_heads") * number("mamba_d_head") +
            number("linear_num_value_heads") * number("linear_value_head_dim"),
    "shortconv.l_cache": number("conv_L_cache"),
    attn_logit_softcapping: number("attn_logit_softcapping"),
    final_logit_softcapping: number("final_logit_softcapping"),
    embedding_scale: number("embedding_multiplier", "scale_emb"),
    residual_scale: minicpm ? number("scale_depth") / Math.sqrt(layers) : number("residual_multiplier"),
    "attention.scale": number("attention_multiplier"),
    logit_scale: minicpm ? width / number("dim_model_base") : number("logits_scaling", "logit_scale"),
  };
  const set: [string, number | boolean | boolean[] | number[]][] = Object.entries(keys).filter(
    ([, value]) => value !== 0 && Number.isFinite(value),
  );
  const types: unknown = hf["layer_types"];
  if (arch === "exaone4" && Array.isArray(types))
    set.push(["attention.sliding_window_pattern", types.map((type) => type === "sliding_attention")]);
  if (arch === "jamba") {
    const [period, offset] = [number("attn_layer_period"), number("attn_layer_offset")];
    const all = Array.from({ length: layers }, (_, i) => (i % period === offset ? kvHeads : 0));
    set.push(["attention.head_count_kv", all]);
  }
  if (blocks.length > 0) {
    set.push(["attention.head_count_kv", blocks.map((kind) => (kind === "full_attention" ? kvHeads : 0))]);
    set.push([
      "feed_forward_length",
      blocks.map((kind) => number({ mlp: "intermediate_size", moe: "moe_intermediate_size" }[String(kind)] ?? "")),
    ]);
  }
  if (arch === "chatglm" && hf["rope_parameters"] === undefined) set.push(["rope.dimension_count", headDim / 2]);
  if (ling2) set.push(["rope.dimension_count", headDim * number("partial_rotary_factor")]);
  if (arch === "bailingmoe") set.push(["rope.dimension_count", headDim]);
  if (arch === "glm4moe" || arch === "nemotron_h_moe" || arch.startsWith("bailing") || third)
    set.push(["expert_weights_norm", hf["norm_topk_prob"] === true]);
  if (hf["model_type"] === "falcon_mamba") set.push(["ssm.dt_b_c_rms", true]);
  if (arch === "granitehybrid") set.push(["rope.scaling.finetuned", hf["position_embedding_type"] === "rope"]);
  if ((arch === "lfm2" || arch === "granitehybrid") && Array.isArray(types))
    set.push(["attention.head_count_kv", types.map((type) => (type === "full_attention" ? kvHeads : 0))]);
  const parallel = hf["use_parallel_residual"];
  if (typeof parallel === "boolean") set.push(["use_parallel_residual", parallel]);
  return Object.fromEntries(set.map(([key, value]) => [`${arch}.${key}`, value]));
}

interface RopeParameters {
  readonly rope_theta: number;
  readonly rope_type: string;
  readonly partial_rotary_factor?: number;
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
    partial_rotary_factor: share = 1,
  } = rope;
  const turned = Math.floor(headDim * share);
  const keys: Record<string, number | string> = {
    [`${arch}.rope.freq_base`]: rope.rope_theta,
    [`${arch}.rope.dimension_count`]: turned,
  };
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
    const grown = Number(hf["max_position_embeddings"]) / original;
    keys[`${arch}.rope.scaling.attn_factor`] = Math.sqrt(1 + Math.log(grown) / Math.log(original));
    maker.values("rope_factors_long.weight", "F32", [long.length], long);
    maker.values("rope_factors_short.weight", "F32", [short.length], short);
  }
  return keys;
}
