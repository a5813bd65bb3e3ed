/**
 * Gemma 2 (Gemma Team 2024): every second layer sees a window; norms before and after each block (sandwich), scaled
 * embeddings, soft caps on scores and logits. Hugging Face's norm weights are offsets from 1; GGUF's converter has added
 * the 1 already.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import type { ConfigReader } from "./config.ts";
import { readDecoder } from "./decoder.ts";
import type { Dimensions } from "./dimensions.ts";
import type { GraphOptions } from "./family.ts";
import { LLAMA_NAMES } from "./names.ts";

export const GEMMA_NAMES = {
  ...LLAMA_NAMES,
  prefixes: ["model.", "language_model.model.", "model.language_model.", ""],
  layer: {
    ...LLAMA_NAMES.layer,
    attnPostNorm: ["post_attention_norm", "post_attention_layernorm"],
    ffnNorm: ["ffn_norm", "pre_feedforward_layernorm"],
    ffnPostNorm: ["post_ffw_norm", "post_feedforward_layernorm"],
  },
} as const;

/** Layers of the largest model, which alone scales queries by another width than the head's. */
const LAYERS_27B = 46;

export async function gemma2(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, GEMMA_NAMES, {
    windows: { fullEvery: 2, size: 4096 },
    activationKey: "hidden_activation",
    activation: "geluTanh",
  });
  const { net, g, config, layers, width, qWidth, kvWidth, hidden, eps, activation } = decoder;
  const weightOffset = config.format === "hf" ? 1 : 0;
  const scale = gemmaScale(decoder, LAYERS_27B);
  const softcap = config.optional(["attn_logit_softcapping", "attn_logit_softcapping"]);
  const logitCap = config.optional(["final_logit_softcapping", "final_logit_softcapping"]);

  let x = net.embed(width, Math.sqrt(width));
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps, { weightOffset });
    const q = layer.linear(h, "q", qWidth);
    const k = layer.linear(h, "k", kvWidth);
    const v = layer.linear(h, "v", kvWidth);
    const attended = layer.linear(decoder.attend(i, q, k, v, { scale, softcap }), "o", width);
    x = g.add(x, layer.rmsNorm(attended, "attnPostNorm", eps, { weightOffset }));
    const gated = layer.gatedMlp(layer.rmsNorm(x, "ffnNorm", eps, { weightOffset }), hidden, activation);
    x = g.add(x, layer.rmsNorm(gated, "ffnPostNorm", eps, { weightOffset }));
  }
  const logits = net.head(net.norm(x, eps, weightOffset), true);
  return net.finish(logitCap === undefined ? logits : g.softcap(logits, logitCap), decoder.contextLength);
}

/**
 * 1 / √(query_pre_attn_scalar), which GGUF leaves out: it is the head's width, but in the largest model, known by its
 * number of layers.
 */
export function gemmaScale(d: Dimensions & { readonly config: ConfigReader }, largestLayers: number): number {
  const { config, width, heads, headDim } = d;
  const fallback = config.format === "hf" ? 256 : d.layers === largestLayers ? width / heads : headDim;
  return 1 / Math.sqrt(config.float([null, "query_pre_attn_scalar"], fallback));
}
