/**
 * What a pass is: a model goes in, a model comes out, and a report of what was done. Models are artifacts, whose tensors are
 * places in byte sources, so a pass may be lazy, or keep what it computed in the store that it is given. Passes stand one
 * a file; `passes.ts` lists them, `recipe.ts` strings them together, `compress.ts` runs them.
 */
import type { z } from "zod";

import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Backend } from "../backend/contract.ts";
import type { Toolkit } from "../backend/cpu/toolkit.ts";
import type { Calibration, Importance } from "./calibration.ts";
import type { PackedMatrices } from "./packed.ts";
import type { PassReport } from "./report.ts";
import type { Store } from "./store.ts";

/**
 * What a method is, in four fields: those by which "A Survey on Efficient Inference for Large Language Models" (Zhou et
 * al. 2024, table 3) tells post-training methods apart, widened to methods that don't quantise.
 */
export interface Taxonomy {
  /** What is made smaller or cheaper. */
  readonly tensors: readonly ("weights" | "activations" | "KV cache")[];
  /** What it is afterwards. */
  readonly format: "uniform" | "non-uniform" | "as it was" | "sparse" | "low rank" | "smaller shapes";
  /** How scales, masks, ranks … are found. */
  readonly parameters: "statistics" | "search" | "optimisation" | "none";
  /** Whether the values that stay change, too, and by what. */
  readonly update: "rounding" | "compensation" | "equivalent transform" | "reconstruction" | "none";
}

export interface PassResult {
  readonly artifact: ModelArtifact;
  /** Matrices whose floats stand for plain integers: for the layouts that hold these. */
  readonly packed?: PackedMatrices;
  readonly report: PassReport;
}

export interface PassProgress {
  readonly done: number;
  readonly total: number;
  readonly unit: "bytes" | "steps";
}

export interface PassContext {
  /** Native threads for rounding and linear algebra. */
  readonly toolkit: Toolkit;
  /** Runs graphs, for passes that need activations. */
  readonly backend: Backend;
  /** Undefined where nobody gave any: a pass that needs it says so. */
  readonly calibration: Calibration | undefined;
  /** What an imatrix file says; taken instead of measuring. */
  readonly importance: Importance | undefined;
  /** This pass's own: what it kept before it was killed is there again. */
  readonly store: Store;
  readonly progress: (progress: PassProgress) => void;
  readonly signal: AbortSignal | undefined;
}

export interface Pass<Options = unknown> {
  readonly name: string;
  /** One line, with the paper: "GPTQ (Frantar et al. 2022): …". */
  readonly summary: string;
  readonly taxonomy: Taxonomy;
  readonly needsCalibration: boolean;
  /** What a recipe may say beside the pass's name; strict, with defaults. */
  readonly options: z.ZodType<Options>;
  /**
   * Formats of the tensors afterwards, without computing any; undefined: shapes aren't known before. `--dry-run` shows the
   * sizes.
   */
  plan?(artifact: ModelArtifact, options: Options): ModelArtifact;
  apply(artifact: ModelArtifact, context: PassContext, options: Options): Promise<PassResult>;
}

/** A pass whose options were checked: what a recipe is a list of. */
export interface PassStep {
  readonly pass: Pass;
  readonly options: unknown;
}

/** Lets the schema type a pass's options, and forgets them: a recipe checks what it hands over. */
export function definePass<Options>(pass: Pass<Options>): Pass {
  return pass;
}
