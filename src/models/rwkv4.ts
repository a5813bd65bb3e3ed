/**
 * RWKV-4 (Peng et al. 2023): layers of two blocks, each of which mixes a row with the one before it, a share for each
 * column: time mixing, an average of all values that decays with distance, and channel mixing, an MLP of squared ReLU;
 * both are gated.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph, Value } from "../graph/graph.ts";
import { wkvStateWidth } from "../graph/shapes.ts";
import type { GraphOptions } from "./family.ts";
import { Network } from "./network.ts";
import { recentRows, scanStates } from "./recurrent.ts";

const NAMES = {
  prefixes: ["rwkv."],
  layers: "blocks",
  model: { embed: ["token_embd", "embeddings"], norm: ["output_norm", "ln_out"] },
  layer: {
    firstNorm: ["", "pre_ln"],
    timeNorm: ["", "ln1"],
    decay: ["", "attention.time_decay"],
    bonus: ["", "attention.time_first"],
    timeMixK: ["", "attention.time_mix_key"],
    timeMixV: ["", "attention.time_mix_value"],
    timeMixR: ["", "attention.time_mix_receptance"],
    timeK: ["", "attention.key"],
    timeV: ["", "attention.value"],
    timeR: ["", "attention.receptance"],
    timeOut: ["", "attention.output"],
    channelNorm: ["", "ln2"],
    channelMixK: ["", "feed_forward.time_mix_key"],
    channelMixR: ["", "feed_forward.time_mix_receptance"],
    channelK: ["", "feed_forward.key"],
    channelR: ["", "feed_forward.receptance"],
    channelV: ["", "feed_forward.value"],
  },
} as const;

export async function rwkv4(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const net = new Network(artifact, options.title, NAMES);
  const { g, config } = net;
  const width = config.int([null, "hidden_size"]);
  const inner = config.int([null, "attention_hidden_size"], width);
  const hidden = config.int([null, "intermediate_size"], 4 * width);
  const eps = config.float([null, "layer_norm_epsilon"], 1e-5);

  let x = net.embed(width);
  for (let i = 0; i < config.int([null, "num_hidden_layers"]); i++) {
    const layer = net.layer(i);
    if (i === 0) x = layer.layerNorm(x, "firstNorm", eps);
    /** Of each row and the one before it, mixed by shares of either. */
    const mixer = (h: Value, what: string): ((part: string) => Value) => {
      const state = recentRows(g, i, width, 2, what);
      g.writeRows(h, state);
      const before = g.readRows(state, 1);
      return (part) => {
        const share = layer.values(part, "", width);
        return g.add(g.columnScale(h, share), g.columnScale(before, share, "oneMinus"));
      };
    };

    const time = mixer(layer.layerNorm(x, "timeNorm", eps), "before");
    const k = layer.linear(time("timeMixK"), "timeK", inner);
    const v = layer.linear(time("timeMixV"), "timeV", inner);
    const r = layer.linear(time("timeMixR"), "timeR", inner);
    const average = g.wkv(k, v, {
      decay: layer.values("decay", "", inner),
      factor: "negativeExp",
      bonus: layer.values("bonus", "", inner),
      ...scanStates(g, i, { state: wkvStateWidth(inner), history: 2 * inner }),
    });
    x = g.add(x, layer.linear(g.gate(r, average, "sigmoid"), "timeOut", width));

    const channel = mixer(layer.layerNorm(x, "channelNorm", eps), "before (MLP)");
    const key = layer.linear(channel("channelMixK"), "channelK", hidden);
    const value = layer.linear(g.gate(key, key, "relu"), "channelV", width);
    x = g.add(x, g.gate(layer.linear(channel("channelMixR"), "channelR", width), value, "sigmoid"));
  }
  const contextLength = config.int([null, "context_length"], 1024);
  return net.finish(net.head(net.layerNorm(x, eps), false, "head"), contextLength);
}
