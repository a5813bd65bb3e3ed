/**
 * Falcon (Almazrouei et al. 2023): attention and a plain MLP side by side, one key/value head or few, no biases in the
 * larger models. The 40B and 180B models have a norm for each of the two blocks; the oldest compute one after the other.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { UnsupportedError } from "../errors.ts";
import { ConfigReader } from "./config.ts";
import { readDecoder } from "./decoder.ts";
import type { DimensionKeys } from "./dimensions.ts";
import type { GraphOptions } from "./family.ts";
import type { TensorNames } from "./names.ts";

const NAMES = {
  prefixes: ["transformer."],
  layers: "h",
  model: {
    embed: ["token_embd", "word_embeddings"],
    norm: ["output_norm", "ln_f"],
  },
  layer: {
    // The norm before the MLP, and before attention too where there is no other.
    norm: ["attn_norm", "ln_mlp", "input_layernorm"],
    attnNorm: ["attn_norm_2", "ln_attn"],
    qkv: ["attn_qkv", "self_attention.query_key_value"],
    o: ["attn_output", "self_attention.dense"],
    serialNorm: ["ffn_norm", "post_attention_layernorm"],
    up: ["ffn_up", "mlp.dense_h_to_4h"],
    down: ["ffn_down", "mlp.dense_4h_to_h"],
  },
} as const satisfies TensorNames;

export async function falcon(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const config = new ConfigReader(artifact);
  if (config.bool([null, "alibi"], false)) throw new UnsupportedError(`${artifact.name}: Falcon with ALiBi`);
  const decoder = await readDecoder(artifact, options, NAMES, {
    keys: { eps: ["attention.layer_norm_epsilon", "layer_norm_epsilon"], ...ownSizes(config) },
    activationKey: "activation",
    activation: "gelu",
  });
  const { net, g, layers, width, hidden, eps, activation } = decoder;

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const m = layer.layerNorm(x, "norm", eps);
    const h = layer.has("attnNorm") ? layer.layerNorm(x, "attnNorm", eps) : m;
    const [q, k, v] = layer.groupedQkv(h, "qkv", decoder);
    const attended = layer.linear(decoder.attend(i, q, k, v), "o", width);
    if (layer.has("serialNorm")) {
      x = g.add(x, attended);
      x = g.add(x, layer.mlp(layer.layerNorm(x, "serialNorm", eps), hidden, activation));
    } else {
      x = g.add(x, g.add(attended, layer.mlp(m, hidden, activation)));
    }
  }
  return net.finish(net.head(net.layerNorm(x, eps), true), decoder.contextLength);
}

/** config.json's older words: one key/value head (`multi_query`), or one for each head; an MLP four times as wide. */
function ownSizes(config: ConfigReader): DimensionKeys {
  if (config.format === "gguf") return {};
  const grouped = config.bool([null, "new_decoder_architecture"], false);
  const single = !grouped && config.bool([null, "multi_query"], true);
  return {
    kvHeads: [null, grouped ? "num_kv_heads" : "num_attention_heads"],
    known: {
      hidden: config.int([null, "ffn_hidden_size"], 4 * config.int([null, "hidden_size"])),
      ...(single && { kvHeads: 1 }),
    },
  };
}
