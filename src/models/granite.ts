/**
 * Granite 3 (IBM 2024): Llama with four multipliers (maximal update parametrisation, Yang et al. 2022): on the embeddings,
 * on what a block adds, on the scores, and 1 / one on the logits. Its MoE models have softmax-routed experts, and
 * perhaps one expert more that sees every token. In Granite 4 H (IBM 2025) most layers have Mamba-2's mixer in the place of
 * attention, and the others no rope. MiniCPM (Hu et al. 2024) multiplies alike under other names.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph, Value } from "../graph/graph.ts";
import type { ConfigReader } from "./config.ts";
import type { Dimensions } from "./dimensions.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { readMixture } from "./mixture.ts";
import { LLAMA_NAMES } from "./names.ts";
import { attentionLayers, hybridSizes, readSsd, ssd, ssdNames } from "./recurrent.ts";

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
    ...ssdNames("mamba"),
  },
} as const;

export async function granite(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const isHybrid = HYBRIDS.includes(options.title);
  const keys = isHybrid ? hybridSizes(artifact) : {};
  const decoder = await readDecoder(artifact, options, NAMES, { style: "permuted", keys });
  const { net, g, config, layers, width, qWidth, kvWidth, hidden, eps, activation } = decoder;
  const multiply =
    options.title === "minicpm" ? minicpmMultipliers(config, decoder) : graniteMultipliers(config, decoder);
  const { scale } = multiply;
  const mixture = readMixture(decoder, true);
  const isAttention = isHybrid ? attentionLayers(config, layers) : () => true;
  const sizes = isHybrid ? readSsd(config, SSD_KEYS, eps) : undefined;
  const rope = isHybrid && !hasRope(config) ? { rope: null } : {};
  const sharedHidden = config.optional(["expert_shared_feed_forward_length", "shared_intermediate_size"]);

  let x = net.embed(width, multiply.embedding);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    let mixed: Value;
    if (sizes !== undefined && !isAttention(i)) mixed = ssd(g, config, layer, i, h, sizes);
    else {
      const q = layer.linear(h, "q", qWidth);
      const k = layer.linear(h, "k", kvWidth);
      const v = layer.linear(h, "v", kvWidth);
      mixed = layer.linear(decoder.attend(i, q, k, v, { scale, ...rope }), "o", width);
    }
    x = g.add(x, g.scale(mixed, multiply.residual));

    const m = layer.rmsNorm(x, "ffnNorm", eps);
    const shared =
      sharedHidden === undefined || !layer.has("sharedDown")
        ? undefined
        : layer.gatedMlp(m, sharedHidden, activation, "shared");
    const routed = mixture && layer.moe(m, mixture);
    const both = routed !== undefined && shared !== undefined ? g.add(routed, shared) : undefined;
    const mlp = both ?? routed ?? shared ?? layer.gatedMlp(m, hidden, activation);
    x = g.add(x, g.scale(mlp, multiply.residual));
  }
  const logits = net.head(net.norm(x, eps), options.title === "minicpm");
  return net.finish(g.scale(logits, 1 / multiply.logits), decoder.contextLength);
}

/** config.json's names for readSsd. */
const SSD_KEYS = ["mamba_n_heads", "mamba_d_head", "mamba_n_groups", "mamba_d_state", "mamba_d_conv"] as const;
const HYBRIDS: readonly string[] = ["granitemoehybrid", "granitehybrid"];

/** Whether a hybrid's attention turns queries and keys by position. */
function hasRope(config: ConfigReader): boolean {
  if (config.format === "gguf") return config.bool(["rope.scaling.finetuned", null], true);
  return config.get([null, "position_embedding_type"]) === "rope";
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
