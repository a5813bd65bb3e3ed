/**
 * RWKV-6 (Peng et al. 2024): as RWKV-4 layers of time mixing and channel mixing, but each head remembers a matrix, into which
 * keys and values are written and which forgets each key column at a rate of its own; the rates, and how much of the row
 * before is mixed into what reads it, follow from the input through matrices of low rank.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Graph, Value, WeightRef } from "../graph/graph.ts";
import type { GraphOptions } from "./family.ts";
import { Network } from "./network.ts";
import { recentRows, scanStates } from "./recurrent.ts";

const NAMES = {
  prefixes: ["rwkv."],
  layers: "blocks",
  model: {
    embed: ["token_embd", "embeddings"],
    firstNorm: ["token_embd_norm", "blocks.0.pre_ln"],
    norm: ["output_norm", "ln_out"],
  },
  layer: {
    timeNorm: ["attn_norm", "ln1"],
    mixX: ["time_mix_lerp_x.weight", "attention.time_maa_x"],
    mixes: ["time_mix_lerp_fused.weight"],
    mixW: ["", "attention.time_maa_w"],
    mixK: ["", "attention.time_maa_k"],
    mixV: ["", "attention.time_maa_v"],
    mixR: ["", "attention.time_maa_r"],
    mixG: ["", "attention.time_maa_g"],
    mixDown: ["time_mix_w1.weight", "attention.time_maa_w1"],
    mixUp: ["time_mix_w2.weight", "attention.time_maa_w2"],
    decay: ["time_mix_decay.weight", "attention.time_decay"],
    decayDown: ["time_mix_decay_w1.weight", "attention.time_decay_w1"],
    decayUp: ["time_mix_decay_w2.weight", "attention.time_decay_w2"],
    bonus: ["time_mix_first.weight", "attention.time_faaaa"],
    k: ["time_mix_key", "attention.key"],
    v: ["time_mix_value", "attention.value"],
    r: ["time_mix_receptance", "attention.receptance"],
    gate: ["time_mix_gate", "attention.gate"],
    out: ["time_mix_output", "attention.output"],
    headNorm: ["time_mix_ln", "attention.ln_x"],
    channelNorm: ["attn_norm_2", "ln2"],
    channelMixK: ["channel_mix_lerp_k.weight", "feed_forward.time_maa_k"],
    channelMixR: ["channel_mix_lerp_r.weight", "feed_forward.time_maa_r"],
    channelK: ["channel_mix_key", "feed_forward.key"],
    channelR: ["channel_mix_receptance", "feed_forward.receptance"],
    channelV: ["channel_mix_value", "feed_forward.value"],
  },
} as const;

/** What is mixed, in the order of the low rank's shares. */
const MIXES = ["mixW", "mixK", "mixV", "mixR", "mixG"] as const;

export async function rwkv6(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const net = new Network(artifact, options.title, NAMES);
  const { g, config } = net;
  const width = config.int(["embedding_length", "hidden_size"]);
  const inner = config.int([null, "attention_hidden_size"], width);
  const headDim = config.int(["wkv.head_size", "head_size"], 64);
  const heads = inner / headDim;
  const hidden = config.int(["feed_forward_length", "intermediate_size"], Math.floor((width * 3.5) / 32) * 32);
  const eps = config.float(["attention.layer_norm_epsilon", "layer_norm_epsilon"], 1e-5);
  const headEps = 1e-5 * config.float([null, "head_size_divisor"], 8) ** 2;
  /** GGUF's matrices are smaller by 2 every so many layers, and the rows with them. */
  const halveEvery = config.optional(["rescale_every_n_layers", null]);
  const turned = { bare: true, transposed: true } as const;

  let x = net.layerNorm(net.embed(width), eps, 0, "firstNorm");
  for (let i = 0; i < config.int(["block_count", "num_hidden_layers"]); i++) {
    const layer = net.layer(i);
    const fused = layer.hasValues("mixes");
    const h = layer.layerNorm(x, "timeNorm", eps);
    const step = stepFrom(g, i, h, "before");
    const first = g.add(h, g.columnScale(step, layer.values("mixX", "", width)));
    const rank = layer.outputs("mixDown", turned) / MIXES.length;
    const low = g.softcap(layer.linear(first, "mixDown", MIXES.length * rank, turned), 1);
    const shares = layer.headStack(low, "mixUp", [MIXES.length, width, rank]);
    const [w, k, v, r, gate] = MIXES.map((part, at) => {
      const own = fused ? layer.valuesRow("mixes", [MIXES.length, width], at) : layer.values(part, "", width);
      return g.add(h, g.multiply(step, g.bias(g.slice(shares, at * width, width), own)));
    }) as [Value, Value, Value, Value, Value];
    const lowDecay = g.softcap(layer.linear(w, "decayDown", layer.outputs("decayDown", turned), turned), 1);
    const rate = g.bias(layer.linear(lowDecay, "decayUp", inner, turned), layer.values("decay", "", inner));
    const kept = g.activation(g.scale(g.activation(rate, "exp"), -1), "exp");
    const key = layer.linear(k, "k", inner);
    const value = layer.linear(v, "v", inner);
    const y = g.matrixScan([layer.linear(r, "r", inner), kept, key, value], {
      heads,
      bonus: layer.values("bonus", "", inner),
      ...scanStates(g, i, { state: inner * headDim, history: 3 * inner }),
    });
    const normed = normHeads(
      g,
      y,
      headDim,
      headEps,
      layer.vector("headNorm", inner),
      layer.values("headNorm", ".bias", inner),
    );
    x = g.add(x, layer.linear(g.gate(layer.linear(gate, "gate", inner), normed, "silu"), "out", width));

    const m = layer.layerNorm(x, "channelNorm", eps);
    const channelStep = stepFrom(g, i, m, "before (MLP)");
    const mixed = (part: "channelMixK" | "channelMixR"): Value =>
      g.add(m, g.columnScale(channelStep, layer.values(part, "", width)));
    const up = layer.linear(mixed("channelMixK"), "channelK", hidden);
    const down = layer.linear(g.gate(up, up, "relu"), "channelV", width);
    x = g.add(x, g.gate(layer.linear(mixed("channelMixR"), "channelR", width), down, "sigmoid"));
    if (halveEvery !== undefined && (i + 1) % halveEvery === 0) x = g.scale(x, 0.5);
  }
  const contextLength = config.int(["context_length", "context_length"], 4096);
  return net.finish(net.head(net.layerNorm(x, eps), false, "head"), contextLength);
}

/** From each row to the one before it; zeros stand before the first. */
export function stepFrom(g: GraphBuilder, index: number, h: Value, what: string): Value {
  const state = recentRows(g, index, g.width(h), 2, what);
  g.writeRows(h, state);
  return g.add(g.readRows(state, 1), g.scale(h, -1));
}

/** Each head's columns normalised by themselves (Wu & He 2018), then a weight and a bias for each column. */
export function normHeads(
  g: GraphBuilder,
  x: Value,
  headDim: number,
  eps: number,
  weight: WeightRef,
  bias: WeightRef,
): Value {
  return g.bias(g.columnScale(g.layerNorm(x, undefined, undefined, eps, 0, headDim), weight), bias);
}
