/**
 * StableLM (Bellagente et al. 2024): Llama with layer norms and rope on a part of each head; some models compute attention
 * and MLP side by side.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { UnsupportedError } from "../errors.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { LLAMA_NAMES } from "./names.ts";

export async function stablelm(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, LLAMA_NAMES, {
    keys: { eps: ["attention.layer_norm_epsilon", "layer_norm_eps"] },
  });
  const { net, g, config, layers, width, qWidth, kvWidth, hidden, eps, activation } = decoder;
  const parallel = config.bool(["use_parallel_residual", "use_parallel_residual"], false);
  if (config.bool([null, "qk_layernorm"], false) || artifact.tensors.has("blk.0.attn_q_norm.weight"))
    throw new UnsupportedError(`${artifact.name}: StableLM with a layer norm for each head of q and k`);

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.layerNorm(x, "attnNorm", eps);
    const q = layer.linear(h, "q", qWidth);
    const k = layer.linear(h, "k", kvWidth);
    const v = layer.linear(h, "v", kvWidth);
    const attended = layer.linear(decoder.attend(i, q, k, v), "o", width);
    if (parallel) {
      x = g.add(x, g.add(attended, layer.gatedMlp(h, hidden, activation)));
    } else {
      x = g.add(x, attended);
      x = g.add(x, layer.gatedMlp(layer.layerNorm(x, "ffnNorm", eps), hidden, activation));
    }
  }
  return net.finish(net.head(net.layerNorm(x, eps), false), decoder.contextLength);
}
