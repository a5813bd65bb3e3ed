/**
 * EXAONE 4 (LG AI Research 2025): norms after each block instead of before, an RMS norm on each head of q and k, and in the
 * 32B model a window on three of four layers while the others know no positions.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { POST_NORM_NAMES } from "./olmo2.ts";

export async function exaone4(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, POST_NORM_NAMES, { windows: { fullEvery: 4 } });
  const { net, g, layers, width, headDim, qWidth, kvWidth, hidden, eps, activation, windows } = decoder;
  const hybrid = windows.some((window) => window !== undefined);

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const q = layer.rmsNorm(layer.linear(x, "q", qWidth), "qNorm", eps, { headDim });
    const k = layer.rmsNorm(layer.linear(x, "k", kvWidth), "kNorm", eps, { headDim });
    const v = layer.linear(x, "v", kvWidth);
    const rope = hybrid && windows[i] === undefined ? null : decoder.rope;
    const attended = layer.linear(decoder.attend(i, q, k, v, { rope }), "o", width);
    x = g.add(x, layer.rmsNorm(attended, "attnPostNorm", eps));
    x = g.add(x, layer.rmsNorm(layer.gatedMlp(x, hidden, activation), "ffnPostNorm", eps));
  }
  return net.finish(net.head(net.norm(x, eps), false), decoder.contextLength);
}
