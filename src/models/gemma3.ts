/**
 * Gemma 3, text (Gemma Team 2025): most layers see a window and have a rope base of their own, every sixth sees
 * everything; norms before and after each block (sandwich), QK norm, scaled embeddings, perhaps soft caps. EmbeddingGemma
 * (2025) is the same with tokens that see each other: its output is `hidden`.
 * Hugging Face's norm weights are offsets from 1; GGUF's converter has added the 1 already.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { GEMMA_NAMES, gemmaScale } from "./gemma2.ts";
import { readRope } from "./rope.ts";

/** Layers of the largest model, which alone scales queries by another width than the head's. */
const LAYERS_27B = 62;

export async function gemma3(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, GEMMA_NAMES, {
    windows: { fullEvery: 6, size: 4096 },
    activationKey: "hidden_activation",
    activation: "geluTanh",
    rope: { layerType: "full_attention", defaultBase: 1e6 },
  });
  const { net, g, config, layers, width, headDim, qWidth, kvWidth, hidden, eps, activation, windows } = decoder;
  const localRope = await readRope(artifact, config, {
    headDim,
    style: "half",
    contextLength: decoder.contextLength,
    context: options.context,
    layerType: "sliding_attention",
    ggufBase: "rope.freq_base_swa",
    hfBase: "rope_local_base_freq",
    unscaled: true,
  });
  // EmbeddingGemma (2025): tokens see each other, near layers half a window to either side.
  const mutual = config.bool([null, "use_bidirectional_attention"], false) || config.architecture === "gemma-embedding";
  const reach = (window: number): number => Math.floor(window / 2);
  const weightOffset = config.format === "hf" ? 1 : 0;
  const scale = gemmaScale(decoder, LAYERS_27B);
  const softcap = config.optional(["attn_logit_softcapping", "attn_logit_softcapping"]);
  const logitCap = config.optional(["final_logit_softcapping", "final_logit_softcapping"]);

  let x = net.embed(width, Math.sqrt(width));
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const rope = windows[i] === undefined ? decoder.rope : localRope;
    const h = layer.rmsNorm(x, "attnNorm", eps, { weightOffset });
    const q = layer.rmsNorm(layer.linear(h, "q", qWidth), "qNorm", eps, { headDim, weightOffset });
    const k = layer.rmsNorm(layer.linear(h, "k", kvWidth), "kNorm", eps, { headDim, weightOffset });
    const v = layer.linear(h, "v", kvWidth);
    const window = windows[i];
    const ahead = mutual && window !== undefined ? { window: reach(window) + 1, ahead: reach(window) } : {};
    const attended = layer.linear(decoder.attend(i, q, k, v, { rope, scale, softcap, ...ahead }), "o", width);
    x = g.add(x, layer.rmsNorm(attended, "attnPostNorm", eps, { weightOffset }));
    const gated = layer.gatedMlp(layer.rmsNorm(x, "ffnNorm", eps, { weightOffset }), hidden, activation);
    x = g.add(x, layer.rmsNorm(gated, "ffnPostNorm", eps, { weightOffset }));
  }
  if (mutual) {
    g.output("hidden", net.norm(x, eps, weightOffset));
    return g.build({ contextLength: decoder.contextLength });
  }
  const logits = net.head(net.norm(x, eps, weightOffset), true);
  return net.finish(logitCap === undefined ? logits : g.softcap(logits, logitCap), decoder.contextLength);
}
