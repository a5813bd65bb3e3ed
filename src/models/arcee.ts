/**
 * Arcee's AFM (2025): Llama with a plain MLP whose activation is the square of ReLU (So et al. 2021).
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { LLAMA_NAMES } from "./names.ts";

export async function arcee(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  // The activation is the family's: the table of activations has no square, a gate makes one of relu(u) · u.
  const settings = { style: "permuted", activationKey: null, activation: "relu" } as const;
  const decoder = await readDecoder(artifact, options, LLAMA_NAMES, settings);
  const { net, g, config, layers, width, qWidth, kvWidth, hidden, eps, activation } = decoder;
  config.choice([null, "hidden_act"], { relu2: "relu2" }, "relu2");

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    const q = layer.linear(h, "q", qWidth);
    const k = layer.linear(h, "k", kvWidth);
    const v = layer.linear(h, "v", kvWidth);
    x = g.add(x, layer.linear(decoder.attend(i, q, k, v), "o", width));
    const up = layer.linear(layer.rmsNorm(x, "ffnNorm", eps), "up", hidden);
    x = g.add(x, layer.linear(g.gate(up, up, activation), "down", width));
  }
  return net.finish(net.head(net.norm(x, eps), false), decoder.contextLength);
}
