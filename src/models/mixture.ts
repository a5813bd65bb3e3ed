/**
 * The numbers of a mixture of experts, by the names that most families use.
 */
import type { Decoder } from "./decoder.ts";
import type { MoeOptions } from "./layer.ts";
import type { TensorNames } from "./names.ts";

/**
 * The mixture that a config describes, or undefined where it gives no experts. An expert is as wide as the config says
 * for experts, else as its MLPs are. `normalize` is the family's own where the file is silent.
 */
export function readMixture<N extends TensorNames>(
  { config, hidden, activation }: Pick<Decoder<N>, "config" | "hidden" | "activation">,
  normalize = false,
): MoeOptions | undefined {
  // transformers 5 writes num_local_experts for most families.
  const name = ["num_experts", "num_local_experts"].find((key) => config.get([null, key]) !== undefined) ?? null;
  if (config.optional(["expert_count", name]) === undefined) return undefined;
  return {
    experts: config.int(["expert_count", name]),
    topK: config.int(["expert_used_count", "num_experts_per_tok"]),
    hidden: config.int(["expert_feed_forward_length", "moe_intermediate_size"], hidden),
    normalize: config.bool([null, "norm_topk_prob"], normalize),
    activation,
  };
}
