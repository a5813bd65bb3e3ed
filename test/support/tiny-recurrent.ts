/**
 * Tiny models with recurrent layers, in memory, made of a tiny Llama (tiny-models.ts) by giving it other tensors and keys:
 * layer 0 is recurrent, layer 1 attention, but in Mamba, where both are recurrent.
 */
import type { MetaValue, ModelArtifact, Tensor } from "../../src/artifact/artifact.ts";
import { memorySource } from "../../src/artifact/byte-source.ts";
import type { DType } from "../../src/artifact/dtype.ts";
import { Random } from "./random.ts";
import { randomWeights, tinyModel } from "./tiny-models.ts";

export const TINY_RECURRENT = ["granitehybrid", "mamba", "qwen3next", "lfm2"] as const;
export type TinyRecurrent = (typeof TINY_RECURRENT)[number];

const WIDTH = 512;
const HEAD = 64;

interface Change {
  /** Parts of a layer that go. */
  readonly without: (part: string, layer: number) => boolean;
  readonly keys: Readonly<Record<string, MetaValue>>;
  /** Matrices `[N, K]` of the format, and vectors of f32 about a mean, of the layers for which they are given. */
  readonly matrices: (layer: number) => Readonly<Record<string, readonly [number, number]>>;
  readonly vectors: (layer: number) => Readonly<Record<string, readonly [count: number, mean: number]>>;
}

const isMixer = (part: string): boolean => part.startsWith("attn_") && part !== "attn_norm.weight";
const NONE = {};

const CHANGES: Readonly<Record<TinyRecurrent, Change>> = {
  granitehybrid: {
    without: (part, layer) => layer === 0 && isMixer(part),
    keys: {
      "attention.head_count_kv": Int32Array.of(0, 2),
      "ssm.time_step_rank": 8,
      "ssm.inner_size": 256,
      "ssm.group_count": 1,
      "ssm.state_size": 32,
      "ssm.conv_kernel": 4,
    },
    matrices: (layer) => (layer === 0 ? { "ssm_in.weight": [584, WIDTH], "ssm_out.weight": [WIDTH, 256] } : NONE),
    vectors: (layer) =>
      layer === 0
        ? {
            "ssm_conv1d.weight": [4 * 320, 0.1],
            "ssm_conv1d.bias": [320, 0],
            "ssm_dt.bias": [8, -2],
            ssm_a: [8, -1],
            ssm_d: [8, 1],
            "ssm_norm.weight": [256, 1],
          }
        : NONE,
  },
  mamba: {
    without: (part) => isMixer(part) || part.startsWith("ffn_"),
    keys: { "ssm.time_step_rank": 32, "ssm.inner_size": 256, "ssm.state_size": 16, "ssm.conv_kernel": 4 },
    matrices: () => ({
      "ssm_in.weight": [512, WIDTH],
      "ssm_x.weight": [64, 256],
      "ssm_dt.weight": [256, 32],
      "ssm_out.weight": [WIDTH, 256],
    }),
    vectors: () => ({
      "ssm_conv1d.weight": [4 * 256, 0.1],
      "ssm_conv1d.bias": [256, 0],
      "ssm_dt.bias": [256, -2],
      ssm_a: [256 * 16, -1],
      ssm_d: [256, 1],
    }),
  },
  qwen3next: {
    without: (part, layer) => (layer === 0 && isMixer(part)) || part.startsWith("ffn_norm") || part === "attn_q.weight",
    keys: {
      full_attention_interval: 2,
      "ssm.time_step_rank": 4,
      "ssm.inner_size": 256,
      "ssm.group_count": 2,
      "ssm.state_size": 32,
      "ssm.conv_kernel": 4,
    },
    matrices: (layer) =>
      layer === 0
        ? { "ssm_in.weight": [640, WIDTH], "ssm_ba.weight": [8, WIDTH], "ssm_out.weight": [WIDTH, 256] }
        : { "attn_q.weight": [2 * 8 * HEAD, WIDTH] },
    vectors: (layer) => ({
      "post_attention_norm.weight": [WIDTH, 1],
      ...(layer === 0
        ? {
            "ssm_conv1d.weight": [4 * 384, 0.1],
            "ssm_dt.bias": [4, -2],
            ssm_a: [4, -1],
            "ssm_norm.weight": [HEAD, 1],
          }
        : { "attn_q_norm.weight": [HEAD, 1], "attn_k_norm.weight": [HEAD, 1] }),
    }),
  },
  lfm2: {
    without: (part, layer) => layer === 0 && isMixer(part),
    keys: { "attention.head_count_kv": Int32Array.of(0, 2), "shortconv.l_cache": 3 },
    matrices: (layer): Readonly<Record<string, readonly [number, number]>> =>
      layer === 0
        ? { "shortconv.in_proj.weight": [3 * WIDTH, WIDTH], "shortconv.out_proj.weight": [WIDTH, WIDTH] }
        : NONE,
    vectors: (layer): Readonly<Record<string, readonly [count: number, mean: number]>> =>
      layer === 0
        ? { "shortconv.conv.weight": [3 * WIDTH, 0.3] }
        : { "attn_q_norm.weight": [HEAD, 1], "attn_k_norm.weight": [HEAD, 1] },
  },
};

/** `dtype` is that of all matrices. */
export function tinyRecurrent(family: TinyRecurrent, dtype: DType, seed: number): ModelArtifact {
  const base = tinyModel("llama", dtype, seed);
  const { without, keys, matrices, vectors } = CHANGES[family];
  const random = new Random(seed + 1);
  const tensors = new Map<string, Tensor>();
  const add = (name: string, shape: readonly number[], of: DType, bytes: Uint8Array): void => {
    const source = memorySource(name, bytes);
    tensors.set(name, { name, dtype: of, shape, source, offset: 0, byteLength: bytes.length });
  };
  for (const [name, tensor] of base.tensors) {
    const [, layer, part = ""] = /^blk\.(\d+)\.(.*)$/.exec(name) ?? [];
    if (layer !== undefined && without(part, Number(layer))) continue;
    const own = family === "lfm2" && name === "output_norm.weight" ? "token_embd_norm.weight" : name;
    tensors.set(own, { ...tensor, name: own });
  }
  for (const layer of [0, 1]) {
    for (const [part, [n, k]] of Object.entries(matrices(layer)))
      add(`blk.${layer}.${part}`, [n, k], dtype, randomWeights(dtype, n * k, 1 / Math.sqrt(k), random));
    for (const [part, [count, mean]] of Object.entries(vectors(layer))) {
      const values = Float32Array.from(
        { length: count },
        () => mean * (1 + 0.3 * random.normal()) + 0.1 * random.normal(),
      );
      add(`blk.${layer}.${part}`, [count], "F32", new Uint8Array(values.buffer));
    }
  }
  const values: Record<string, MetaValue> = { ...base.config.values, "general.architecture": family };
  for (const [key, value] of Object.entries(base.config.values))
    if (value !== undefined && key.startsWith("llama.")) values[`${family}${key.slice("llama".length)}`] = value;
  for (const [key, value] of Object.entries(keys)) values[`${family}.${key}`] = value;
  return {
    ...base,
    name: `tiny ${family} ${dtype}`,
    config: { format: "gguf", architecture: family, values },
    tensors,
    metadata: values,
  };
}
