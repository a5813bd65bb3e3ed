/**
 * LFM2 (Liquid AI 2025): most layers are gated short convolutions, some are attention with an RMS norm on each head of q
 * and k; each is followed by a gated MLP.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import type { ConfigReader } from "./config.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { LLAMA_NAMES } from "./names.ts";
import { attentionLayers, hybridSizes, shortConv } from "./recurrent.ts";

const NAMES = {
  ...LLAMA_NAMES,
  model: { embed: ["token_embd", "embed_tokens"], norm: ["token_embd_norm", "embedding_norm"] },
  layer: {
    ...LLAMA_NAMES.layer,
    attnNorm: ["attn_norm", "operator_norm"],
    qNorm: ["attn_q_norm", "self_attn.q_layernorm"],
    kNorm: ["attn_k_norm", "self_attn.k_layernorm"],
    o: ["attn_output", "self_attn.out_proj"],
    ffnNorm: ["ffn_norm", "ffn_norm"],
    gate: ["ffn_gate", "feed_forward.w1"],
    up: ["ffn_up", "feed_forward.w3"],
    down: ["ffn_down", "feed_forward.w2"],
    convIn: ["shortconv.in_proj", "conv.in_proj"],
    conv: ["shortconv.conv", "conv.conv"],
    convOut: ["shortconv.out_proj", "conv.out_proj"],
  },
} as const;

export async function lfm2(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const keys = { eps: ["attention.layer_norm_rms_epsilon", "norm_eps"], ...hybridSizes(artifact) } as const;
  const decoder = await readDecoder(artifact, options, NAMES, { keys, activationKey: null });
  const { net, g, config, layers, width, headDim, qWidth, kvWidth, eps } = decoder;
  const hidden = mlpWidth(config, decoder.hidden);
  const taps = config.int(["shortconv.l_cache", "conv_L_cache"]);
  const isAttention = attentionLayers(config, layers);

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    if (isAttention(i)) {
      const q = layer.rmsNorm(layer.linear(h, "q", qWidth), "qNorm", eps, { headDim });
      const k = layer.rmsNorm(layer.linear(h, "k", kvWidth), "kNorm", eps, { headDim });
      const v = layer.linear(h, "v", kvWidth);
      x = g.add(x, layer.linear(decoder.attend(i, q, k, v), "o", width));
    } else {
      const [b, c, u] = layer.split(h, "convIn", [width, width, width]);
      const convolved = shortConv(g, layer, i, g.multiply(b, u), taps);
      x = g.add(x, layer.linear(g.multiply(c, convolved), "convOut", width));
    }
    x = g.add(x, layer.gatedMlp(layer.rmsNorm(x, "ffnNorm", eps), hidden, "silu"));
  }
  return net.finish(net.head(net.norm(x, eps), config.bool([null, "tie_embedding"], true)), decoder.contextLength);
}

/** config.json may give the width of an MLP that isn't gated: two thirds of it, in whole steps. */
function mlpWidth(config: ConfigReader, hidden: number): number {
  if (config.format === "gguf" || !config.bool([null, "block_auto_adjust_ff_dim"], false)) return hidden;
  const step = config.int([null, "block_multiple_of"], 256);
  const wanted = Math.floor(config.float([null, "block_ffn_dim_multiplier"], 1) * Math.floor((2 * hidden) / 3));
  return step * Math.ceil(wanted / step);
}
