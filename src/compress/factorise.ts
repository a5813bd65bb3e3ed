/**
 * A matrix as a product of two narrow ones, W ≈ b a, for rows x that it reads: by its own singular values (SVD), with its
 * columns scaled by the size of what they meet (ASVD, Yuan et al. 2023), or whitened: with Xᵀ X = L Lᵀ the singular values of
 * W L are exactly what dropping them loses, ‖(W − b a) Xᵀ‖² (SVD-LLM, Wang et al. 2025).
 */
import { UnsupportedError } from "../errors.ts";
import type { InputStatistics } from "./input-statistics.ts";
import { cholesky, damped, solveLowerTransposed } from "./linear-algebra/cholesky.ts";
import { type Matrix, multiply, transpose } from "./linear-algebra/matrix.ts";
import { truncatedSvd } from "./linear-algebra/svd.ts";

export type Weighing = "svd" | "asvd" | "svd-llm";

/** What weighing needs to know of a matrix's inputs. */
export type InputFacts = Pick<InputStatistics, "gram" | "meanMagnitudes">;

/** ASVD's exponent α. */
const EXPONENT = 0.5;
/** Added to a Gram matrix's diagonal as a share of its mean, so that it has a factor: less, where less is enough. */
const DAMPINGS = [1e-6, 1e-4, 1e-2];

export interface LowRank {
  /** `[rank, columns]` */
  readonly a: Matrix;
  /** `[rows, rank]` */
  readonly b: Matrix;
  /** All singular values of the weighed matrix. */
  readonly singular: Float64Array;
}

export function factorise(weights: Matrix, rank: number, by: Weighing, seen: InputFacts | undefined): LowRank {
  const { weighed, back } = weigh(weights, by, seen);
  const { left, right, values } = truncatedSvd(weighed, rank);
  const a = back(right);
  // Both of a size, for whoever rounds them.
  for (let i = 0; i < a.rows; i++) {
    const root = Math.sqrt(values[i] ?? 0);
    if (root === 0) continue;
    for (let j = 0; j < a.columns; j++) a.values[i * a.columns + j] = (a.values[i * a.columns + j] ?? 0) * root;
    for (let r = 0; r < left.rows; r++)
      left.values[r * left.columns + i] = (left.values[r * left.columns + i] ?? 0) / root;
  }
  return { a, b: left, singular: values };
}

/** W S, and X S⁻¹ for the right factor X. */
function weigh(
  weights: Matrix,
  by: Weighing,
  seen: InputFacts | undefined,
): { readonly weighed: Matrix; readonly back: (right: Matrix) => Matrix } {
  switch (by) {
    case "svd":
      return { weighed: weights, back: (right) => right };
    case "asvd": {
      const sizes = seen?.meanMagnitudes() ?? new Float64Array(weights.columns).fill(1);
      const factors = sizes.map((size) => Math.max(1e-6, size) ** EXPONENT);
      return {
        weighed: scaled(weights, factors),
        back: (right) =>
          scaled(
            right,
            factors.map((factor) => 1 / factor),
          ),
      };
    }
    case "svd-llm": {
      const gram = seen?.gram();
      const l =
        gram && DAMPINGS.reduce<Matrix | undefined>((found, more) => found ?? cholesky(damped(gram, more)), undefined);
      if (l === undefined) throw new UnsupportedError("the inputs of a matrix can't be whitened");
      return {
        weighed: multiply(weights, l),
        back: (right) => transpose(solveLowerTransposed(l, transpose(right))),
      };
    }
    default:
      return by satisfies never;
  }
}

function scaled({ rows, columns, values }: Matrix, factors: Float64Array): Matrix {
  return { rows, columns, values: values.map((value, i) => value * (factors[i % columns] ?? 1)) };
}

/** The rank at which the factors have `keep` of the matrix's weights, in whole multiples where there is room for one. */
export function rankFor(rows: number, columns: number, keep: number, multiple: number): number {
  const rank = Math.floor((keep * rows * columns) / (rows + columns));
  return Math.max(1, rank >= multiple ? rank - (rank % multiple) : rank);
}

export interface RankChoice {
  readonly rows: number;
  readonly columns: number;
  /** Squares of the singular values, from the largest on, as shares of their sum. */
  readonly energies: readonly number[];
}

/**
 * The ranks that lose least together for `keep` of all weights: rank after rank goes where it brings most for what it
 * costs. (The values fall within a matrix, so that this is the best there is but for the last step.)
 */
export function searchedRanks(choices: readonly RankChoice[], keep: number, multiple: number): number[] {
  const cost = ({ rows, columns }: RankChoice): number => multiple * (rows + columns);
  let budget = keep * choices.reduce((sum, { rows, columns }) => sum + rows * columns, 0);
  const steps = choices.flatMap((choice, index) => {
    const most = Math.floor(Math.min(choice.rows, choice.columns) / multiple);
    return Array.from({ length: most }, (_, step) => {
      const gained = choice.energies.slice(step * multiple, (step + 1) * multiple).reduce((sum, x) => sum + x, 0);
      return { index, worth: gained / cost(choice) };
    });
  });
  const ranks = choices.map(() => 0);
  const give = (index: number): void => {
    const choice = choices[index];
    if (choice === undefined) return;
    ranks[index] = (ranks[index] ?? 0) + multiple;
    budget -= cost(choice);
  };
  for (const index of choices.keys()) give(index);
  // The first step of each has been given.
  const taken = new Set<number>();
  for (const { index } of steps.toSorted((x, y) => y.worth - x.worth)) {
    const choice = choices[index];
    if (choice === undefined) continue;
    if (!taken.has(index)) taken.add(index);
    else if (cost(choice) <= budget) give(index);
  }
  return ranks;
}
