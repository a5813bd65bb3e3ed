/**
 * Phi-1, 1.5 and 2 (Gunasekar et al. 2023): attention and a plain MLP side by side behind one layer norm, rope on a part of
 * each head, biases everywhere, on the logits too.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { UnsupportedError } from "../errors.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import type { TensorNames } from "./names.ts";
import { LLAMA_NAMES } from "./names.ts";

const NAMES = {
  ...LLAMA_NAMES,
  model: { ...LLAMA_NAMES.model, norm: ["output_norm", "final_layernorm"] },
  layer: {
    attnNorm: ["attn_norm", "input_layernorm"],
    q: ["attn_q", "self_attn.q_proj"],
    k: ["attn_k", "self_attn.k_proj"],
    v: ["attn_v", "self_attn.v_proj"],
    o: ["attn_output", "self_attn.dense"],
    up: ["ffn_up", "mlp.fc1"],
    down: ["ffn_down", "mlp.fc2"],
  },
} as const satisfies TensorNames;

export async function phi(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, NAMES, {
    keys: { eps: ["attention.layer_norm_epsilon", "layer_norm_eps"] },
    activation: "geluTanh",
  });
  const { net, g, config, layers, width, qWidth, kvWidth, hidden, eps, activation } = decoder;
  if (config.bool([null, "qk_layernorm"], false))
    throw new UnsupportedError(`${artifact.name}: Phi with norms on q and k`);

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.layerNorm(x, "attnNorm", eps);
    const q = layer.linear(h, "q", qWidth);
    const k = layer.linear(h, "k", kvWidth);
    const v = layer.linear(h, "v", kvWidth);
    const attended = layer.linear(decoder.attend(i, q, k, v), "o", width);
    x = g.add(x, g.add(attended, layer.mlp(h, hidden, activation)));
  }
  return net.finish(net.head(net.layerNorm(x, eps), false), decoder.contextLength);
}
