/**
 * Llama (Touvron et al. 2023): Llama 2 and 3, Mistral (a window where the config sets one), SmolLM2, Vicuna, and
 * whoever else is built alike. GGUF's converter permutes q and k so that a head's pairs lie side by side.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { kvState, layerWindows, readActivation, readDimensions } from "./dimensions.ts";
import type { GraphOptions } from "./family.ts";
import { LLAMA_NAMES } from "./names.ts";
import { Network } from "./network.ts";
import { readRope } from "./rope.ts";

export async function llama(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const net = new Network(artifact, options.title, LLAMA_NAMES);
  const { g, config } = net;
  const d = readDimensions(config);
  const { layers, width, heads, kvHeads, headDim, hidden, eps, contextLength } = d;
  const style = config.format === "gguf" ? "interleaved" : "half";
  const rope = await readRope(artifact, config, { headDim, style, contextLength, context: options.context });
  const windows = layerWindows(config, layers);
  const activation = readActivation(config, "hidden_act", "silu");
  const scale = 1 / Math.sqrt(headDim);

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    const q = g.rope(layer.linear(h, "q", heads * headDim), rope);
    const k = g.rope(layer.linear(h, "k", kvHeads * headDim), rope);
    const v = layer.linear(h, "v", kvHeads * headDim);
    const state = g.state(kvState(i, d, windows[i]));
    x = g.add(x, layer.linear(g.attention(q, k, v, { state, heads, scale }), "o", width));

    const m = layer.rmsNorm(x, "ffnNorm", eps);
    const gated = g.gate(layer.linear(m, "gate", hidden), layer.linear(m, "up", hidden), activation);
    x = g.add(x, layer.linear(gated, "down", width));
  }
  return net.finish(net.head(net.norm(g.rows(x), eps), false), contextLength);
}
