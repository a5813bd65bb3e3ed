/**
 * GPT-J (Wang & Komatsuzaki 2021): attention and a plain MLP side by side behind one layer norm, rope on the first
 * columns of each head in neighbouring pairs, biases in the MLP and on the logits.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { ConfigReader } from "./config.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import type { TensorNames } from "./names.ts";

const NAMES = {
  prefixes: ["transformer."],
  layers: "h",
  model: {
    embed: ["token_embd", "wte"],
    norm: ["output_norm", "ln_f"],
  },
  layer: {
    attnNorm: ["attn_norm", "ln_1"],
    q: ["attn_q", "attn.q_proj"],
    k: ["attn_k", "attn.k_proj"],
    v: ["attn_v", "attn.v_proj"],
    o: ["attn_output", "attn.out_proj"],
    up: ["ffn_up", "mlp.fc_in"],
    down: ["ffn_down", "mlp.fc_out"],
  },
} as const satisfies TensorNames;

export async function gptj(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const own = new ConfigReader(artifact);
  const width = own.int(["embedding_length", "n_embd"]);
  const decoder = await readDecoder(artifact, options, NAMES, {
    keys: {
      layers: ["block_count", "n_layer"],
      width: ["embedding_length", "n_embd"],
      heads: ["attention.head_count", "n_head"],
      eps: ["attention.layer_norm_epsilon", "layer_norm_epsilon"],
      known: { hidden: own.int(["feed_forward_length", "n_inner"], 4 * width) },
    },
    style: "interleaved",
    activationKey: "activation_function",
    activation: "geluTanh",
    rope: own.format === "hf" ? { turned: own.int([null, "rotary_dim"]) } : {},
  });
  const { net, g, layers, qWidth, hidden, eps, activation } = decoder;

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.layerNorm(x, "attnNorm", eps);
    const q = layer.linear(h, "q", qWidth);
    const k = layer.linear(h, "k", qWidth);
    const v = layer.linear(h, "v", qWidth);
    const attended = layer.linear(decoder.attend(i, q, k, v), "o", width);
    x = g.add(x, g.add(attended, layer.mlp(h, hidden, activation)));
  }
  return net.finish(net.head(net.layerNorm(x, eps), false), decoder.contextLength);
}
