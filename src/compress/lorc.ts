/**
 * The pass `lorc`: matrices rounded as `quantize` does it, and beside each of the layers' two narrow ones that give back most
 * of what rounding took: the leading singular vectors of the error (ZeroQuant-V2's LoRC, Yao et al. 2023; C9-45), whitened by
 * what the matrix reads where there is text to calibrate with (as QERA, Zhang et al. 2025, does it).
 */
import { z } from "zod";

import type { ModelArtifact, Tensor } from "../artifact/artifact.ts";
import { invariant } from "../errors.ts";
import { modelGraph } from "../models/models.ts";
import { walkLayers } from "./change-layers.ts";
import { checkGraph } from "./check-graph.ts";
import { factorise, type InputFacts } from "./factorise.ts";
import { type Matrix, multiply } from "./linear-algebra/matrix.ts";
import { keepFactors, matrixFrom } from "./low-rank.ts";
import { MIXTURE_NAMES, type MixtureName } from "./mixtures.ts";
import { definePass, type PassContext, type PassResult } from "./pass.ts";
import { quantize } from "./quantize.ts";
import { sectionsOf } from "./sections.ts";
import { withTensorMap } from "./tensors.ts";

const OPTIONS = z.strictObject({
  /** A mixture of formats, by name. */
  type: z.enum(MIXTURE_NAMES as [MixtureName, ...MixtureName[]]),
  pure: z.boolean().default(false),
  rank: z.int().min(1).max(1024).default(32),
  /** The format of the factors. */
  factors: z.enum(["F32", "F16", "BF16"]).default("F16"),
});
type Options = z.infer<typeof OPTIONS>;

export const lorc = definePass<Options>({
  name: "lorc",
  summary: "LoRC (Yao et al. 2023): round, and give back the leading singular vectors of the error beside it",
  taxonomy: { tensors: ["weights"], format: "low rank", parameters: "statistics", update: "reconstruction" },
  needsCalibration: false,
  options: OPTIONS,
  apply,
});

async function apply(artifact: ModelArtifact, context: PassContext, options: Options): Promise<PassResult> {
  const { store, calibration, signal } = context;
  const rounding = { type: options.type, pure: options.pure, importance: "measured", tensors: [] };
  const first = await quantize.apply(artifact, { ...context, store: store.within("rounded") }, rounding);
  const tensors = new Map(first.artifact.tensors);
  let [missed, left] = [0, 0];
  const compensate = async (name: string, seen: InputFacts | undefined): Promise<void> => {
    signal?.throwIfAborted();
    const [before, rounded] = [artifact.tensors.get(name), first.artifact.tensors.get(name)];
    invariant(before !== undefined && rounded !== undefined, `the graph names ${name}`);
    // Nothing was rounded.
    if (before === rounded) return;
    const rank = Math.min(options.rank, ...before.shape);
    const error = difference(await matrixFrom(before), await matrixFrom(rounded));
    const made = await keepFactors(before, rank, { store, type: options.factors }, async () =>
      factorise(error, rank, seen === undefined ? "svd" : "svd-llm", seen),
    );
    for (const factor of [made.a, made.b]) tensors.set(factor.name, factor);
    missed += energy(error);
    left += energy(difference(error, await productOf(made.b, made.a)));
  };
  if (calibration === undefined) {
    const { graph } = await modelGraph(artifact, { context: 1024 });
    for (const { sites } of sectionsOf(graph).layers)
      for (const { tensor } of sites) await compensate(tensor, undefined);
  } else {
    await walkLayers(artifact, context, true, async (_layer, sites, seenOf) => {
      for (const site of sites) await compensate(site.tensor, seenOf(site));
      return new Map();
    });
  }
  const result = withTensorMap(first.artifact, tensors);
  await checkGraph(result, "have matrices in two factors");
  return {
    artifact: result,
    report: { ...first.report, rank: options.rank, errorLeft: missed === 0 ? 1 : left / missed },
  };
}

async function productOf(b: Tensor, a: Tensor): Promise<Matrix> {
  return multiply(await matrixFrom(b), await matrixFrom(a));
}

function difference(a: Matrix, b: Matrix): Matrix {
  return { ...a, values: a.values.map((value, i) => value - (b.values[i] ?? 0)) };
}

function energy({ values }: Matrix): number {
  return values.reduce((sum, value) => sum + value * value, 0);
}
