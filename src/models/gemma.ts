/**
 * Gemma (Gemma Team 2024): Llama with scaled embeddings, a GELU gate and heads whose width is set freely. Hugging Face's
 * norm weights are offsets from 1; GGUF's converter has added the 1 already.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { LLAMA_NAMES } from "./names.ts";

export async function gemma(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  // Old configs say "gelu" in hidden_act and mean its tanh form, which hidden_activation names.
  const settings = { activationKey: "hidden_activation", activation: "geluTanh" } as const;
  const decoder = await readDecoder(artifact, options, LLAMA_NAMES, settings);
  const { net, g, config, layers, width, qWidth, kvWidth, hidden, eps, activation } = decoder;
  const weightOffset = config.format === "hf" ? 1 : 0;

  let x = net.embed(width, Math.sqrt(width));
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps, { weightOffset });
    const q = layer.linear(h, "q", qWidth);
    const k = layer.linear(h, "k", kvWidth);
    const v = layer.linear(h, "v", kvWidth);
    x = g.add(x, layer.linear(decoder.attend(i, q, k, v), "o", width));
    x = g.add(x, layer.gatedMlp(layer.rmsNorm(x, "ffnNorm", eps, { weightOffset }), hidden, activation));
  }
  return net.finish(net.head(net.norm(x, eps, weightOffset), true), decoder.contextLength);
}
