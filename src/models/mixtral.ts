/**
 * Mixtral (Jiang et al. 2024): Llama whose MLP is a mixture of experts; the chosen experts' shares add up to 1.
 * GGUF calls it "llama" and gives a number of experts.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { kvState, layerWindows, readActivation, readDimensions } from "./dimensions.ts";
import type { GraphOptions } from "./family.ts";
import { LLAMA_NAMES } from "./names.ts";
import { Network } from "./network.ts";
import { readRope } from "./rope.ts";

export async function mixtral(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const net = new Network(artifact, options.title, LLAMA_NAMES);
  const { g, config } = net;
  const d = readDimensions(config);
  const { layers, width, heads, kvHeads, headDim, hidden, eps, contextLength } = d;
  const style = config.format === "gguf" ? "interleaved" : "half";
  const rope = await readRope(artifact, config, { headDim, style, contextLength, context: options.context });
  const windows = layerWindows(config, layers);
  const activation = readActivation(config, "hidden_act", "silu");
  const scale = 1 / Math.sqrt(headDim);
  const experts = config.int(["expert_count", "num_local_experts"]);
  const topK = config.int(["expert_used_count", "num_experts_per_tok"]);

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
    x = g.add(x, layer.moe(m, { experts, topK, hidden, normalize: true, activation }));
  }
  return net.finish(net.head(net.norm(g.rows(x), eps), false), contextLength);
}
