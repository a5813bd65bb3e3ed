/**
 * RWKV's checkpoints as llama.cpp's converter would write them: shares of the row before stacked in one tensor, low ranks the
 * other way round where the file holds them as [K, N], and layer 0 with stand-ins for what it has none of.
 */
import type { MetaObject } from "../../src/artifact/artifact.ts";
import type { Values } from "./as-gguf.ts";

const SIX: Readonly<Record<string, string>> = {
  "attention.time_maa_x": "time_mix_lerp_x",
  "attention.time_faaaa": "time_mix_first",
  "attention.time_decay": "time_mix_decay",
  "attention.time_maa_w1": "time_mix_w1",
  "attention.time_maa_w2": "time_mix_w2",
  "attention.time_decay_w1": "time_mix_decay_w1",
  "attention.time_decay_w2": "time_mix_decay_w2",
  "attention.receptance": "time_mix_receptance",
  "attention.key": "time_mix_key",
  "attention.value": "time_mix_value",
  "attention.gate": "time_mix_gate",
  "attention.output": "time_mix_output",
  "attention.ln_x": "time_mix_ln",
  "feed_forward.time_maa_k": "channel_mix_lerp_k",
  "feed_forward.time_maa_r": "channel_mix_lerp_r",
  "feed_forward.key": "channel_mix_key",
  "feed_forward.receptance": "channel_mix_receptance",
  "feed_forward.value": "channel_mix_value",
  ln1: "attn_norm",
  ln2: "attn_norm_2",
};
const SEVEN: Readonly<Record<string, string>> = {
  "attn.k_k": "time_mix_k_k",
  "attn.k_a": "time_mix_k_a",
  "attn.r_k": "time_mix_r_k",
  "attn.r_proj": "time_mix_receptance",
  "attn.k_proj": "time_mix_key",
  "attn.v_proj": "time_mix_value",
  "attn.o_proj": "time_mix_output",
  "attn.g_norm": "time_mix_ln",
  "ffn.x_k": "channel_mix_lerp_k",
  "ffn.key": "channel_mix_key",
  "ffn.value": "channel_mix_value",
  attn_norm: "attn_norm",
  ffn_norm: "attn_norm_2",
};
const MODEL: Readonly<Record<string, string>> = {
  "rwkv.embeddings": "token_embd",
  "rwkv.blocks.0.pre_ln": "token_embd_norm",
  "rwkv.ln_out": "output_norm",
  head: "output",
  "model.embeddings": "token_embd",
  "model.layers.0.pre_norm": "token_embd_norm",
  "model.norm": "output_norm",
  lm_head: "output",
};

/** GGUF's tensors of a checkpoint, by name. */
export function rwkvTensors(all: ReadonlyMap<string, Values>): Map<string, Values> {
  const out = new Map<string, Values>();
  const mixes = new Map<string, Values[]>();
  for (const [name, tensor] of all) {
    const [, stem = name, suffix = "weight"] = /^(.*)\.(weight|bias)$/.exec(name) ?? [];
    const known = MODEL[stem];
    const [, layer = "", part = ""] = /^(?:rwkv\.blocks|model\.layers)\.(\d+)\.(.*)$/.exec(stem) ?? [];
    const mix = /^attention\.time_maa_([wkvrg])$|^attn\.x_([rwkvag])$/.exec(part);
    const low = /^attn\.([wavg])_lora\.lora\.([02])$/.exec(part);
    if (known !== undefined) out.set(`${known}.${suffix}`, tensor);
    else if (mix !== null) {
      const order = mix[1] === undefined ? "rwkvag" : "wkvrg";
      const list = mixes.get(layer) ?? [];
      list[order.indexOf(mix[1] ?? mix[2] ?? "")] = tensor;
      mixes.set(layer, list);
    } else if (low !== null) {
      const which = suffix === "bias" ? "0" : low[2] === "0" ? "1" : "2";
      out.set(`blk.${layer}.time_mix_${low[1]}${which}.weight`, tensor);
      if (layer === "0" && low[1] === "a") out.set(`blk.0.time_mix_v${which}.weight`, tensor);
    } else out.set(`blk.${layer}.${SIX[part] ?? SEVEN[part] ?? part}.${suffix}`, shaped(part, tensor));
  }
  for (const [layer, list] of mixes) {
    const width = list[0]?.values.length ?? 0;
    const values = new Float32Array(list.length * width);
    list.forEach((tensor, i) => values.set(tensor.values, i * width));
    out.set(`blk.${layer}.time_mix_lerp_fused.weight`, { shape: [list.length, 1, 1, width], values });
  }
  return out;
}

function shaped(part: string, { shape, values }: Values): Values {
  if (/_w1$|decay_w2$/.test(part)) return turned(shape, values);
  if (part.endsWith("maa_w2")) return turned(shape, values);
  if (part === "attn.r_k" || shape[0] === 1) return { shape: [values.length], values };
  return { shape, values };
}

/** The last two dimensions exchanged. */
function turned(shape: readonly number[], values: Float32Array): Values {
  const [k = 1, n = 1] = shape.slice(-2);
  const out = values.map((_, at) => {
    const [stack, inside] = [Math.floor(at / (k * n)), at % (k * n)];
    return values[stack * k * n + (inside % k) * n + Math.floor(inside / k)] ?? 0;
  });
  return { shape: [...shape.slice(0, -2), n, k], values: out };
}

export function rwkvKeys(arch: string, hf: Readonly<Record<string, unknown>>): MetaObject {
  const number = (key: string): number => Number(hf[key] ?? 0);
  const keys: Record<string, number> = {
    context_length: 512,
    embedding_length: number("hidden_size"),
    block_count: number("num_hidden_layers"),
    feed_forward_length: number("intermediate_size"),
    "attention.head_count": 0,
    "attention.layer_norm_epsilon": number(arch === "rwkv6" ? "layer_norm_epsilon" : "norm_eps"),
    "wkv.head_size": number(arch === "rwkv6" ? "head_size" : "head_dim"),
    ...(arch === "rwkv6"
      ? { rescale_every_n_layers: number("rescale_every"), time_mix_extra_dim: 16, time_decay_extra_dim: 24 }
      : {
          "attention.decay_lora_rank": number("decay_low_rank_dim"),
          "attention.iclr_lora_rank": number("a_low_rank_dim"),
          "attention.value_residual_mix_lora_rank": number("a_low_rank_dim"),
          "attention.gate_lora_rank": number("gate_low_rank_dim"),
        }),
  };
  return Object.fromEntries(Object.entries(keys).map(([key, value]) => [`${arch}.${key}`, value]));
}
