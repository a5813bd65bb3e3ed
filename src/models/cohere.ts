/**
 * Command R (Cohere 2024): attention and a gated MLP side by side behind one layer norm without a bias, rope in neighbouring
 * pairs, and scaled logits. Command R7B and Command A (Cohere 2024, "cohere2") have a window on three of four layers, and
 * no positions on the others.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { UnsupportedError } from "../errors.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { LLAMA_NAMES } from "./names.ts";

export async function cohere(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, LLAMA_NAMES, {
    keys: { eps: ["attention.layer_norm_epsilon", "layer_norm_eps"] },
    style: "interleaved",
    windows: { fullEvery: 4 },
  });
  const { net, g, config, layers, width, qWidth, kvWidth, hidden, eps, activation, windows } = decoder;
  const logitScale = config.float(["logit_scale", "logit_scale"], 0.0625);
  if (config.bool([null, "use_qk_norm"], false) || artifact.tensors.has("blk.0.attn_q_norm.weight"))
    throw new UnsupportedError(`${artifact.name}: Command R+ with a layer norm for each head of q and k`);

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.layerNorm(x, "attnNorm", eps);
    const q = layer.linear(h, "q", qWidth);
    const k = layer.linear(h, "k", kvWidth);
    const v = layer.linear(h, "v", kvWidth);
    const rope = options.title === "cohere2" && windows[i] === undefined ? null : decoder.rope;
    const attended = layer.linear(decoder.attend(i, q, k, v, { rope }), "o", width);
    x = g.add(x, g.add(attended, layer.gatedMlp(h, hidden, activation)));
  }
  const logits = net.head(net.layerNorm(x, eps), true);
  return net.finish(g.scale(logits, logitScale), decoder.contextLength);
}
