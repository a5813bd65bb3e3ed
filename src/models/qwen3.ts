/**
 * Qwen3 (Yang et al. 2025): Llama with an RMS norm on each head of q and k, and heads whose width is set freely.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { kvState, layerWindows, readActivation, readDimensions } from "./dimensions.ts";
import type { GraphOptions } from "./family.ts";
import { LLAMA_NAMES } from "./names.ts";
import { Network } from "./network.ts";
import { readRope } from "./rope.ts";

export async function qwen3(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const net = new Network(artifact, options.title, LLAMA_NAMES);
  const { g, config } = net;
  const d = readDimensions(config);
  const { layers, width, heads, kvHeads, headDim, hidden, eps, contextLength } = d;
  const rope = await readRope(artifact, config, { headDim, style: "half", contextLength, context: options.context });
  const windows = layerWindows(config, layers, { onByDefault: false, firstLayer: 28 });
  const activation = readActivation(config, "hidden_act", "silu");
  const scale = 1 / Math.sqrt(headDim);

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    const q = layer.rmsNorm(layer.linear(h, "q", heads * headDim), "qNorm", eps, { headDim });
    const k = layer.rmsNorm(layer.linear(h, "k", kvHeads * headDim), "kNorm", eps, { headDim });
    const v = layer.linear(h, "v", kvHeads * headDim);
    const state = g.state(kvState(i, d, windows[i]));
    x = g.add(x, layer.linear(g.attention(g.rope(q, rope), g.rope(k, rope), v, { state, heads, scale }), "o", width));

    const m = layer.rmsNorm(x, "ffnNorm", eps);
    const gated = g.gate(layer.linear(m, "gate", hidden), layer.linear(m, "up", hidden), activation);
    x = g.add(x, layer.linear(gated, "down", width));
  }
  return net.finish(net.head(net.norm(g.rows(x), eps), false), contextLength);
}
