/**
 * GPT-NeoX (Black et al. 2022) and Pythia (Biderman et al. 2023): layer norms, a plain MLP, biases, rope on a quarter of each
 * head; attention and MLP side by side behind a norm each, or one after the other.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { ConfigReader } from "./config.ts";
import type { TensorNames } from "./names.ts";

const NAMES = {
  prefixes: ["gpt_neox.", ""],
  layers: "layers",
  model: {
    embed: ["token_embd", "embed_in"],
    norm: ["output_norm", "final_layer_norm"],
  },
  layer: {
    attnNorm: ["attn_norm", "input_layernorm"],
    qkv: ["attn_qkv", "attention.query_key_value"],
    o: ["attn_output", "attention.dense"],
    ffnNorm: ["ffn_norm", "post_attention_layernorm"],
    up: ["ffn_up", "mlp.dense_h_to_4h"],
    down: ["ffn_down", "mlp.dense_4h_to_h"],
  },
} as const satisfies TensorNames;

export async function gptneox(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, NAMES, {
    keys: { eps: ["attention.layer_norm_epsilon", "layer_norm_eps"] },
    activation: "gelu",
    rope: { hfBase: "rotary_emb_base", ...turnedColumns(new ConfigReader(artifact)) },
  });
  const { net, g, config, layers, width, hidden, eps, activation } = decoder;
  const parallel = config.bool(["use_parallel_residual", "use_parallel_residual"], true);

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const [q, k, v] = layer.groupedQkv(layer.layerNorm(x, "attnNorm", eps), "qkv", decoder);
    const attended = layer.linear(decoder.attend(i, q, k, v), "o", width);
    const before = parallel ? x : g.add(x, attended);
    const mlp = layer.mlp(layer.layerNorm(before, "ffnNorm", eps), hidden, activation);
    x = parallel ? g.add(x, g.add(attended, mlp)) : g.add(before, mlp);
  }
  return net.finish(net.head(net.layerNorm(x, eps), false, "embed_out"), decoder.contextLength);
}

/** Configs from before `rope_parameters` give the turned share of a head as `rotary_pct`. */
function turnedColumns(config: ConfigReader): { readonly turned?: number } {
  if (config.get([null, "rotary_pct"]) === undefined) return {};
  const headDim = config.int([null, "hidden_size"]) / config.int([null, "num_attention_heads"]);
  return { turned: Math.floor(headDim * Math.min(1, config.float([null, "rotary_pct"]))) };
}
