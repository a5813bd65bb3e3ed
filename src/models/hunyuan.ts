/**
 * Hunyuan (Tencent 2025): Llama with an RMS norm on each head of q and k, after they are turned. Its MoE models (Hunyuan-A13B)
 * have softmax-routed experts, and one expert more that sees every token.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import type { Decoder } from "./decoder.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import type { MoeOptions } from "./layer.ts";
import { LLAMA_NAMES } from "./names.ts";

const NAMES = {
  ...LLAMA_NAMES,
  layer: {
    ...LLAMA_NAMES.layer,
    qNorm: ["attn_q_norm", "self_attn.query_layernorm"],
    kNorm: ["attn_k_norm", "self_attn.key_layernorm"],
    router: ["ffn_gate_inp", "mlp.gate.wg"],
    sharedGate: ["ffn_gate_shexp", "mlp.shared_mlp.gate_proj"],
    sharedUp: ["ffn_up_shexp", "mlp.shared_mlp.up_proj"],
    sharedDown: ["ffn_down_shexp", "mlp.shared_mlp.down_proj"],
  },
} as const;

export async function hunyuan(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, NAMES);
  const { net, g, config, layers, width, headDim, qWidth, kvWidth, hidden, eps, activation, rope } = decoder;
  const mixture = options.title.includes("moe") ? readExperts(decoder) : undefined;
  const sharedHidden = config.int(["expert_shared_feed_forward_length", null], hidden);

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    const q = layer.rmsNorm(g.rope(layer.linear(h, "q", qWidth), rope), "qNorm", eps, { headDim });
    const k = layer.rmsNorm(g.rope(layer.linear(h, "k", kvWidth), rope), "kNorm", eps, { headDim });
    const v = layer.linear(h, "v", kvWidth);
    x = g.add(x, layer.linear(decoder.attend(i, q, k, v, { rope: null }), "o", width));

    const m = layer.rmsNorm(x, "ffnNorm", eps);
    if (mixture === undefined) x = g.add(x, layer.gatedMlp(m, hidden, activation));
    else x = g.add(x, g.add(layer.moe(m, mixture), layer.gatedMlp(m, sharedHidden, activation, "shared")));
  }
  return net.finish(net.head(net.norm(x, eps), false), decoder.contextLength);
}

function readExperts({ config, hidden, activation }: Decoder<typeof NAMES>): MoeOptions {
  return {
    experts: config.int(["expert_count", "num_experts"]),
    topK: config.int(["expert_used_count", "moe_topk"]),
    hidden: config.int(["expert_feed_forward_length", null], hidden),
    normalize: true,
    activation,
  };
}
