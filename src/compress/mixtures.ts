/**
 * Which format each tensor of a GGUF model gets: the mixtures that llama.cpp's quantiser knows by name (Q4_K_M …), its
 * rules for tensors that deserve more bits, and what it falls back to where a row is no whole number of blocks. Stated
 * anew from its documented behaviour (llama.cpp, tools/quantize, 2025), so that a file of a name is what users expect.
 */
import type { ModelArtifact, Tensor } from "../artifact/artifact.ts";
import { DTYPES } from "../artifact/dtype.ts";
import type { QuantizedDType } from "../backend/cpu/toolkit.ts";
import { ConfigReader, numberList } from "../models/config.ts";
import type { FloatDType } from "./tensors.ts";

/** The formats that tensors can be written in. */
export type WritableDType = QuantizedDType | FloatDType;

interface Mixture {
  /** The format of what no rule names. */
  readonly base: WritableDType;
  /** llama.cpp's number of the mixture (`general.file_type`). */
  readonly fileType: number;
}

export const MIXTURES = {
  F32: { base: "F32", fileType: 0 },
  F16: { base: "F16", fileType: 1 },
  BF16: { base: "BF16", fileType: 32 },
  Q4_0: { base: "Q4_0", fileType: 2 },
  Q4_1: { base: "Q4_1", fileType: 3 },
  Q5_0: { base: "Q5_0", fileType: 8 },
  Q5_1: { base: "Q5_1", fileType: 9 },
  Q8_0: { base: "Q8_0", fileType: 7 },
  Q2_K: { base: "Q2_K", fileType: 10 },
  Q2_K_S: { base: "Q2_K", fileType: 21 },
  Q3_K_S: { base: "Q3_K", fileType: 11 },
  Q3_K_M: { base: "Q3_K", fileType: 12 },
  Q3_K_L: { base: "Q3_K", fileType: 13 },
  Q4_K_S: { base: "Q4_K", fileType: 14 },
  Q4_K_M: { base: "Q4_K", fileType: 15 },
  Q5_K_S: { base: "Q5_K", fileType: 16 },
  Q5_K_M: { base: "Q5_K", fileType: 17 },
  Q6_K: { base: "Q6_K", fileType: 18 },
  IQ4_NL: { base: "IQ4_NL", fileType: 25 },
  IQ4_XS: { base: "IQ4_XS", fileType: 30 },
  TQ1_0: { base: "TQ1_0", fileType: 36 },
  TQ2_0: { base: "TQ2_0", fileType: 37 },
  MXFP4: { base: "MXFP4", fileType: 38 },
  NVFP4: { base: "NVFP4", fileType: 39 },
} as const satisfies Record<string, Mixture>;

export type MixtureName = keyof typeof MIXTURES;
export const MIXTURE_NAMES = Object.keys(MIXTURES) as MixtureName[];

/** What the rules look at beside a tensor's name. */
export interface MixtureModel {
  readonly architecture: string;
  readonly layers: number;
  /** Query heads to one key/value head. */
  readonly headsPerKv: number;
  readonly experts: number;
  /** Without an output matrix of its own the embedding is one, too. */
  readonly hasOutput: boolean;
  /** Activations were measured. */
  readonly hasImportance: boolean;
}

export function mixtureModel(artifact: ModelArtifact, hasImportance: boolean): MixtureModel {
  const config = new ConfigReader(artifact);
  const { architecture } = artifact.config;
  // A count may be given for each layer.
  const whole = (key: string, otherwise: number): number => {
    const value = config.get([key, null]);
    return typeof value === "number" ? value : (numberList(value)?.find((n) => n > 0) ?? otherwise);
  };
  const heads = whole("attention.head_count", 1);
  return {
    architecture,
    layers: whole("block_count", 1),
    headsPerKv: heads / Math.max(1, whole("attention.head_count_kv", heads)),
    experts: whole("expert_count", 0),
    hasOutput: artifact.tensors.has("output.weight"),
    hasImportance,
  };
}

/** Is it a matrix that files hold quantised? Norms, routers, tables of positions and convolutions stay as they are. */
export function isQuantizable({ name, shape }: Pick<Tensor, "name" | "shape">): boolean {
  if (shape.length < 2 || !name.endsWith(".weight")) return false;
  return !/_norm\.weight$|ffn_gate_inp(_shexp)?\.weight$|position_embd|token_types|conv1d|shortconv\.conv\.|ssm_(a|d|dt)\b|time_mix_(first|decay)|mlp\.gate\.weight|block_sparse_moe\.gate\.|altup|laurel|per_layer_model_proj/.test(
    name,
  );
}

/** The format of one tensor in a mixture. `columns`: of its rows. */
export function mixtureType(name: MixtureName, tensor: string, columns: number, model: MixtureModel): WritableDType {
  const { base } = MIXTURES[name];
  return fitting(base.startsWith("F") || base === "BF16" ? base : ruled(name, base, tensor, columns, model), columns);
}

