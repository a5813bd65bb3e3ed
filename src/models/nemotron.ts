/**
 * Nemotron-4 and Minitron (Parmar et al. 2024): layer norms whose weights are offsets from 1 in Hugging Face's file, a plain
 * MLP whose activation is the square of ReLU (So et al. 2021), and rope on a part of each head.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { LLAMA_NAMES } from "./names.ts";

export async function nemotron(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, LLAMA_NAMES, {
    keys: { eps: ["attention.layer_norm_epsilon", "norm_eps"] },
    activationKey: null,
    activation: "relu",
  });
  const { net, g, config, layers, width, qWidth, kvWidth, hidden, eps, activation } = decoder;
  config.choice([null, "hidden_act"], { relu2: "relu2" }, "relu2");
  const weightOffset = config.format === "hf" ? 1 : 0;

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.layerNorm(x, "attnNorm", eps, { weightOffset });
    const q = layer.linear(h, "q", qWidth);
    const k = layer.linear(h, "k", kvWidth);
    const v = layer.linear(h, "v", kvWidth);
    x = g.add(x, layer.linear(decoder.attend(i, q, k, v), "o", width));
    const up = layer.linear(layer.layerNorm(x, "ffnNorm", eps, { weightOffset }), "up", hidden);
    x = g.add(x, layer.linear(g.gate(up, up, activation), "down", width));
  }
  return net.finish(net.head(net.layerNorm(x, eps, weightOffset), false), decoder.contextLength);
}
