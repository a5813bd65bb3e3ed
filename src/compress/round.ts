/**
 * The pass `round`: the matrices of layers to plain integers in groups, each weight by itself (C9-01): the baseline of GPTQ's
 * kin, and what comes behind AWQ where its layout is written. No GGUF format holds such integers: there the matrices are
 * the floats that they stand for ("simulated").
 */
import { z } from "zod";

import type { ModelArtifact, Tensor } from "../artifact/artifact.ts";
import { tensorValues } from "../artifact/tensor-values.ts";
import { modelGraph } from "../models/models.ts";
import type { Importance } from "./calibration.ts";
import { measureImportance } from "./importance.ts";
import { keepPacked, keptPacked, type PackedMatrix } from "./packed.ts";
import { definePass, type PassContext, type PassResult } from "./pass.ts";
import { sectionsOf } from "./sections.ts";
import { keepJson, keepTensor, onlyChunk } from "./store.ts";
import { GRID_OPTIONS, gridOf } from "./targets.ts";
import { encodeFloats, withTensors } from "./tensors.ts";

const OPTIONS = z.strictObject({
  bits: z.int().min(1).max(8),
  group: GRID_OPTIONS.group,
  symmetric: GRID_OPTIONS.symmetric,
});
type Options = z.infer<typeof OPTIONS>;

export const round = definePass<Options>({
  name: "round",
  summary: "round to nearest to plain integers in groups, scales searched; simulated in GGUF",
  taxonomy: { tensors: ["weights"], format: "uniform", parameters: "search", update: "rounding" },
  needsCalibration: false,
  options: OPTIONS,
  apply,
});

async function apply(artifact: ModelArtifact, context: PassContext, options: Options): Promise<PassResult> {
  const { calibration, store, toolkit, progress, signal } = context;
  const importance: Importance | undefined =
    context.importance ?? (calibration && (await measureImportance(artifact, context, calibration)));
  const { graph } = await modelGraph(artifact, { context: 64 });
  const sites = sectionsOf(graph).layers.flatMap((section) => section.sites);
  const made = new Map<string, Tensor>();
  const packed = new Map<string, () => Promise<PackedMatrix>>();
  let lost = 0;
  for (const [i, { tensor: name }] of sites.entries()) {
    signal?.throwIfAborted();
    const tensor = artifact.tensors.get(name);
    const grid = tensor && gridOf(artifact, tensor, { ...options, type: undefined, pure: false });
    if (tensor === undefined || grid === undefined || "dtype" in grid) continue;
    const { shape } = tensor;
    let values: Float32Array = new Float32Array();
    if ((await store.find(name)) === undefined) {
      const given = await tensorValues(tensor);
      const columns = importance?.columns.get(name);
      const solved = await toolkit.solve(given, { n: shape.at(-1) ?? 1 }, { grid, importance: columns });
      await keepPacked(store, name, solved);
      const energy = given.reduce((sum, value) => sum + value * value, 0);
      await keepJson(store, `${name} loss`, async () => solved.errors.reduce((a, b) => a + b, 0) / (energy || 1));
      values = solved.values;
    }
    const bytes = (): AsyncIterable<Uint8Array> => onlyChunk(encodeFloats("F16", values));
    made.set(name, await keepTensor(store, { name, shape, dtype: "F16", bytes }));
    packed.set(name, keptPacked(store, tensor, grid));
    lost += await keepJson(store, `${name} loss`, async () => 0);
    progress({ done: i + 1, total: sites.length, unit: "steps" });
  }
  const report = { ...options, simulated: true, matrices: made.size, meanLoss: lost / Math.max(1, made.size) };
  return { artifact: withTensors(artifact, (tensor) => made.get(tensor.name) ?? tensor), packed, report };
}
