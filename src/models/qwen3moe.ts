/**
 * Qwen3-MoE (Yang et al. 2025): Qwen3 whose MLPs are mixtures of many small experts; some layers may stay dense. Qwen1.5-MoE
 * and Qwen2-MoE (Qwen Team 2024) normalise no heads, have biases on q, k and v, and an expert more that sees every token,
 * times the sigmoid of a gate.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { numberList } from "./config.ts";
import type { ConfigReader } from "./config.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { LLAMA_NAMES } from "./names.ts";

export async function qwen3moe(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const windows = { onByDefault: false, firstLayer: 0 };
  const decoder = await readDecoder(artifact, options, LLAMA_NAMES, { windows });
  const { net, g, config, layers, width, headDim, qWidth, kvWidth, hidden, eps, activation } = decoder;
  const isQwen3 = options.title.startsWith("qwen3");
  const sharedHidden = config.optional(["expert_shared_feed_forward_length", "shared_expert_intermediate_size"]);
  const mixture = {
    // transformers 5 writes num_local_experts.
    experts: config.int([
      "expert_count",
      config.get([null, "num_experts"]) === undefined ? "num_local_experts" : "num_experts",
    ]),
    topK: config.int(["expert_used_count", "num_experts_per_tok"]),
    hidden: config.int(["expert_feed_forward_length", "moe_intermediate_size"]),
    // GGUF doesn't say; all published models of Qwen3 divide by the sum, none of Qwen2.
    normalize: config.bool([null, "norm_topk_prob"], config.format === "gguf" && isQwen3),
    activation,
  };
  const namedDense = denseLayers(config);

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    let [q, k] = [layer.linear(h, "q", qWidth), layer.linear(h, "k", kvWidth)];
    if (isQwen3) {
      q = layer.rmsNorm(q, "qNorm", eps, { headDim });
      k = layer.rmsNorm(k, "kNorm", eps, { headDim });
    }
    const v = layer.linear(h, "v", kvWidth);
    x = g.add(x, layer.linear(decoder.attend(i, q, k, v), "o", width));

    const m = layer.rmsNorm(x, "ffnNorm", eps);
    // GGUF has no list: a layer without a router is dense.
    const dense = config.format === "gguf" ? !layer.has("router") : namedDense(i);
    let mlp = dense ? layer.gatedMlp(m, hidden, activation) : layer.moe(m, mixture);
    if (!dense && sharedHidden !== undefined) mlp = g.add(mlp, layer.sharedExpert(m, sharedHidden, activation));
    x = g.add(x, mlp);
  }
  return net.finish(net.head(net.norm(x, eps), false), decoder.contextLength);
}

/** Layers with a plain MLP: those that `mlp_only_layers` names, and all but every `decoder_sparse_step`-th. */
function denseLayers(config: ConfigReader): (layer: number) => boolean {
  const named = numberList(config.get([null, "mlp_only_layers"])) ?? [];
  const step = config.int([null, "decoder_sparse_step"], 1);
  return (layer) => named.includes(layer) || (layer + 1) % step !== 0;
}
