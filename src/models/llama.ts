/**
 * Llama (Touvron et al. 2023): Llama 2 and 3, Mistral (a window where the config sets one), SmolLM2, Vicuna, and
 * whoever else is built alike. GGUF's converter permutes q and k so that a head's pairs lie side by side.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { LLAMA_NAMES } from "./names.ts";

export async function llama(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, LLAMA_NAMES, { style: "permuted" });
  const { net, g, layers, width, qWidth, kvWidth, hidden, eps, activation } = decoder;

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    const q = layer.linear(h, "q", qWidth);
    const k = layer.linear(h, "k", kvWidth);
    const v = layer.linear(h, "v", kvWidth);
    x = g.add(x, layer.linear(decoder.attend(i, q, k, v), "o", width));
    x = g.add(x, layer.gatedMlp(layer.rmsNorm(x, "ffnNorm", eps), hidden, activation));
  }
  return net.finish(net.head(net.norm(g.rows(x), eps), false), decoder.contextLength);
}
