/**
 * Which tensors of a base model an adapter's layers are. PEFT names Hugging Face's modules; a base in GGUF calls them
 * differently, and holds q and k of Llama's kin with each head's rows in another order, which B's rows follow then.
 */
import type { Adapter, LowRank } from "../artifact/adapter.ts";
import type { AdapterArtifact, AdapterLayer } from "../artifact/adapter-artifact.ts";
import type { ModelArtifact, Tensor } from "../artifact/artifact.ts";
import { memorySource } from "../artifact/byte-source.ts";
import { doraGains } from "../artifact/dora.ts";
import { tensorValues } from "../artifact/tensor-values.ts";
import { ArtifactError, UnsupportedError } from "../errors.ts";
import { ConfigReader } from "./config.ts";
import { readDimensions } from "./dimensions.ts";
import { LLAMA_NAMES } from "./names.ts";

/** GGUF's architectures whose converter permutes q and k (the families' style "permuted"). */
const PERMUTED: ReadonlySet<string> = new Set([
  "llama",
  "arcee",
  "baichuan",
  "granite",
  "granitemoe",
  "internlm2",
  "minicpm",
  "smollm3",
]);

/** Hugging Face's name in a layer → GGUF's, where several families share it. */
const GGUF_PARTS: ReadonlyMap<string, string> = new Map([
  ...Object.values(LLAMA_NAMES.layer).flatMap(([gguf, ...hf]) => hf.map((name) => [name, gguf] as const)),
  ["self_attn.qkv_proj", "attn_qkv"],
  ["self_attn.dense", "attn_output"],
  ["mlp.gate_up_proj", "ffn_up"],
  ["mlp.fc1", "ffn_up"],
  ["mlp.fc2", "ffn_down"],
]);

/**
 * An adapter in terms of a base model's tensors.
 * @throws ArtifactError where the base has no such layer, UnsupportedError
 */
export async function resolveAdapter(adapter: AdapterArtifact, base: ModelArtifact): Promise<Adapter> {
  const { name, format, layers } = adapter;
  if (format === "gguf" && base.config.format !== "gguf")
    throw new UnsupportedError(`${name}: an adapter in GGUF needs its base in GGUF, ${base.name} is safetensors`);
  const pairs = new Map<string, LowRank>();
  for (const [layer, given] of layers) {
    const tensor = findTensor(layer, format, base);
    if (tensor === undefined) {
      throw new ArtifactError(
        `${name}: it changes "${layer}", which ${base.name} doesn't have; was it made for another model?`,
      );
    }
    if (pairs.has(tensor.name)) throw new ArtifactError(`${name}: it changes ${tensor.name} twice`);
    const own = format === "peft" ? await inBaseOrder(given, tensor, base) : given;
    pairs.set(tensor.name, await lowRank(name, own, tensor, base));
  }
  return { name, pairs };
}

function findTensor(
  layer: string,
  format: AdapterArtifact["format"],
  { tensors, config }: ModelArtifact,
): Tensor | undefined {
  const first = (names: readonly string[]): Tensor | undefined => {
    for (const name of names) if (tensors.has(name)) return tensors.get(name);
    return undefined;
  };
  if (format === "gguf") return tensors.get(layer);
  const isHead = /(^|\.)lm_head$/.test(layer);
  if (config.format === "hf") {
    const short = layer.replace(/^model\./, "");
    const own = first([`${layer}.weight`, `model.${layer}.weight`, `${short}.weight`]);
    // Tied: the output matrix is the embedding, and only as such is it adapted.
    return own ?? (isHead ? first(["model.embed_tokens.weight", "embed_tokens.weight"]) : undefined);
  }
  if (isHead) return first(["output.weight", "token_embd.weight"]);
  const [, index, part] = /(?:^|\.)layers\.(\d+)\.(.+)$/.exec(layer) ?? [];
  const known = part === undefined ? undefined : GGUF_PARTS.get(part);
  return known === undefined ? undefined : tensors.get(`blk.${index}.${known}.weight`);
}

/** B (and DoRA's lengths) with their rows in the base's order. */
async function inBaseOrder(layer: AdapterLayer, tensor: Tensor, base: ModelArtifact): Promise<AdapterLayer> {
  const isTurned = /\.attn_[qk]\.weight$/.test(tensor.name) && PERMUTED.has(base.config.architecture);
  if (base.config.format !== "gguf" || !isTurned) return layer;
  const { headDim } = readDimensions(new ConfigReader(base));
  const { b, magnitude } = layer;
  return {
    ...layer,
    b: await interleaved(b, headDim),
    ...(magnitude && { magnitude: await interleaved(magnitude, headDim) }),
  };
}

/** A head's rows i and i + n/2 side by side. */
async function interleaved(tensor: Tensor, headDim: number): Promise<Tensor> {
  const values = await tensorValues(tensor);
  const [rows = 0] = tensor.shape;
  const width = values.length / rows;
  const half = headDim / 2;
  const out = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    const inside = row % headDim;
    const from = row - inside + (inside % 2) * half + Math.floor(inside / 2);
    out.set(values.subarray(from * width, (from + 1) * width), row * width);
  }
  const source = memorySource(tensor.source.name, new Uint8Array(out.buffer));
  return { ...tensor, dtype: "F32", source, offset: 0, byteLength: out.byteLength };
}

async function lowRank(
  name: string,
  { a, b, scale, magnitude }: AdapterLayer,
  tensor: Tensor,
  base: ModelArtifact,
): Promise<LowRank> {
  if (magnitude === undefined) return { a, b, scale };
  if (base.config.architecture === "gpt2") throw new UnsupportedError(`${name}: DoRA isn't supported on GPT-2`);
  const [n, k] = tensor.shape;
  if (n !== b.shape[0] || k !== a.shape[1]) {
    throw new ArtifactError(
      `${name}: A [${a.shape.join(", ")}] and B [${b.shape.join(", ")}] don't fit the base's ${tensor.name} ` +
        `[${tensor.shape.join(", ")}]; was the adapter made for another model?`,
    );
  }
  const [valuesA, valuesB, lengths] = [await tensorValues(a), await tensorValues(b), await tensorValues(magnitude)];
  return { a, b, scale, gain: await doraGains(tensor, valuesA, valuesB, scale, lengths) };
}
