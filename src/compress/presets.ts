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
  sparse24: {
    about: "SparseGPT, two of four weights stay; in F16, with the zeros (simulated)",
    passes: [
      { pass: "sparsegpt", pattern: "2:4" },
      { pass: "quantize", type: "F16" },
    ],
  },
  sparse50: {
    about: "SparseGPT, half of the weights go; in F16, with the zeros (simulated)",
    passes: [
      { pass: "sparsegpt", sparsity: 0.5 },
      { pass: "quantize", type: "F16" },
    ],
  },
  "svd-llm": {
    about: "SVD-LLM: each matrix as two narrow ones with 80 % of its weights, in F16",
    passes: [{ pass: "low-rank" }, { pass: "quantize", type: "F16" }],
  },
  "q3-lorc": {
    about: "Q3_K_M with 32 singular vectors of the error given back",
    passes: [{ pass: "lorc", type: "Q3_K_M" }],
  },
  "short-2": {
    about: "ShortGPT: the two layers that change their rows least go",
    passes: [{ pass: "drop-layers", count: 2 }],
  },
  "flap-25": {
    about: "FLAP: three quarters of the MLPs' channels, in F16",
    passes: [{ pass: "prune-width" }, { pass: "quantize", type: "F16" }],
  },
  "slice-25": {
    about: "SliceGPT with one rotation: three quarters of the stream's columns, in F16",
    passes: [{ pass: "slice-width" }, { pass: "quantize", type: "F16" }],
  },
  "reap-25": {
    about: "REAP: three quarters of each layer's experts, in F16",
    passes: [{ pass: "prune-experts" }, { pass: "quantize", type: "F16" }],
  },
};

export const PRESETS: ReadonlyMap<string, RecipeSource> = new Map([...mixtures, ...Object.entries(others)]);
