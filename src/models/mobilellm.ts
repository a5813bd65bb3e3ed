/**
 * MobileLLM (Liu et al. 2024): a deep and thin Llama; with `layer_sharing` each stored layer runs twice in a row, and
 * remembers keys and values for each of its runs.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { LLAMA_NAMES } from "./names.ts";

export async function mobilellm(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, LLAMA_NAMES, { style: "permuted" });
  const { net, g, config, layers, width, qWidth, kvWidth, hidden, eps, activation } = decoder;
  const runs = config.bool([null, "layer_sharing"], false) ? 2 : 1;
  const tied = config.bool([null, "share_embedding"], true);

  let x = net.embed(width);
  for (let i = 0; i < layers * runs; i++) {
    const layer = net.layer(Math.floor(i / runs));
    const h = layer.rmsNorm(x, "attnNorm", eps);
    const q = layer.linear(h, "q", qWidth);
    const k = layer.linear(h, "k", kvWidth);
    const v = layer.linear(h, "v", kvWidth);
    x = g.add(x, layer.linear(decoder.attend(i, q, k, v), "o", width));
    x = g.add(x, layer.gatedMlp(layer.rmsNorm(x, "ffnNorm", eps), hidden, activation));
  }
  return net.finish(net.head(net.norm(x, eps), tied), decoder.contextLength);
}
