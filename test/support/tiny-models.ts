/**
 * Tiny models with random weights, in memory, one of each family and in any weight format: small enough for
 * thousands of steps, wide enough for every kernel (K ≥ 512). GGUF's vocabulary of names and keys.
 */
import type { MetaValue, ModelArtifact, Tensor } from "../../src/artifact/artifact.ts";
import { memorySource } from "../../src/artifact/byte-source.ts";
import { dequantize } from "../../src/artifact/dequantize.ts";
import { type DType, DTYPES } from "../../src/artifact/dtype.ts";
import { numberToHalf } from "../../src/artifact/half.ts";
import { Random } from "./random.ts";

export const TINY_FAMILIES = ["llama", "qwen2", "qwen3", "gemma3", "phi3", "gpt2", "mixtral", "qwen3moe"] as const;
export type TinyFamily = (typeof TINY_FAMILIES)[number];

export const TINY_VOCAB = 512;

const SIZE = {
  layers: 2,
  width: 512,
  heads: 8,
  kvHeads: 2,
  headDim: 64,
  hidden: 768,
  experts: 4,
  expertsUsed: 2,
  expertHidden: 256,
  vocab: TINY_VOCAB,
  context: 1024,
  /** Gemma-3's. */
  window: 100,
};
export type TinySize = Readonly<typeof SIZE>;

/** `dtype` is that of all matrices; norms, biases and routers are F32. */
export function tinyModel(family: TinyFamily, dtype: DType, seed: number, size: Partial<TinySize> = {}): ModelArtifact {
  const { layers, width, heads, kvHeads, headDim, hidden, experts, expertsUsed, expertHidden } = { ...SIZE, ...size };
  const { vocab, context, window } = { ...SIZE, ...size };
  const random = new Random(seed);
  const tensors = new Map<string, Tensor>();
  const add = (name: string, shape: readonly number[], of: DType, bytes: Uint8Array): void => {
    tensors.set(name, {
      name,
      dtype: of,
      shape,
      source: memorySource(name, bytes),
      offset: 0,
      byteLength: bytes.length,
    });
  };
  const matrix = (name: string, ...shape: number[]): void => {
    const count = shape.reduce((product, n) => product * n, 1);
    add(name, shape, dtype, randomWeights(dtype, count, 1 / Math.sqrt(shape.at(-1) ?? 1), random));
  };
  const vector = (name: string, count: number, mean: number, spread: number): void => {
    const values = Float32Array.from({ length: count }, () => mean + spread * random.normal());
    add(name, [count], "F32", new Uint8Array(values.buffer));
  };
  const norm = (name: string, count = width): void => vector(`${name}.weight`, count, 1, 0.1);

  // Logits with a standard deviation of 1 or 2: answers that vary, and cuts (top-p, min-p) that cut.
  const tied = family === "gemma3" || family === "gpt2";
  add("token_embd.weight", [vocab, width], dtype, randomWeights(dtype, vocab * width, tied ? 0.07 : 1, random));
  if (!tied)
    add("output.weight", [vocab, width], dtype, randomWeights(dtype, vocab * width, 2 / Math.sqrt(width), random));
  norm("output_norm");
  if (family === "gpt2") {
    add("position_embd.weight", [context, width], "F32", randomWeights("F32", context * width, 0.3, random));
    vector("output_norm.bias", width, 0, 0.1);
  }
  for (let i = 0; i < layers; i++) {
    const at = `blk.${i}.`;
    const kvWidth = (family === "gpt2" ? heads : kvHeads) * headDim;
    norm(`${at}attn_norm`);
    norm(`${at}ffn_norm`);
    if (family === "phi3" || family === "gpt2") matrix(`${at}attn_qkv.weight`, heads * headDim + 2 * kvWidth, width);
    else {
      matrix(`${at}attn_q.weight`, heads * headDim, width);
      matrix(`${at}attn_k.weight`, kvWidth, width);
      matrix(`${at}attn_v.weight`, kvWidth, width);
    }
    matrix(`${at}attn_output.weight`, width, heads * headDim);
    if (family === "qwen2")
      for (const [part, columns] of [
        ["q", heads * headDim],
        ["k", kvWidth],
        ["v", kvWidth],
      ] as const)
        vector(`${at}attn_${part}.bias`, columns, 0, 0.1);
    if (family === "qwen3" || family === "qwen3moe" || family === "gemma3") {
      norm(`${at}attn_q_norm`, headDim);
      norm(`${at}attn_k_norm`, headDim);
    }
    if (family === "gemma3") {
      norm(`${at}post_attention_norm`);
      norm(`${at}post_ffw_norm`);
    }
    if (family === "mixtral" || family === "qwen3moe") {
      add(
        `${at}ffn_gate_inp.weight`,
        [experts, width],
        "F32",
        randomWeights("F32", experts * width, 1 / Math.sqrt(width), random),
      );
      matrix(`${at}ffn_gate_exps.weight`, experts, expertHidden, width);
      matrix(`${at}ffn_up_exps.weight`, experts, expertHidden, width);
      matrix(`${at}ffn_down_exps.weight`, experts, width, expertHidden);
    } else if (family === "phi3") {
      matrix(`${at}ffn_up.weight`, 2 * hidden, width);
      matrix(`${at}ffn_down.weight`, width, hidden);
    } else {
      if (family !== "gpt2") matrix(`${at}ffn_gate.weight`, hidden, width);
      matrix(`${at}ffn_up.weight`, hidden, width);
      matrix(`${at}ffn_down.weight`, width, hidden);
    }
    if (family === "gpt2") {
      for (const [part, columns] of [
        ["attn_norm", width],
        ["attn_qkv", 3 * width],
        ["attn_output", width],
        ["ffn_norm", width],
        ["ffn_up", hidden],
        ["ffn_down", width],
      ] as const) {
        vector(`${at}${part}.bias`, columns, 0, 0.1);
      }
    }
  }

  const architecture = family === "mixtral" ? "llama" : family;
  const keys: Record<string, MetaValue> = {
    block_count: layers,
    embedding_length: width,
    "attention.head_count": heads,
    "attention.head_count_kv": kvHeads,
    "attention.key_length": headDim,
    "attention.value_length": headDim,
    feed_forward_length: family === "mixtral" ? expertHidden : hidden,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "attention.layer_norm_epsilon": 1e-5,
    context_length: context,
    "rope.dimension_count": headDim,
    "rope.freq_base": 10_000,
  };
  if (family === "mixtral" || family === "qwen3moe") {
    Object.assign(keys, {
      expert_count: experts,
      expert_used_count: expertsUsed,
      expert_feed_forward_length: expertHidden,
    });
  }
  // One window layer, one that sees everything.
  if (family === "gemma3")
    Object.assign(keys, { "attention.sliding_window": window, "attention.sliding_window_pattern": 2 });
  const metadata: Record<string, MetaValue> = { "general.architecture": architecture, ...byteTokenizer(vocab) };
  for (const [key, value] of Object.entries(keys)) metadata[`${architecture}.${key}`] = value;
  return {
    name: `tiny ${family} ${dtype}`,
    config: { format: "gguf", architecture, values: metadata },
    tokenizer: { format: "gguf", metadata },
    generation: {},
    tensors,
    metadata,
    close: async () => undefined,
  };
}

