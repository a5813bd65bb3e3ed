/**
 * Phi-3 and Phi-3.5 (Abdin et al. 2024): Llama with q, k, v in one matrix and gate, up in one matrix in the file,
 * and LongRoPE for the long-context models, whose factors are chosen by the context that the model is loaded for.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { kvState, layerWindows, readActivation, readDimensions } from "./dimensions.ts";
import type { GraphOptions } from "./family.ts";
import { LLAMA_NAMES } from "./names.ts";
import { Network } from "./network.ts";
import { readRope } from "./rope.ts";

const NAMES = {
  ...LLAMA_NAMES,
  layer: {
    ...LLAMA_NAMES.layer,
    qkv: ["attn_qkv", "self_attn.qkv_proj"],
    gateUp: ["ffn_up", "mlp.gate_up_proj"],
  },
} as const;

export async function phi3(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const net = new Network(artifact, options.title, NAMES);
  const { g, config } = net;
  const d = readDimensions(config);
  const { layers, width, heads, kvHeads, headDim, hidden, eps, contextLength } = d;
  const rope = await readRope(artifact, config, { headDim, style: "half", contextLength, context: options.context });
  const windows = layerWindows(config, layers);
  const activation = readActivation(config, "hidden_act", "silu");
  const scale = 1 / Math.sqrt(headDim);
  const qWidth = heads * headDim;
  const kvWidth = kvHeads * headDim;

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const qkv = layer.linear(layer.rmsNorm(x, "attnNorm", eps), "qkv", qWidth + 2 * kvWidth);
    const q = g.rope(g.slice(qkv, 0, qWidth), rope);
    const k = g.rope(g.slice(qkv, qWidth, kvWidth), rope);
    const v = g.slice(qkv, qWidth + kvWidth, kvWidth);
    const state = g.state(kvState(i, d, windows[i]));
    x = g.add(x, layer.linear(g.attention(q, k, v, { state, heads, scale }), "o", width));

    const gateUp = layer.linear(layer.rmsNorm(x, "ffnNorm", eps), "gateUp", 2 * hidden);
    const gated = g.gate(g.slice(gateUp, 0, hidden), g.slice(gateUp, hidden, hidden), activation);
    x = g.add(x, layer.linear(gated, "down", width));
  }
  return net.finish(net.head(net.norm(g.rows(x), eps), false), contextLength);
}
