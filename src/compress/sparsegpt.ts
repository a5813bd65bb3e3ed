/**
 * The pass `sparsegpt`: column after column weights go, and the columns behind make up for what the row's output lost
 * (SparseGPT, Frantar & Alistarh 2023; C9-31). In the form of LDLQ (see native/cpu/addon-solve.cpp): with the Gram matrix
 * H = (I + Ǔ) D (I + Ǔ)ᵀ a weight's target is w_j + Σ_{k<j} (w_k − ŵ_k) ǔ_kj, the loss Σ d_j (target_j − ŵ_j)²: a weight that
 * stays takes its target, one that goes costs d_j target_j², and those go whose cost is least within a block of columns.
 */
import { z } from "zod";

import type { Factor, Toolkit } from "../backend/cpu/toolkit.ts";
import { invariant } from "../errors.ts";
import { damped } from "./linear-algebra/cholesky.ts";
import type { Matrix } from "./linear-algebra/matrix.ts";
import { definePass } from "./pass.ts";
import {
  groupsOf,
  isLayered,
  LAYERED_OPTIONS,
  LAYERED_RULE,
  maskOf,
  pruneByLayer,
  type SparsityOptions,
} from "./sparsity.ts";

/** Columns whose mask is chosen at once (the paper's Bs), and whose errors go on together. */
const BLOCK = 128;

const OPTIONS = z
  .strictObject({
    ...LAYERED_OPTIONS,
    /** Added to the Gram matrix's diagonal, as a share of its mean. */
    damping: z.number().positive().max(1).default(0.01),
  })
  .refine(isLayered, LAYERED_RULE);
type Options = z.infer<typeof OPTIONS>;

export const sparsegpt = definePass<Options>({
  name: "sparsegpt",
  summary: "SparseGPT (Frantar & Alistarh 2023): zeros column by column, made up for by the columns behind; simulated",
  taxonomy: { tensors: ["weights"], format: "sparse", parameters: "statistics", update: "compensation" },
  needsCalibration: true,
  options: OPTIONS,
  plan: (artifact) => artifact,
  apply: (artifact, context, options) =>
    pruneByLayer(artifact, context, options, "gram", async ({ values, columns }, seen, wanted) => {
      const gram = seen.gram();
      invariant(gram !== undefined, "the Gram matrix was asked for");
      const factor = await factorOf(gram, options.damping, context.toolkit);
      return (await sparseRows(values, columns, factor, wanted, context.toolkit)).values;
    }),
});

export function factorOf(gram: Matrix, damping: number, toolkit: Toolkit): Promise<Factor> {
  return toolkit.factor(Float32Array.from(damped(gram, damping).values), gram.columns);
}

export interface SparseRows {
  /** `[rows, columns]` */
  readonly values: Float32Array;
  /** Σ (w − ŵ) H (w − ŵ)ᵀ over the rows. */
  readonly loss: number;
}

/** Rows `[n, columns]` with zeros, under the factored Gram matrix of their inputs. */
export async function sparseRows(
  values: Float32Array,
  columns: number,
  { unit, pivots }: Factor,
  options: Pick<SparsityOptions, "sparsity" | "pattern">,
  toolkit: Pick<Toolkit, "addProduct">,
): Promise<SparseRows> {
  const rows = values.length / columns;
  const result = new Float32Array(values.length);
  const errors: { readonly start: number; readonly width: number; readonly values: Float32Array }[] = [];
  const [, group] = groupsOf(options) ?? [0, 1];
  invariant(BLOCK % group === 0 && columns % group === 0, `rows of ${columns} in groups of ${group}`);
  let loss = 0;
  for (let start = 0; start < columns; start += BLOCK) {
    const width = Math.min(BLOCK, columns - start);
    const given = cut(values, columns, start, width);
    const targets = given.slice();
    for (const before of errors) {
      const feedback = cut(unit.subarray(before.start * columns), columns, start, width, before.width);
      await toolkit.addProduct(before.values, feedback, targets, { rows, cols: width, terms: before.width });
    }
    const block = { targets, given, start, width, rows, columns };
    // Those of a block are chosen by their first targets; groups along a row when their turn comes.
    const mask = group > 1 ? new Uint8Array(targets.length) : maskOf(costs(block, pivots), width, options, "matrix");
    const error = new Float32Array(targets.length);
    for (let r = 0; r < rows; r++) {
      for (let j = 0; j < width; j++) {
        if (group > 1 && j % group === 0) chooseGroup(block, r, j, group, pivots, mask, options);
        const at = r * width + j;
        const target = targets[at] ?? 0;
        const value = mask[at] === 0 ? 0 : target;
        result[r * columns + start + j] = value;
        loss += (pivots[start + j] ?? 0) * (target - value) ** 2;
        const missed = (given[at] ?? 0) - value;
        error[at] = missed;
        if (missed === 0) continue;
        const from = (start + j) * columns + start;
        for (let k = j + 1; k < width; k++)
          targets[r * width + k] = (targets[r * width + k] ?? 0) + missed * (unit[from + k] ?? 0);
      }
    }
    errors.push({ start, width, values: error });
  }
  return { values: result, loss };
}

interface Block {
  /** `[rows, width]`: what the weights would be if they stayed; those behind a change move. */
  readonly targets: Float32Array;
  readonly given: Float32Array;
  readonly start: number;
  readonly width: number;
  readonly rows: number;
  readonly columns: number;
}

/** What it costs to let each of a block's weights go. */
function costs({ targets, start, width }: Block, pivots: Float32Array): Float64Array {
  return Float64Array.from(targets, (target, i) => target * target * (pivots[start + (i % width)] ?? 0));
}

function chooseGroup(
  { targets, start, width }: Block,
  row: number,
  column: number,
  group: number,
  pivots: Float32Array,
  mask: Uint8Array,
  options: Pick<SparsityOptions, "sparsity" | "pattern">,
): void {
  const at = row * width + column;
  const own = Float64Array.from(targets.subarray(at, at + group), (target, i) => {
    return target * target * (pivots[start + column + i] ?? 0);
  });
  mask.set(maskOf(own, group, options, "row"), at);
}

/** Columns start … start + width of the first `rows` rows (default: all), as a matrix of their own. */
function cut(
  values: Float32Array,
  columns: number,
  start: number,
  width: number,
  rows = values.length / columns,
): Float32Array {
  const result = new Float32Array(rows * width);
  for (let r = 0; r < rows; r++)
    result.set(values.subarray(r * columns + start, r * columns + start + width), r * width);
  return result;
}
