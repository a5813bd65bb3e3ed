/**
 * The numbers of a mixture of experts, by the names that most families use.
 */
import type { Decoder } from "./decoder.ts";
import type { MoeOptions } from "./layer.ts";
import type { TensorNames } from "./names.ts";

type RouteOptions = Required<MoeOptions>;
type Groups = NonNullable<MoeOptions["groups"]>;

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

/** A mixture as DeepSeek's models have it: chosen within groups, with an expert that sees every token. */
export interface SharedMixture extends MoeOptions {
  /** The first layers, which have a plain MLP. */
  readonly dense: number;
  /** Columns inside what sees every token. */
  readonly sharedHidden: number;
}

/** What GGUF calls the functions of a router. */
const GATING = { 1: "softmax", 2: "sigmoid" } as const;

/** What config.json calls them, as DeepSeek's does. */
const SHARED_NAMES = {
  experts: "n_routed_experts",
  topK: "num_experts_per_tok",
  groups: "n_group",
  normalize: "norm_topk_prob",
  shared: "n_shared_experts",
};

/** `scores` and `by`: the family's own (`scores` where GGUF is silent); `names`: its words in config.json. */
export function readSharedMixture<N extends TensorNames>(
  { config, activation }: Pick<Decoder<N>, "config" | "activation">,
  { scores = "sigmoid", by = "two largest" }: Partial<Pick<RouteOptions, "scores"> & Pick<Groups, "by">> = {},
  names: Readonly<typeof SHARED_NAMES> = SHARED_NAMES,
): SharedMixture {
  const experts = config.int(["expert_count", names.experts]);
  const hidden = config.int(["expert_feed_forward_length", "moe_intermediate_size"]);
  const count = config.optional(["expert_group_count", names.groups]) ?? 1;
  const kept = config.optional(["expert_group_used_count", "topk_group"]) ?? count;
  const gating = config.optional(["expert_gating_func", null]);
  return {
    experts,
    topK: config.int(["expert_used_count", names.topK]),
    hidden,
    normalize: config.bool(["expert_weights_norm", names.normalize], false),
    activation,
    scores: gating === 1 || gating === 2 ? GATING[gating] : scores,
    factor: config.float(["expert_weights_scale", "routed_scaling_factor"], 1),
    ...(kept < count && { groups: { count, kept, by } }),
    dense: config.optional(["leading_dense_block_count", "first_k_dense_replace"]) ?? 0,
    sharedHidden: hidden * (config.optional(["expert_shared_count", names.shared]) ?? 1),
  };
}
