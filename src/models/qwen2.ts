/**
 * Qwen2 and Qwen2.5 (Yang et al. 2024): Llama with biases on q, k and v.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { LLAMA_NAMES } from "./names.ts";

export async function qwen2(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const windows = { onByDefault: false, firstLayer: 28 };
  const decoder = await readDecoder(artifact, options, LLAMA_NAMES, { windows });
  const { net, g, layers, width, qWidth, kvWidth, hidden, eps, activation } = decoder;

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    const q = layer.linear(h, "q", qWidth, { bias: "required" });
    const k = layer.linear(h, "k", kvWidth, { bias: "required" });
    const v = layer.linear(h, "v", kvWidth, { bias: "required" });
    x = g.add(x, layer.linear(decoder.attend(i, q, k, v), "o", width));
    x = g.add(x, layer.gatedMlp(layer.rmsNorm(x, "ffnNorm", eps), hidden, activation));
  }
  return net.finish(net.head(net.norm(x, eps), false), decoder.contextLength);
}
