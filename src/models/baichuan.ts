/**
 * Baichuan (Yang et al. 2023), first generation, 7B: Llama with q, k and v in one matrix. The 13B models use ALiBi, the
 * second generation normalises the rows of its output matrix: neither is read from Hugging Face's files.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { UnsupportedError } from "../errors.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { LLAMA_NAMES } from "./names.ts";

const NAMES = { ...LLAMA_NAMES, layer: { ...LLAMA_NAMES.layer, qkv: ["", "self_attn.W_pack"] } } as const;

/** The vocabulary of Baichuan 2. */
const SECOND_VOCABULARY = 125_696;
/** Layers of the 13B models. */
const LAYERS_13B = 40;

export async function baichuan(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, NAMES, { style: "permuted" });
  const { net, g, config, layers, width, qWidth, kvWidth, hidden, eps, activation } = decoder;
  if (layers === LAYERS_13B) throw new UnsupportedError(`${artifact.name}: Baichuan 13B, which uses ALiBi`);
  if (config.get([null, "vocab_size"]) === SECOND_VOCABULARY)
    throw new UnsupportedError(`${artifact.name}: Baichuan 2 from Hugging Face's files; GGUF files work`);

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    const [q, k, v] = layer.has("qkv")
      ? layer.split(h, "qkv", [qWidth, kvWidth, kvWidth])
      : [layer.linear(h, "q", qWidth), layer.linear(h, "k", kvWidth), layer.linear(h, "v", kvWidth)];
    x = g.add(x, layer.linear(decoder.attend(i, q, k, v), "o", width));
    x = g.add(x, layer.gatedMlp(layer.rmsNorm(x, "ffnNorm", eps), hidden, activation));
  }
  return net.finish(net.head(net.norm(x, eps), false), decoder.contextLength);
}
