/**
 * gpt-oss (OpenAI 2025): attention with sinks, a window on every second layer, YaRN, biases everywhere, and mixtures of
 * experts whose gates and ups are cut off at a limit.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { LLAMA_NAMES } from "./names.ts";

const NAMES = {
  ...LLAMA_NAMES,
  layer: {
    ...LLAMA_NAMES.layer,
    sinks: ["attn_sinks", "self_attn.sinks"],
    ffnNorm: ["post_attention_norm", "post_attention_layernorm"],
    router: ["ffn_gate_inp", "mlp.router"],
  },
} as const;

export async function gptoss(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, NAMES, {
    windows: { fullEvery: 2 },
    keys: { hidden: ["expert_feed_forward_length", "intermediate_size"] },
  });
  const { net, g, config, layers, width, heads, qWidth, kvWidth, hidden, eps } = decoder;
  const mixture = {
    experts: config.int(["expert_count", "num_local_experts"]),
    topK: config.int(["expert_used_count", "num_experts_per_tok"]),
    hidden,
    normalize: true,
    activation: "clampedSwiglu",
    paired: true,
    transposed: true,
  } as const;

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    const q = layer.linear(h, "q", qWidth);
    const k = layer.linear(h, "k", kvWidth);
    const v = layer.linear(h, "v", kvWidth);
    const sinks = layer.vector("sinks", heads);
    x = g.add(x, layer.linear(decoder.attend(i, q, k, v, { sinks }), "o", width));
    x = g.add(x, layer.moe(layer.rmsNorm(x, "ffnNorm", eps), mixture));
  }
  return net.finish(net.head(net.norm(x, eps), false), decoder.contextLength);
}
