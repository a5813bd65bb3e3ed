/**
 * Baichuan (Yang et al. 2023): Llama with q, k and v in one matrix. In the 13B models distance takes from the scores instead
 * of positions (ALiBi); in the second generation the rows of the output matrix have length 1.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { alibiSlopes } from "./alibi.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { LLAMA_NAMES } from "./names.ts";

const NAMES = { ...LLAMA_NAMES, layer: { ...LLAMA_NAMES.layer, qkv: ["", "self_attn.W_pack"] } } as const;

/** The vocabulary of Baichuan 2. */
const SECOND_VOCABULARY = 125_696;
/** Heads of the 13B models, and their layers. */
const LARGE = 40;

export async function baichuan(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, NAMES, { style: "permuted" });
  const { net, g, config, layers, width, heads, qWidth, kvWidth, hidden, eps, activation } = decoder;
  // GGUF's readers go by the layers, the authors' code for the larger models by nothing: it is other code.
  const isLarge = config.format === "gguf" ? layers === LARGE : heads === LARGE;
  const how = isLarge ? { rope: null, slopes: alibiSlopes(heads) } : {};
  const isSecond =
    config.get([null, "z_loss_weight"]) !== undefined || config.get([null, "vocab_size"]) === SECOND_VOCABULARY;

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    const [q, k, v] = layer.qkv(h, qWidth, kvWidth);
    x = g.add(x, layer.linear(decoder.attend(i, q, k, v, how), "o", width));
    x = g.add(x, layer.gatedMlp(layer.rmsNorm(x, "ffnNorm", eps), hidden, activation));
  }
  return net.finish(await net.headOfUnitRows(net.norm(x, eps), isSecond), decoder.contextLength);
}
