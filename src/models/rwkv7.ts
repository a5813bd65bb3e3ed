/**
 * RWKV-7 (Peng et al. 2025): RWKV-6 whose memory also takes back what a key held before it writes (a generalised delta rule),
 * in part, as gates of low rank tell; layers behind the first mix the first one's values into theirs, and the channel mixing
 * has no gate.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Activation, Graph, Value } from "../graph/graph.ts";
import type { GraphOptions } from "./family.ts";
import { Network } from "./network.ts";
import { scanStates } from "./recurrent.ts";
import { normHeads, stepFrom } from "./rwkv6.ts";

const NAMES = {
  prefixes: ["model."],
  layers: "layers",
  model: {
    embed: ["token_embd", "embeddings"],
    firstNorm: ["token_embd_norm", "layers.0.pre_norm"],
    norm: ["output_norm", "norm"],
  },
  layer: {
    timeNorm: ["attn_norm", "attn_norm"],
    mixes: ["time_mix_lerp_fused.weight"],
    mixR: ["", "attn.x_r"],
    mixW: ["", "attn.x_w"],
    mixK: ["", "attn.x_k"],
    mixV: ["", "attn.x_v"],
    mixA: ["", "attn.x_a"],
    mixG: ["", "attn.x_g"],
    wDown: ["time_mix_w1", "attn.w_lora.lora.0"],
    wUp: ["time_mix_w2", "attn.w_lora.lora.2"],
    wBias: ["time_mix_w0.weight", "attn.w_lora.lora.2.bias"],
    aDown: ["time_mix_a1", "attn.a_lora.lora.0"],
    aUp: ["time_mix_a2", "attn.a_lora.lora.2"],
    aBias: ["time_mix_a0.weight", "attn.a_lora.lora.2.bias"],
    vDown: ["time_mix_v1", "attn.v_lora.lora.0"],
    vUp: ["time_mix_v2", "attn.v_lora.lora.2"],
    vBias: ["time_mix_v0.weight", "attn.v_lora.lora.2.bias"],
    gDown: ["time_mix_g1", "attn.g_lora.lora.0"],
    gUp: ["time_mix_g2", "attn.g_lora.lora.2"],
    keyShare: ["time_mix_k_k.weight", "attn.k_k"],
    keyGate: ["time_mix_k_a.weight", "attn.k_a"],
    bonus: ["time_mix_r_k.weight", "attn.r_k"],
    r: ["time_mix_receptance", "attn.r_proj"],
    k: ["time_mix_key", "attn.k_proj"],
    v: ["time_mix_value", "attn.v_proj"],
    out: ["time_mix_output", "attn.o_proj"],
    headNorm: ["time_mix_ln", "attn.g_norm"],
    channelNorm: ["attn_norm_2", "ffn_norm"],
    channelMixK: ["channel_mix_lerp_k.weight", "ffn.x_k"],
    channelK: ["channel_mix_key", "ffn.key"],
    channelV: ["channel_mix_value", "ffn.value"],
  },
} as const;

/** What is mixed, in the order of GGUF's rows. */
const MIXES = ["mixR", "mixW", "mixK", "mixV", "mixA", "mixG"] as const;
type Low = "w" | "a" | "v" | "g";

export async function rwkv7(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const net = new Network(artifact, options.title, NAMES);
  const { g, config } = net;
  const width = config.int(["embedding_length", "hidden_size"]);
  const headDim = config.int(["wkv.head_size", "head_dim"], 64);
  const heads = width / headDim;
  const hidden = config.int(["feed_forward_length", "intermediate_size"], 4 * width);
  const eps = config.float(["attention.layer_norm_epsilon", "norm_eps"], 1e-5);
  const headEps = config.format === "gguf" ? 64e-5 : headDim * eps;
  /** A head's one column, for all columns of its own. */
  const spread = Int32Array.from({ length: width }, (_, column) => Math.floor(column / headDim));

  let x = net.layerNorm(net.embed(width), eps, 0, "firstNorm");
  let firstValue: Value | undefined;
  for (let i = 0; i < config.int(["block_count", "num_hidden_layers"]); i++) {
    const layer = net.layer(i);
    const fused = layer.hasValues("mixes");
    const h = layer.layerNorm(x, "timeNorm", eps);
    const step = stepFrom(g, i, h, "before");
    const [xr, xw, xk, xv, xa, xg] = MIXES.map((part, at) => {
      const own = fused ? layer.valuesRow("mixes", [MIXES.length, width], at) : layer.values(part, "", width);
      return g.add(h, g.columnScale(step, own));
    }) as [Value, Value, Value, Value, Value, Value];
    /** A gate of low rank; what the file gives as its bias is its value at 0. */
    const low = (which: Low, y: Value, inside: (z: Value) => Value): Value => {
      const down = inside(layer.linear(y, `${which}Down`, layer.outputs(`${which}Down`)));
      if (which === "g") return layer.linear(down, "gUp", width);
      return g.bias(layer.linear(down, `${which}Up`, width, { bias: "none" }), layer.values(`${which}Bias`, "", width));
    };
    const act = (activation: Activation) => (z: Value) => g.activation(z, activation);
    const same = (z: Value): Value => z;
    // e^(−e^(−½) σ(w)): no column keeps less than e^−0.6065 of itself.
    const rate = g.activation(
      low("w", xw, (z) => g.softcap(z, 1)),
      "sigmoid",
    );
    const kept = g.activation(g.scale(rate, -Math.exp(-0.5)), "exp");
    const r = layer.linear(xr, "r", width);
    const k = layer.linear(xk, "k", width);
    const own = layer.linear(xv, "v", width);
    firstValue ??= own;
    const toFirst = g.add(firstValue, g.scale(own, -1));
    const v = firstValue === own ? own : g.add(own, g.gate(low("v", xv, same), toFirst, "sigmoid"));
    const a = g.activation(low("a", xa, same), "sigmoid");
    // x / |x| as an RMS norm: √n times as much.
    const whole = g.rmsNorm(g.columnScale(k, layer.values("keyShare", "", width)), undefined, {
      eps: 1e-12,
      groupSize: headDim,
    });
    const removed = g.scale(whole, 1 / Math.sqrt(headDim));
    const gated = g.columnScale(k, layer.values("keyGate", "", width));
    const key = g.add(k, g.add(g.multiply(a, gated), g.scale(gated, -1)));
    const y = g.matrixScan([r, kept, key, v, g.scale(removed, -1), g.multiply(removed, a)], {
      heads,
      ...scanStates(g, i, { state: width * headDim, history: 5 * width }),
    });
    const normed = normHeads(
      g,
      y,
      headDim,
      headEps,
      layer.vector("headNorm", width),
      layer.values("headNorm", ".bias", width),
    );
    const share = g.headLinear(g.multiply(r, key), layer.headVectors("bonus", heads, headDim));
    const withBonus = g.add(normed, g.multiply(g.pick(share, spread), v));
    x = g.add(x, layer.linear(g.multiply(withBonus, low("g", xg, act("sigmoid"))), "out", width));

    const m = layer.layerNorm(x, "channelNorm", eps);
    const mixed = g.add(m, g.columnScale(stepFrom(g, i, m, "before (MLP)"), layer.values("channelMixK", "", width)));
    const up = layer.linear(mixed, "channelK", hidden);
    x = g.add(x, layer.linear(g.gate(up, up, "relu"), "channelV", width));
  }
  const contextLength = config.int(["context_length", "max_position_embeddings"], 4096);
  return net.finish(net.head(net.layerNorm(x, eps), false), contextLength);
}
