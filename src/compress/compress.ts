/**
 * Runs a recipe: its passes one after another, each with a store of its own within one that belongs to this very run (the
 * same model, recipe, calibration), so that a run that was killed goes on where it was. What comes out tells in its
 * metadata how it was made.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Backend } from "../backend/contract.ts";
import type { Toolkit } from "../backend/cpu/toolkit.ts";
import { RequestError } from "../errors.ts";
import type { Calibration, Importance } from "./calibration.ts";
import type { PackedMatrices } from "./packed.ts";
import type { PassProgress } from "./pass.ts";
import type { PassReport } from "./report.ts";
import type { Recipe } from "./recipe.ts";
import { memoryStore, type Store } from "./store.ts";
import { withTensors } from "./tensors.ts";

export interface CompressProgress extends PassProgress {
  /** Of the pass that runs, from 0. */
  readonly step: number;
  readonly pass: string;
}

export interface CompressOptions {
  readonly toolkit: Toolkit;
  readonly backend: Backend;
  readonly calibration?: Calibration | undefined;
  readonly importance?: Importance | undefined;
  /** Where intermediate results are kept. Default: in memory. */
  readonly store?: Store | undefined;
  readonly onProgress?: ((progress: CompressProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Compressed {
  /** Reads from the files of the model that went in, and from the store: both must live as long. */
  readonly artifact: ModelArtifact;
  /** What the last pass left as plain integers. */
  readonly packed: PackedMatrices;
  readonly reports: readonly { readonly pass: string; readonly report: PassReport }[];
}

/** GGUF's keys that tell how a model was made. */
export const RECIPE_KEY = "millrace.compress.recipe";
export const REPORT_KEY = "millrace.compress.report";
export const CALIBRATION_KEY = "millrace.compress.calibration";

/** @throws RequestError where a pass needs calibration and there is none, UnsupportedError where one can't do the model */
export async function runRecipe(
  artifact: ModelArtifact,
  recipe: Recipe,
  options: CompressOptions,
): Promise<Compressed> {
  const { toolkit, backend, calibration, importance, signal } = options;
  const needy = recipe.steps.find(({ pass }) => pass.needsCalibration);
  if (needy !== undefined && calibration === undefined)
    throw new RequestError(`the pass ${needy.pass.name} needs text to calibrate with`);
  const store = options.store ?? memoryStore();
  let model = artifact;
  let packed: PackedMatrices = new Map();
  const reports: { pass: string; report: PassReport }[] = [];
  for (const [step, { pass, options: own }] of recipe.steps.entries()) {
    signal?.throwIfAborted();
    const context = {
      toolkit,
      backend,
      calibration,
      importance,
      store: store.within(`${step}-${pass.name}`),
      progress: (progress: PassProgress) => options.onProgress?.({ ...progress, step, pass: pass.name }),
      signal,
    };
    const result = await pass.apply(model, context, own);
    model = result.artifact;
    packed = result.packed ?? new Map();
    reports.push({ pass: pass.name, report: result.report });
  }
  const about = calibration?.name ?? importance?.name;
  const told = withTensors(model, (tensor) => tensor, {
    [RECIPE_KEY]: ["string", JSON.stringify({ name: recipe.name, passes: recipe.source.passes })],
    [REPORT_KEY]: ["string", JSON.stringify(reports)],
    ...(about !== undefined && { [CALIBRATION_KEY]: ["string", about] as const }),
  });
  return { artifact: told, packed, reports };
}

/** The model as the recipe's passes would leave it, nothing computed; undefined where a pass can't say. */
export function planRecipe(artifact: ModelArtifact, recipe: Recipe): ModelArtifact | undefined {
  let model: ModelArtifact | undefined = artifact;
  for (const { pass, options } of recipe.steps) model = model && pass.plan?.(model, options);
  return model;
}

/**
 * A name for what a run would compute: equal exactly where model, recipe and calibration are. Of the model's files sizes
 * and headers count, not all of their bytes.
 */
export async function runKey(
  artifact: ModelArtifact,
  recipe: Recipe,
  { calibration, importance }: Pick<CompressOptions, "calibration" | "importance">,
): Promise<string> {
  const tensors = [...artifact.tensors.values()].map(({ name, dtype, shape, offset, source }) => {
    return [name, dtype, shape, offset, source.name, source.size];
  });
  const samples: number[] = [];
  for (const tensor of artifact.tensors.values()) {
    const bytes = await tensor.source.read(tensor.offset, Math.min(64, tensor.byteLength));
    samples.push(...bytes);
  }
  const parts = [
    "1",
    JSON.stringify(recipe.source.passes),
    JSON.stringify(tensors),
    JSON.stringify(samples),
    JSON.stringify(calibration?.sequences.map((ids) => [...ids]) ?? null),
    JSON.stringify(importance && [...importance.columns].map(([name, values]) => [name, [...values]])),
  ];
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(parts.join("\n")));
  return [...new Uint8Array(digest)]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("")
    .slice(0, 24);
}