/** The format itself where rows are whole blocks of it, else what llama.cpp takes instead. */
export function fitting(dtype: WritableDType, columns: number): WritableDType {
  if (columns % DTYPES[dtype].blockSize === 0) return dtype;
  const smaller = FALLBACKS[dtype] ?? "F16";
  return columns % DTYPES[smaller].blockSize === 0 ? smaller : "F16";
}

const FALLBACKS: Readonly<Partial<Record<WritableDType, WritableDType>>> = {
  TQ1_0: "Q4_0",
  TQ2_0: "Q4_0",
  Q2_K: "IQ4_NL",
  Q3_K: "IQ4_NL",
  IQ4_XS: "IQ4_NL",
  NVFP4: "IQ4_NL",
  Q4_K: "Q5_0",
  Q5_K: "Q5_1",
  Q6_K: "Q8_0",
};

function ruled(
  name: MixtureName,
  base: WritableDType,
  tensor: string,
  columns: number,
  model: MixtureModel,
): WritableDType {
  const part = /^(?:blk\.\d+\.)?(.*)\.weight$/.exec(tensor)?.[1] ?? "";
  const layer = Number(/^blk\.(\d+)\./.exec(tensor)?.[1] ?? 0);
  if (part === "output" || (part === "token_embd" && !model.hasOutput)) {
    if (base === "Q8_0" || name === "MXFP4" || name === "NVFP4" || columns % 256 !== 0) return "Q8_0";
    return "Q6_K";
  }
  if (part === "token_embd") return base.startsWith("TQ") ? "Q4_K" : base;
  const { layers } = model;
  switch (part) {
    case "attn_v":
      return valueType(name, base, layer, model);
    case "attn_k":
      return model.experts === 8 ? "Q8_0" : base;
    case "attn_output":
      return outputType(name, base, model);
    case "attn_qkv":
      return pick(name, { Q3_K_M: "Q4_K", Q3_K_L: "Q4_K", Q4_K_M: "Q5_K", Q5_K_M: "Q6_K" }) ?? base;
    case "ffn_down":
    case "ffn_down_exps":
    case "ffn_down_shexp":
      return downType(name, base, layer, layers, model.hasImportance);
    default:
      return base;
  }
}

function valueType(name: MixtureName, base: WritableDType, layer: number, model: MixtureModel): WritableDType {
  const { layers, headsPerKv, experts } = model;
  const shared = headsPerKv >= 4;
  if (experts === 8) return "Q8_0";
  switch (name) {
    case "Q2_K":
      return shared ? "Q4_K" : "Q3_K";
    case "Q2_K_S":
      return shared ? "Q4_K" : base;
    case "Q3_K_M":
      return layer < 2 ? "Q5_K" : "Q4_K";
    case "Q3_K_L":
      return "Q5_K";
    case "IQ4_NL":
    case "IQ4_XS":
      return shared ? "Q5_K" : base;
    case "Q4_K_M":
    case "Q5_K_M":
      return deservesMore(layer, layers) ? "Q6_K" : base;
    case "Q4_K_S":
      return layer < 4 ? "Q5_K" : base;
    default:
      return base;
  }
}

function outputType(name: MixtureName, base: WritableDType, { experts }: MixtureModel): WritableDType {
  if (experts === 8 && /^(Q2_K|Q3_K_S|Q3_K_M|Q4_K_S|Q4_K_M|IQ4_NL|IQ4_XS)$/.test(name)) return "Q5_K";
  return pick(name, { Q2_K: "Q3_K", Q3_K_M: "Q4_K", Q3_K_L: "Q5_K" }) ?? base;
}

function downType(
  name: MixtureName,
  base: WritableDType,
  layer: number,
  layers: number,
  hasImportance: boolean,
): WritableDType {
  const isEarly = layer < Math.floor(layers / 8);
  switch (name) {
    case "Q2_K":
      return "Q3_K";
    case "Q2_K_S":
      return isEarly ? "Q4_K" : base;
    case "Q3_K_M":
      return layer < Math.floor(layers / 16) ? "Q5_K" : "Q4_K";
    case "Q3_K_L":
      return "Q5_K";
    case "Q4_K_M":
    case "Q5_K_M":
      return deservesMore(layer, layers) ? "Q6_K" : base;
    case "Q4_K_S":
      return isEarly ? "Q5_K" : base;
    case "IQ4_NL":
    case "IQ4_XS":
      return isEarly && !hasImportance ? "Q5_K" : base;
    case "Q4_0":
      return isEarly && hasImportance ? "Q4_1" : base;
    case "Q5_0":
      return isEarly && hasImportance ? "Q5_1" : base;
    default:
      return base;
  }
}

/** The first and last eighth of the layers, and every third between. */
function deservesMore(layer: number, layers: number): boolean {
  const eighth = Math.floor(layers / 8);
  return layer < eighth || layer >= Math.floor((7 * layers) / 8) || (layer - eighth) % 3 === 2;
}

function pick(
  name: MixtureName,
  types: Readonly<Partial<Record<MixtureName, WritableDType>>>,
): WritableDType | undefined {
  return types[name];
}
