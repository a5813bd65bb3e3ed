/**
 * ERNIE 4.5 with experts (Baidu 2025): ERNIE 4.5 whose MLPs are mixtures of experts behind the first layers; a bias helps to
 * choose experts, and one more sees every token.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { LLAMA_NAMES } from "./names.ts";

export async function ernie45moe(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, LLAMA_NAMES, { style: "interleaved" });
  const { net, g, config, layers, width, qWidth, kvWidth, hidden, eps, activation } = decoder;
  const mixture = {
    experts: config.int(["expert_count", "moe_num_experts"]),
    topK: config.int(["expert_used_count", "moe_k"]),
    hidden: config.int(["expert_feed_forward_length", "moe_intermediate_size"]),
    normalize: true,
    activation,
  };
  const sharedExperts = config.optional(["expert_shared_count", "moe_num_shared_experts"]) ?? 0;
  const sharedHidden = config.optional(["expert_shared_feed_forward_length", null]) ?? sharedExperts * mixture.hidden;
  const every = config.int(["interleave_moe_layer_step", "moe_layer_interval"], 1);
  const first = config.optional(["leading_dense_block_count", "moe_layer_start_index"]) ?? 0;
  const last = config.optional([null, "moe_layer_end_index"]) ?? layers - 1;

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    const q = layer.linear(h, "q", qWidth);
    const k = layer.linear(h, "k", kvWidth);
    const v = layer.linear(h, "v", kvWidth);
    x = g.add(x, layer.linear(decoder.attend(i, q, k, v), "o", width));

    const m = layer.rmsNorm(x, "ffnNorm", eps);
    const dense = (i + 1) % every !== 0 || i < first || i > last;
    let mlp = dense ? layer.gatedMlp(m, hidden, activation) : layer.moe(m, mixture);
    if (!dense && sharedExperts > 0) mlp = g.add(mlp, layer.sharedExpert(m, sharedHidden, activation));
    x = g.add(x, mlp);
  }
  return net.finish(net.head(net.norm(x, eps), false), decoder.contextLength);
}
