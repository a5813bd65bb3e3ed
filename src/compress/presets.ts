/** The recipes that have names. */
import { MIXTURE_NAMES } from "./mixtures.ts";

/** What a recipe's file says: passes by name, in order, each with options of its own beside it. */
export interface RecipeSource {
  readonly name?: string | undefined;
  readonly about?: string | undefined;
  readonly passes: readonly { readonly pass: string; readonly [option: string]: unknown }[];
}

const mixtures = MIXTURE_NAMES.map((type): [string, RecipeSource] => [
  type.toLowerCase(),
  { about: `GGUF in ${type}`, passes: [{ pass: "quantize", type }] },
]);

const others: Readonly<Record<string, RecipeSource>> = {
  "q4_k_m-gptq": { about: "GPTQ into Q4_K_M", passes: [{ pass: "gptq", type: "Q4_K_M" }] },
  "q3_k_m-gptq": { about: "GPTQ into Q3_K_M", passes: [{ pass: "gptq", type: "Q3_K_M" }] },
  "q2_k-gptq": { about: "GPTQ into Q2_K", passes: [{ pass: "gptq", type: "Q2_K" }] },
  "q4_k_m-awq": {
    about: "AWQ's scales, then Q4_K_M",
    passes: [
      { pass: "awq", type: "Q4_K_M" },
      { pass: "quantize", type: "Q4_K_M" },
    ],
  },
  "w4-gptq-g64": { about: "GPTQ, 4 bits in groups of 64 (simulated)", passes: [{ pass: "gptq", bits: 4, group: 64 }] },
  "w3-gptq-g64": { about: "GPTQ, 3 bits in groups of 64 (simulated)", passes: [{ pass: "gptq", bits: 3, group: 64 }] },
  "w4-awq": {
    about: "AWQ's scales, then Q4_1 (4 bits in groups of 32, with a minimum)",
    passes: [
      { pass: "awq", type: "Q4_1", pure: true },
      { pass: "quantize", type: "Q4_1" },
    ],
  },
  "w4-hqq": { about: "HQQ into Q4_1, without data", passes: [{ pass: "hqq", type: "Q4_1" }] },
  "w8a8-smooth": {
    about: "SmoothQuant, then Q8_0: the engine rounds the rows to 8 bits, too",
    passes: [{ pass: "smoothquant" }, { pass: "quantize", type: "Q8_0" }],
  },
  rotated: { about: "QuaRot's folded rotations; a pass that rounds comes behind", passes: [{ pass: "rotate" }] },
  hardened: {
    about: "the same function, harder to compress: the stream turned at random, outliers planted",
    passes: [{ pass: "rotate", kind: "orthogonal", values: false }, { pass: "plant-outliers" }],
  },
  "q3-lorc": {
    about: "Q3_K_M with 32 singular vectors of the error given back",
    passes: [{ pass: "lorc", type: "Q3_K_M" }],
  },
  "short-2": {
    about: "ShortGPT: the two layers that change their rows least go",
    passes: [{ pass: "drop-layers", count: 2 }],
  },
  "flap-25": inF16("FLAP: three quarters of the MLPs' channels", { pass: "prune-width" }),
  "slice-25": inF16("SliceGPT with one rotation: three quarters of the stream's columns", { pass: "slice-width" }),
  "reap-25": inF16("REAP: three quarters of each layer's experts", { pass: "prune-experts" }),
  "q4_0-rotated": {
    about: "QuaRot's folded rotations, then Q4_0",
    passes: [{ pass: "rotate" }, { pass: "quantize", type: "Q4_0", pure: true }],
  },
};

/** A pass, and everything in F16 behind it. */
function inF16(about: string, pass: RecipeSource["passes"][number]): RecipeSource {
  return { about: `${about}, in F16`, passes: [pass, { pass: "quantize", type: "F16" }] };
}

/** Zeros, which no kernel skips yet (simulated): SparseGPT first, the others to compare it with. */
const sparse: Readonly<Record<string, RecipeSource>> = {
  sparse24: inF16("SparseGPT, two of four weights stay", { pass: "sparsegpt", pattern: "2:4" }),
  sparse50: inF16("SparseGPT, half of the weights go", { pass: "sparsegpt" }),
  "sparse24-wanda": inF16("Wanda, two of four weights stay", { pass: "wanda", pattern: "2:4" }),
  "sparse50-wanda": inF16("Wanda, half of the weights go", { pass: "wanda" }),
  "sparse50-dsnot": inF16("Wanda with DSØT's swaps, half of the weights go", { pass: "wanda", refine: "dsnot" }),
  "sparse50-owl": inF16("Wanda with OWL's shares, half of the weights go", { pass: "wanda", layers: "owl" }),
  "sparse50-ria": inF16("RIA, half of the weights go", { pass: "ria" }),
  "sparse50-magnitude": inF16("the smaller half of the weights goes", { pass: "magnitude" }),
};

/** Two narrow matrices for each, with four fifths of its weights. */
const lowRank: Readonly<Record<string, RecipeSource>> = {
  svd: inF16("plain singular values", { pass: "low-rank", by: "svd" }),
  asvd: inF16("ASVD", { pass: "low-rank", by: "asvd" }),
  "svd-llm": inF16("SVD-LLM", { pass: "low-rank" }),
  "svd-llm-searched": inF16("SVD-LLM with ranks where they gain most", { pass: "low-rank", ranks: "searched" }),
};

export const PRESETS: ReadonlyMap<string, RecipeSource> = new Map([
  ...mixtures,
  ...[others, sparse, lowRank].flatMap((group) => Object.entries(group)),
]);
