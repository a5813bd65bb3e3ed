/**
 * SmolLM3 (Bakouch et al. 2025): Llama in which every fourth layer knows no positions (NoPE, Yang et al. 2025).
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { numberList } from "./config.ts";
import type { ConfigReader } from "./config.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { LLAMA_NAMES } from "./names.ts";

export async function smollm3(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const settings = { style: "permuted", windows: { onByDefault: false } } as const;
  const decoder = await readDecoder(artifact, options, LLAMA_NAMES, settings);
  const { net, g, config, layers, width, qWidth, kvWidth, hidden, eps, activation } = decoder;
  const turns = turningLayers(config);

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    const q = layer.linear(h, "q", qWidth);
    const k = layer.linear(h, "k", kvWidth);
    const v = layer.linear(h, "v", kvWidth);
    const rope = turns(i) ? decoder.rope : null;
    x = g.add(x, layer.linear(decoder.attend(i, q, k, v, { rope }), "o", width));
    x = g.add(x, layer.gatedMlp(layer.rmsNorm(x, "ffnNorm", eps), hidden, activation));
  }
  return net.finish(net.head(net.norm(x, eps), true), decoder.contextLength);
}

/** As `no_rope_layers` says (1: the layer turns, in spite of the name), else all but every fourth. */
function turningLayers(config: ConfigReader): (layer: number) => boolean {
  const flags = numberList(config.get([null, "no_rope_layers"]));
  if (flags !== undefined) return (layer) => flags[layer] === 1;
  const interval = config.int([null, "no_rope_layer_interval"], 4);
  return (layer) => (layer + 1) % interval !== 0;
}
