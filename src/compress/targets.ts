/**
 * What the matrices of a model are to become, as options of passes say it: a mixture of GGUF formats, or plain integers in
 * groups, which no GGUF format holds: those are written as the floats that they stand for ("simulated"), so that the method
 * can be judged.
 */
import { z } from "zod";

import type { ModelArtifact, Tensor } from "../artifact/artifact.ts";
import { dequantize } from "../artifact/dequantize.ts";
import type { Grid, Toolkit } from "../backend/cpu/toolkit.ts";
import {
  fitting,
  isQuantizable,
  MIXTURE_NAMES,
  MIXTURES,
  type MixtureName,
  mixtureModel,
  mixtureType,
} from "./mixtures.ts";

export const GRID_OPTIONS = {
  /** A mixture of GGUF formats, by llama.cpp's name … */
  type: z.enum(MIXTURE_NAMES as [MixtureName, ...MixtureName[]]).optional(),
  /** … all matrices in its base format; … */
  pure: z.boolean().default(false),
  /** … or so many bits, in groups of 16 … 256 columns under one half-precision scale (and a whole zero point). */
  bits: z.int().min(1).max(8).optional(),
  group: z.literal([16, 32, 64, 128, 256]).default(64),
  symmetric: z.boolean().default(false),
};

export interface GridOptions {
  readonly type?: MixtureName | undefined;
  readonly pure: boolean;
  readonly bits?: number | undefined;
  readonly group: 16 | 32 | 64 | 128 | 256;
  readonly symmetric: boolean;
}

/** Exactly one of `type` and `bits`. */
export function hasOneTarget({ type, bits }: Pick<GridOptions, "type" | "bits">): boolean {
  return (type === undefined) !== (bits === undefined);
}
export const ONE_TARGET = "either a type (a mixture of GGUF formats) or bits are needed";

/** The grid of a matrix; undefined where it stays as it is. */
export function gridOf(artifact: ModelArtifact, tensor: Tensor, options: GridOptions): Grid | undefined {
  if (!isQuantizable(tensor)) return undefined;
  const columns = tensor.shape.at(-1) ?? 1;
  const { type, pure, bits, group, symmetric } = options;
  if (bits !== undefined) {
    // Rows that are no whole groups get smaller ones.
    const fits = [256, 128, 64, 32, 16].find((size) => size <= group && columns % size === 0);
    return fits === undefined ? undefined : { bits, group: fits, symmetric };
  }
  if (type === undefined) return undefined;
  const dtype = pure
    ? fitting(MIXTURES[type].base, columns)
    : mixtureType(type, tensor.name, columns, mixtureModel(artifact, true));
  return dtype === "F32" || dtype === "F16" || dtype === "BF16" ? undefined : { dtype };
}

/** The values that rows are rounded to, each by itself. `[rows, columns]` → the same */
export async function roundedValues(
  toolkit: Toolkit,
  grid: Grid,
  values: Float32Array,
  columns: number,
  importance?: Float32Array,
): Promise<Float32Array> {
  if (!("dtype" in grid)) return (await toolkit.solve(values, { n: columns }, { grid, importance })).values;
  const { bytes } = await toolkit.quantize(grid.dtype, values, columns, importance);
  const out = new Float32Array(values.length);
  dequantize(grid.dtype, bytes, out);
  return out;
}
