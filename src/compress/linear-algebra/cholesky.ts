/**
 * Cholesky factors of symmetric positive definite matrices, and triangular systems. Two of them: H = L Lᵀ, which whitens
 * (SVD-LLM), and H = U Uᵀ from the last column to the first, whose columns tell how an error made in a column is made
 * up for by those before it (GPTQ, SparseGPT: the Cholesky factor of H⁻¹ is U⁻¹, so nothing has to be inverted).
 */
import { invariant } from "../../errors.ts";
import { dot, type Matrix, rowOf, zeros } from "./matrix.ts";

/** `a` with `share` of its mean diagonal added to the diagonal; where that isn't positive, with `share` itself. */
export function damped({ rows, columns, values }: Matrix, share: number): Matrix {
  const result = { rows, columns, values: values.slice() };
  let trace = 0;
  for (let i = 0; i < rows; i++) trace += values[i * columns + i] ?? 0;
  const more = trace > 0 ? (share * trace) / rows : share;
  for (let i = 0; i < rows; i++) result.values[i * columns + i] = (values[i * columns + i] ?? 0) + more;
  return result;
}

/** L with a = L Lᵀ, lower triangular; undefined where `a` isn't positive definite. */
export function cholesky(a: Matrix): Matrix | undefined {
  invariant(a.rows === a.columns, "a square matrix");
  const n = a.rows;
  const l = zeros(n, n);
  for (let i = 0; i < n; i++) {
    const row = rowOf(l, i);
    for (let j = 0; j <= i; j++) {
      const rest = (a.values[i * n + j] ?? 0) - dot(row.subarray(0, j), rowOf(l, j).subarray(0, j));
      if (i !== j) row[j] = rest / (l.values[j * n + j] ?? 0);
      else if (rest > 0) row[j] = Math.sqrt(rest);
      else return undefined;
    }
  }
  return l;
}

/** U with a = U Uᵀ, upper triangular; undefined where `a` isn't positive definite. */
export function choleskyUpper(a: Matrix): Matrix | undefined {
  // Rows and columns in reverse turn the one kind into the other.
  const l = cholesky(reversed(a));
  return l && reversed(l);
}

function reversed({ rows, columns, values }: Matrix): Matrix {
  return { rows, columns, values: values.toReversed() };
}

/** X with L X = B, for B `[n, m]`; in place of B. */
export function solveLower(l: Matrix, b: Matrix): Matrix {
  for (let i = 0; i < l.rows; i++) eliminate(l, b, i, 0, i, (k) => i * l.columns + k);
  return b;
}

/** X with Lᵀ X = B, for B `[n, m]`; in place of B. */
export function solveLowerTransposed(l: Matrix, b: Matrix): Matrix {
  for (let i = l.rows - 1; i >= 0; i--) eliminate(l, b, i, i + 1, l.rows, (k) => k * l.columns + i);
  return b;
}

/** Takes the solved rows from…to off row i of B and divides it by the diagonal; `at` finds row i's factors. */
function eliminate(l: Matrix, b: Matrix, i: number, from: number, to: number, at: (k: number) => number): void {
  const row = rowOf(b, i);
  for (let k = from; k < to; k++) {
    const factor = l.values[at(k)] ?? 0;
    if (factor === 0) continue;
    const other = rowOf(b, k);
    for (let j = 0; j < row.length; j++) row[j] = (row[j] ?? 0) - factor * (other[j] ?? 0);
  }
  const pivot = l.values[i * l.columns + i] ?? 0;
  for (let j = 0; j < row.length; j++) row[j] = (row[j] ?? 0) / pivot;
}
