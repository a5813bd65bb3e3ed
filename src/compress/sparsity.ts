/**
 * What sparsity passes share: how many weights go and in which pattern, masks from scores, the layers' shares (OWL), the way
 * through the layers, and the report. A mask's 1 keeps a weight. No kernel here skips zeros yet: the models are dense with zeros in them ("simulated"),
 * and a format that follows keeps its size.
 */
import { z } from "zod";

import type { ModelArtifact } from "../artifact/artifact.ts";
import { tensorValues } from "../artifact/tensor-values.ts";
import { invariant } from "../errors.ts";
import { changeLayers, type LayerMatrix, walkLayers } from "./change-layers.ts";
import type { InputStatistics } from "./input-statistics.ts";
import type { PassContext, PassResult } from "./pass.ts";
import type { PassReport } from "./report.ts";
import { keepJson } from "./store.ts";

export const SPARSITY_OPTIONS = {
  /** The share of weights that go; with a pattern N:M it is what the pattern says. */
  sparsity: z.number().min(0).max(0.99).default(0.5),
  /** "2:4": of each four weights along a row, two stay. */
  pattern: z.enum(["unstructured", "2:4", "4:8"]).default("unstructured"),
  /** The format of the matrices afterwards. */
  type: z.enum(["F32", "F16", "BF16"]).default("F32"),
};
/** The same with shares that may differ between layers, which a pattern forbids. */
export const LAYERED_OPTIONS = {
  ...SPARSITY_OPTIONS,
  /** "owl": layers whose scores have more outliers lose less (OWL, Yin et al. 2024). */
  layers: z.enum(["uniform", "owl"]).default("uniform"),
};
export function isLayered({ layers, pattern }: { readonly layers: string; readonly pattern: string }): boolean {
  return layers === "uniform" || pattern === "unstructured";
}
export const LAYERED_RULE = "layers' shares can't differ in a pattern";

export interface SparsityOptions {
  readonly sparsity: number;
  readonly pattern: "unstructured" | "2:4" | "4:8";
  readonly type: "F32" | "F16" | "BF16";
}

export interface LayeredOptions extends SparsityOptions {
  readonly layers: "uniform" | "owl";
}

/** A pattern N:M as (kept, of); undefined where weights go one by one. */
export function groupsOf({
  pattern,
}: Pick<SparsityOptions, "pattern">): readonly [kept: number, of: number] | undefined {
  switch (pattern) {
    case "2:4":
      return [2, 4];
    case "4:8":
      return [4, 8];
    case "unstructured":
      return undefined;
    default:
      return pattern satisfies never;
  }
}

/** Which scores are compared with each other where weights go one by one. */
export type Among = "row" | "matrix";

/**
 * Keeps the largest scores: of each row or of the whole matrix all but a share, or N of each M along a row. Among equals
 * the first stay.
 */
export function maskOf(
  scores: Float64Array,
  columns: number,
  options: Pick<SparsityOptions, "sparsity" | "pattern">,
  among: Among,
): Uint8Array {
  const groups = groupsOf(options);
  const mask = new Uint8Array(scores.length);
  if (groups !== undefined) {
    const [kept, of] = groups;
    invariant(columns % of === 0, `rows of ${columns} in groups of ${of}`);
    for (let at = 0; at < scores.length; at += of) keepLargest(scores, mask, at, of, kept);
    return mask;
  }
  const run = among === "row" ? columns : scores.length;
  for (let at = 0; at < scores.length; at += run)
    keepLargest(scores, mask, at, run, run - Math.floor(run * options.sparsity));
  return mask;
}

function keepLargest(scores: Float64Array, mask: Uint8Array, start: number, count: number, kept: number): void {
  const own = scores.subarray(start, start + count);
  const sorted = own.slice().sort();
  const least = sorted[count - kept] ?? Infinity;
  let left = kept;
  for (let i = 0; i < count; i++) {
    if ((own[i] ?? 0) <= least) continue;
    mask[start + i] = 1;
    left--;
  }
  for (let i = 0; i < count && left > 0; i++) {
    if (own[i] !== least) continue;
    mask[start + i] = 1;
    left--;
  }
}

/** Sets what the mask leaves out to zero, in place. */
export function masked(values: Float32Array, mask: Uint8Array): Float32Array {
  for (let i = 0; i < values.length; i++) if (mask[i] === 0) values[i] = 0;
  return values;
}

