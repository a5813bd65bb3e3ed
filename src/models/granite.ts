/**
 * Granite 3 (IBM 2024): Llama with four multipliers (maximal update parametrisation, Yang et al. 2022): on the embeddings,
 * on what a block adds, on the scores, and 1 / one on the logits. Its MoE models have softmax-routed experts, and
 * perhaps one expert more that sees every token. MiniCPM (Hu et al. 2024) multiplies alike under other names.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import type { ConfigReader } from "./config.ts";
import type { Dimensions } from "./dimensions.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { readMixture } from "./mixture.ts";
import { LLAMA_NAMES } from "./names.ts";

const NAMES = {
  ...LLAMA_NAMES,
  layer: {
    ...LLAMA_NAMES.layer,
    router: ["ffn_gate_inp", "block_sparse_moe.router.layer"],
    expertsGateUp: ["", "block_sparse_moe.input_linear"],
    expertsDown: ["ffn_down_exps", "block_sparse_moe.output_linear"],
    sharedGate: ["ffn_gate_shexp"],
    sharedUp: ["ffn_up_shexp"],
    sharedGateUp: ["", "shared_mlp.input_linear"],
    sharedDown: ["ffn_down_shexp", "shared_mlp.output_linear"],
  },
} as const;

export async function granite(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, NAMES, { style: "permuted" });
  const { net, g, config, layers, width, qWidth, kvWidth, hidden, eps, activation } = decoder;
  const multiply =
    options.title === "minicpm" ? minicpmMultipliers(config, decoder) : graniteMultipliers(config, decoder);
  const { scale } = multiply;
  const mixture = readMixture(decoder, true);
  const sharedHidden = config.optional(["expert_shared_feed_forward_length", "shared_intermediate_size"]);

  let x = net.embed(width, multiply.embedding);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    const q = layer.linear(h, "q", qWidth);
    const k = layer.linear(h, "k", kvWidth);
    const v = layer.linear(h, "v", kvWidth);
    const attended = layer.linear(decoder.attend(i, q, k, v, { scale }), "o", width);
    x = g.add(x, g.scale(attended, multiply.residual));

    const m = layer.rmsNorm(x, "ffnNorm", eps);
    let mlp = mixture === undefined ? layer.gatedMlp(m, hidden, activation) : layer.moe(m, mixture);
    if (mixture !== undefined && sharedHidden !== undefined)
      mlp = g.add(mlp, layer.gatedMlp(m, sharedHidden, activation, "shared"));
    x = g.add(x, g.scale(mlp, multiply.residual));
  }
  const logits = net.head(net.norm(x, eps), options.title === "minicpm");
  return net.finish(g.scale(logits, 1 / multiply.logits), decoder.contextLength);
}

interface Multipliers {
  readonly embedding: number;
  readonly residual: number;
  readonly scale: number;
  /** The logits' divisor. */
  readonly logits: number;
}

function graniteMultipliers(config: ConfigReader, { headDim }: Dimensions): Multipliers {
  return {
    embedding: config.float(["embedding_scale", "embedding_multiplier"], 1),
    residual: config.float(["residual_scale", "residual_multiplier"], 1),
    // transformers' default of 1 is the formula's; llama.cpp takes a missing key for the usual scale.
    scale: config.float(["attention.scale", "attention_multiplier"], config.format === "hf" ? 1 : headDim ** -0.5),
    logits: config.float(["logit_scale", "logits_scaling"], 1),
  };
}

/** GGUF files from before the keys were written are of the 2B model of 40 layers. */
function minicpmMultipliers(config: ConfigReader, { layers, width, headDim }: Dimensions): Multipliers {
  const scale = headDim ** -0.5;
  if (config.format === "gguf") {
    return {
      embedding: config.float(["embedding_scale", null], 12),
      residual: config.float(["residual_scale", null], 1.4 / Math.sqrt(layers)),
      scale,
      logits: config.float(["logit_scale", null], width / 256),
    };
  }
  return {
    embedding: config.float([null, "scale_emb"], 1),
    residual: config.float([null, "scale_depth"], 1) / Math.sqrt(layers),
    scale,
    logits: width / config.float([null, "dim_model_base"], width),
  };
}
