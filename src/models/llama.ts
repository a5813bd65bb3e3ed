/**
 * Llama (Touvron et al. 2023): Llama 2 and 3, Mistral (a window where the config sets one), SmolLM2, Vicuna, and whoever
 * else is built alike, perhaps with another pairing of the columns that rope turns: Seed-OSS (ByteDance 2025), ERNIE 4.5
 * (Baidu 2025) and Helium (Kyutai 2025). Biases are used where a file has them.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import type { DecoderSettings } from "./decoder.ts";
import { readDecoder } from "./decoder.ts";
import type { Family, GraphOptions } from "./family.ts";
import type { TensorName } from "./names.ts";
import { LLAMA_NAMES } from "./names.ts";

/** GGUF's converter permutes q and k so that a head's pairs lie side by side. */
export const llama = llamaOf("permuted");
export const ernie45 = llamaOf("interleaved");
export const helium = llamaOf("interleaved");
export const seedOss = llamaOf("half", ["post_attention_norm", "post_attention_layernorm"]);

function llamaOf(
  style: NonNullable<DecoderSettings["style"]>,
  ffnNorm: TensorName = LLAMA_NAMES.layer.ffnNorm,
): Family {
  const names = { ...LLAMA_NAMES, layer: { ...LLAMA_NAMES.layer, ffnNorm } };
  return async (artifact: ModelArtifact, options: GraphOptions): Promise<Graph> => {
    const decoder = await readDecoder(artifact, options, names, { style });
    const { net, g, layers, width, qWidth, kvWidth, hidden, eps, activation } = decoder;

    let x = net.embed(width);
    for (let i = 0; i < layers; i++) {
      const layer = net.layer(i);
      const h = layer.rmsNorm(x, "attnNorm", eps);
      const q = layer.linear(h, "q", qWidth);
      const k = layer.linear(h, "k", kvWidth);
      const v = layer.linear(h, "v", kvWidth);
      x = g.add(x, layer.linear(decoder.attend(i, q, k, v), "o", width));
      x = g.add(x, layer.gatedMlp(layer.rmsNorm(x, "ffnNorm", eps), hidden, activation));
    }
    return net.finish(net.head(net.norm(x, eps), false), decoder.contextLength);
  };
}
