/**
 * Qwen3 (Yang et al. 2025): Llama with an RMS norm on each head of q and k, and heads whose width is set freely.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { LLAMA_NAMES } from "./names.ts";

export async function qwen3(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const windows = { onByDefault: false, firstLayer: 28 };
  const decoder = await readDecoder(artifact, options, LLAMA_NAMES, { windows });
  const { net, g, layers, width, headDim, qWidth, kvWidth, hidden, eps, activation } = decoder;

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    const q = layer.rmsNorm(layer.linear(h, "q", qWidth), "qNorm", eps, { headDim });
    const k = layer.rmsNorm(layer.linear(h, "k", kvWidth), "kNorm", eps, { headDim });
    const v = layer.linear(h, "v", kvWidth);
    x = g.add(x, layer.linear(decoder.attend(i, q, k, v), "o", width));
    x = g.add(x, layer.gatedMlp(layer.rmsNorm(x, "ffnNorm", eps), hidden, activation));
  }
  return net.finish(net.head(net.norm(x, eps), false), decoder.contextLength);
}
