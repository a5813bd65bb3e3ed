/**
 * OLMo (Groeneveld et al. 2024), the first generation: Llama with layer norms that have no weights, and in some models
 * queries, keys and values that are cut off at a limit.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph, Value } from "../graph/graph.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { LLAMA_NAMES } from "./names.ts";

/** The norm's; neither kind of file says it. */
const EPS = 1e-5;

export async function olmo(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, LLAMA_NAMES, { style: "permuted" });
  const { net, g, config, layers, width, qWidth, kvWidth, hidden, activation } = decoder;
  const limit = config.optional(["attention.clamp_kqv", "clip_qkv"]);
  const clamped = (x: Value): Value => (limit === undefined ? x : g.clamp(x, limit));
  const norm = (x: Value): Value => g.layerNorm(x, undefined, undefined, EPS);

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = norm(x);
    const q = clamped(layer.linear(h, "q", qWidth));
    const k = clamped(layer.linear(h, "k", kvWidth));
    const v = clamped(layer.linear(h, "v", kvWidth));
    x = g.add(x, layer.linear(decoder.attend(i, q, k, v), "o", width));
    x = g.add(x, layer.gatedMlp(norm(x), hidden, activation));
  }
  return net.finish(net.head(norm(x), false), decoder.contextLength);
}
