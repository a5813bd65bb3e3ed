/**
 * ChatGLM 2 and 3 (GLM Team 2024), by their own names in Hugging Face's files: GLM-4 (glm.ts) with q, k and v in one matrix.
 * GGUF calls all of them "chatglm".
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { ConfigReader } from "./config.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { glm } from "./glm.ts";

const NAMES = {
  prefixes: ["transformer."],
  layers: "encoder.layers",
  model: { embed: ["", "embedding.word_embeddings"], norm: ["", "encoder.final_layernorm"] },
  layer: {
    attnNorm: ["", "input_layernorm"],
    qkv: ["", "self_attention.query_key_value"],
    o: ["", "self_attention.dense"],
    ffnNorm: ["", "post_attention_layernorm"],
    gateUp: ["", "mlp.dense_h_to_4h"],
    down: ["", "mlp.dense_4h_to_h"],
  },
} as const;

export async function chatglm(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  if (artifact.config.format === "gguf") return glm(artifact, options);
  const reader = new ConfigReader(artifact);
  const headDim = reader.int([null, "kv_channels"]);
  const decoder = await readDecoder(artifact, options, NAMES, {
    style: "interleaved",
    keys: {
      layers: [null, "num_layers"],
      kvHeads: [null, "multi_query_group_num"],
      headDim: [null, "kv_channels"],
      hidden: [null, "ffn_hidden_size"],
      eps: [null, "layernorm_epsilon"],
    },
    rope: { turned: headDim / 2, defaultBase: 10_000 * reader.float([null, "rope_ratio"], 1) },
  });
  const { net, g, layers, width, qWidth, kvWidth, hidden, eps, activation } = decoder;

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const [q, k, v] = layer.split(layer.rmsNorm(x, "attnNorm", eps), "qkv", [qWidth, kvWidth, kvWidth]);
    x = g.add(x, layer.linear(decoder.attend(i, q, k, v), "o", width));
    x = g.add(x, layer.gatedMlp(layer.rmsNorm(x, "ffnNorm", eps), hidden, activation));
  }
  return net.finish(net.head(net.norm(x, eps), false, "transformer.output_layer"), decoder.contextLength);
}