/** |w| · ‖x‖ of a weight's column (Wanda, Sun et al. 2024). */
export function wandaScores(values: Float32Array, norms: Float64Array): Float64Array {
  return Float64Array.from(values, (value, i) => Math.abs(value) * (norms[i % norms.length] ?? 0));
}

/** What a pass prunes a matrix with: what is known of the rows that it reads, and its layer's share of zeros. */
export type Prune<O> = (matrix: LayerMatrix, seen: InputStatistics, wanted: O) => Promise<Float32Array> | Float32Array;

/** Prunes every matrix of the layers, each by its layer's share, with what `needs` names of the rows that it reads. */
export async function pruneByLayer<O extends LayeredOptions>(
  artifact: ModelArtifact,
  context: PassContext,
  options: O,
  needs: "columns" | "gram",
  prune: Prune<O>,
): Promise<PassResult> {
  const { layers, sparsity, type: dtype } = options;
  const shares = layers === "owl" ? await owlShares(artifact, context, sparsity) : [];
  const changed = await changeLayers(artifact, context, {
    needs,
    dtype,
    change(matrix, seen) {
      invariant(seen !== undefined, "what matrices read was asked for");
      return prune(matrix, seen, { ...options, sparsity: shares[matrix.layer] ?? sparsity });
    },
  });
  return { artifact: changed, report: await sparsityReport(artifact, changed) };
}

/** How far layers' shares lie apart (λ), and what an outlier is (M): the paper's. */
const OWL_SPREAD = 0.08;
const OWL_OUTLIER = 5;

/**
 * The share of weights that go, for each layer: more where fewer scores |w| ‖x‖ are above M times their mean, never further
 * than λ from the wanted one, whose mean they keep.
 */
export async function owlShares(artifact: ModelArtifact, context: PassContext, sparsity: number): Promise<number[]> {
  const outliers = await keepJson(context.store, "outliers", async () => {
    const found: number[] = [];
    await walkLayers(artifact, context, false, async (layer, sites, seenOf) => {
      let [above, count] = [0, 0];
      for (const site of sites) {
        const tensor = artifact.tensors.get(site.tensor);
        invariant(tensor !== undefined, `the graph names ${site.tensor}`);
        const scores = wandaScores(await tensorValues(tensor), seenOf(site).norms());
        const mean = scores.reduce((sum, score) => sum + score, 0) / scores.length;
        above += scores.reduce((sum, score) => sum + (score > OWL_OUTLIER * mean ? 1 : 0), 0);
        count += scores.length;
      }
      found[layer] = above / count;
      return new Map();
    });
    return found;
  });
  return sharesOf(outliers, sparsity);
}

export function sharesOf(outliers: readonly number[], sparsity: number): number[] {
  const [least, most] = [Math.min(...outliers), Math.max(...outliers)];
  const places = outliers.map((x) => (most > least ? (2 * OWL_SPREAD * (x - least)) / (most - least) : 0));
  const mean = places.reduce((sum, x) => sum + x, 0) / Math.max(1, places.length);
  return places.map((place) => Math.min(1, Math.max(0, sparsity - (place - mean))));
}

/** How many weights are zero in the tensors that a pass made, by layer as their names say. */
export async function sparsityReport(before: ModelArtifact, after: ModelArtifact): Promise<PassReport> {
  const counts = new Map<string, { zeros: number; weights: number }>();
  for (const [name, tensor] of after.tensors) {
    if (tensor === before.tensors.get(name)) continue;
    const values = await tensorValues(tensor);
    const layer = /\.(\d+)\./.exec(name)?.[1] ?? "";
    const count = counts.get(layer) ?? { zeros: 0, weights: 0 };
    for (const value of values) if (value === 0) count.zeros++;
    count.weights += values.length;
    counts.set(layer, count);
  }
  const all = [...counts.values()];
  const zeros = all.reduce((sum, count) => sum + count.zeros, 0);
  const weights = all.reduce((sum, count) => sum + count.weights, 0);
  const layers = Object.fromEntries([...counts].map(([layer, count]) => [layer, count.zeros / count.weights]));
  return { simulated: true, sparsity: zeros / Math.max(1, weights), layers };
}
