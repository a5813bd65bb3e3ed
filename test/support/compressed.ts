/** Passes on models in memory, and what a model says of a few tokens, for tests of compression. */
import type { ModelArtifact } from "../../src/artifact/artifact.ts";
import { ProgramRunner } from "../../src/backend/program-runner.ts";
import type { Backend } from "../../src/backend/contract.ts";
import { createReferenceBackend } from "../../src/backend/reference/backend.ts";
import { createToolkit } from "../../src/backend/cpu/toolkit.ts";
import { type Compressed, runRecipe } from "../../src/compress/compress.ts";
import type { Calibration } from "../../src/compress/calibration.ts";
import type { RecipeSource } from "../../src/compress/presets.ts";
import { checkRecipe } from "../../src/compress/recipe.ts";
import { modelGraph } from "../../src/models/models.ts";
import { Random } from "./random.ts";

export interface Compressor {
  readonly backend: Backend;
  run(artifact: ModelArtifact, passes: RecipeSource["passes"], calibration?: Calibration): Promise<Compressed>;
  close(): Promise<void>;
}

/** On the reference backend: what it computes is not rounded. */
export async function openCompressor(): Promise<Compressor> {
  const toolkit = await createToolkit({ threads: 1 });
  const backend = createReferenceBackend();
  return {
    backend,
    run: (artifact, passes, calibration) =>
      runRecipe(artifact, checkRecipe({ passes }, "test"), { toolkit, backend, calibration }),
    async close() {
      await toolkit.close();
      await backend.close();
    },
  };
}

/** Logits `[tokens, vocabulary]` of a sequence. */
export async function logitsOf(
  backend: Backend,
  artifact: ModelArtifact,
  tokens: readonly number[],
): Promise<Float32Array> {
  const { graph } = await modelGraph(artifact, { context: tokens.length });
  const runner = await ProgramRunner.create(backend, artifact, graph, { kv: "f32", context: tokens.length });
  try {
    const { logits } = await runner.step([{ sequence: 0, tokens }], { logits: tokens.map((_, i) => i) });
    return logits;
  } finally {
    await runner.close();
  }
}

/** The largest |a − b|; infinite where one of them is no number. */
export function largestGap(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let most = a.length === b.length ? 0 : Infinity;
  for (let i = 0; i < a.length; i++) {
    const gap = Math.abs((a[i] ?? NaN) - (b[i] ?? NaN));
    most = Number.isNaN(gap) ? Infinity : Math.max(most, gap);
  }
  return most;
}

/** Random token ids as calibration: enough for tests, whose models are random, too. */
export function randomCalibration(vocabulary: number, count: number, length: number, seed = 1): Calibration {
  const random = new Random(seed);
  const sequences = Array.from({ length: count }, () => Int32Array.from({ length }, () => random.below(vocabulary)));
  return { name: "random", sequences };
}