/** Where the f16 scales of a block lie, and what they shall be relative to each other for a mean near zero. */
const SCALES: Partial<Record<DType, Readonly<Record<number, number>>>> = {
  Q4_0: { 0: 1 },
  Q4_1: { 0: 1, 2: -7.5 },
  Q5_0: { 0: 1 },
  Q5_1: { 0: 1, 2: -15.5 },
  Q8_0: { 0: 1 },
  Q2_K: { 80: 1, 82: 1.5 },
  Q3_K: { 108: 1 },
  Q4_K: { 0: 1, 2: 7.5 },
  Q5_K: { 0: 1, 2: 15.5 },
  Q6_K: { 208: 1 },
  IQ4_NL: { 0: 1 },
  IQ4_XS: { 0: 1 },
  IQ2_S: { 0: 1 },
  IQ3_S: { 0: 1 },
  TQ1_0: { 52: 1 },
  TQ2_0: { 64: 1 },
};
/** Formats whose blocks begin with scales of a byte: how many. */
const BYTE_SCALES: Partial<Record<DType, number>> = { MXFP4: 1, NVFP4: 4 };

/** `count` random weights with a standard deviation of about `spread`, as bytes of a format. */
export function randomWeights(dtype: DType, count: number, spread: number, random: Random): Uint8Array {
  if (dtype === "F32")
    return new Uint8Array(Float32Array.from({ length: count }, () => spread * random.normal()).buffer);
  if (dtype === "F16")
    return new Uint8Array(Uint16Array.from({ length: count }, () => numberToHalf(spread * random.normal())).buffer);
  if (dtype === "BF16") {
    const bits = new Uint32Array(Float32Array.from({ length: count }, () => spread * random.normal()).buffer);
    return new Uint8Array(Uint16Array.from(bits, (value) => value >>> 16).buffer);
  }
  const { blockSize, blockBytes } = DTYPES[dtype];
  const byteScales = BYTE_SCALES[dtype];
  const scales = SCALES[dtype];
  if (!scales && !byteScales) throw new Error(`no recipe for random ${dtype} weights`);
  const bytes = new Uint8Array((count / blockSize) * blockBytes);
  const words = new Uint32Array(bytes.buffer, 0, Math.floor(bytes.length / 4));
  for (let i = 0; i < words.length; i++) words[i] = random.next();
  const view = new DataView(bytes.buffer);
  const deviation = (): number => {
    const sample = new Float32Array(Math.min(count, 64 * 256));
    dequantize(dtype, bytes.subarray(0, (sample.length / blockSize) * blockBytes), sample);
    return Math.sqrt(sample.reduce((sum, value) => sum + value * value, 0) / sample.length);
  };
  if (byteScales !== undefined) {
    // Larger codes are larger scales: the first that is large enough.
    for (let low = 1, high = 0x7e; low <= high;) {
      const code = (low + high) >> 1;
      for (let at = 0; at < bytes.length; at += blockBytes) bytes.fill(code, at, at + byteScales);
      if (deviation() < spread) low = code + 1;
      else high = code - 1;
    }
    return bytes;
  }
  const setScales = (factor: number): void => {
    for (let at = 0; at < bytes.length; at += blockBytes) {
      for (const [offset, relative] of Object.entries(scales ?? {}))
        view.setUint16(at + Number(offset), numberToHalf(factor * relative), true);
    }
  };
  setScales(1);
  setScales(spread / deviation());
  return bytes;
}

/** A byte-level vocabulary without merges; ids from 256 on stand for nothing. */
function byteTokenizer(vocab: number): Record<string, MetaValue> {
  const printable = (byte: number): boolean =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let others = 0;
  const tokens = Array.from({ length: vocab }, (_, id) => {
    if (id >= 256) return `<${id}>`;
    return String.fromCodePoint(printable(id) ? id : 256 + others++);
  });
  return {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "gpt-2",
    "tokenizer.ggml.tokens": tokens,
    "tokenizer.ggml.token_type": Int32Array.from({ length: vocab }, (_, id) => (id < 256 ? 1 : 5)),
    "tokenizer.ggml.merges": [],
    "tokenizer.ggml.eos_token_id": vocab - 1,
  };
}
