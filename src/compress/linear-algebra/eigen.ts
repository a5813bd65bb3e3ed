/**
 * Eigenvalues and eigenvectors of symmetric matrices: Householder's reduction to tridiagonal form, then implicit QL steps
 * (after Martin, Reinsch and Wilkinson 1968, and Dubrulle et al. 1968; Golub & Van Loan, Matrix Computations, ch. 8).
 */
import { invariant } from "../../errors.ts";
import { addScaled, dot, identity, type Matrix, rowOf } from "./matrix.ts";

export interface Eigen {
  /** From the largest to the smallest. */
  readonly values: Float64Array;
  /** Row i belongs to the i-th value; rows are orthonormal. */
  readonly vectors: Matrix;
}

/** QL steps for one value; each about triples the digits, so that 30 are out of reach. */
const MOST_STEPS = 60;

export function symmetricEigen(a: Matrix): Eigen {
  invariant(a.rows === a.columns, "a square matrix");
  const n = a.rows;
  const { diagonal, beside, basis } = tridiagonal(a);
  for (let first = 0; first < n; first++) {
    for (let step = 0; ; step++) {
      const last = endOfBlock(diagonal, beside, first);
      if (last === first) break;
      invariant(step < MOST_STEPS, "the eigenvalues don't converge");
      qlStep(diagonal, beside, basis, first, last);
    }
  }
  const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => (diagonal[j] ?? 0) - (diagonal[i] ?? 0));
  const vectors = new Float64Array(n * n);
  for (const [to, from] of order.entries()) vectors.set(rowOf(basis, from), to * n);
  return {
    values: Float64Array.from(order, (i) => diagonal[i] ?? 0),
    vectors: { rows: n, columns: n, values: vectors },
  };
}

interface Tridiagonal {
  readonly diagonal: Float64Array;
  /** Entry i stands between i and i + 1; the last one is 0. */
  readonly beside: Float64Array;
  /** Rows: an orthogonal B with a = Bᵀ T B. */
  readonly basis: Matrix;
}

function tridiagonal(a: Matrix): Tridiagonal {
  const n = a.rows;
  const work = { ...a, values: a.values.slice() };
  const basis = identity(n);
  const beside = new Float64Array(n);
  const p = new Float64Array(n);
  for (let k = 0; k + 2 < n; k++) {
    // A reflection of the coordinates behind k that leaves one entry beside the diagonal.
    const v = rowOf(work, k).slice();
    v.fill(0, 0, k + 1);
    const norm = Math.sqrt(dot(v, v));
    const head = v[k + 1] ?? 0;
    beside[k] = head > 0 ? -norm : norm;
    v[k + 1] = head - (beside[k] ?? 0);
    const length = Math.sqrt(dot(v, v));
    if (length === 0) continue;
    for (let j = k + 1; j < n; j++) v[j] = (v[j] ?? 0) / length;
    const tail = v.subarray(k + 1);
    for (let i = k + 1; i < n; i++) p[i] = dot(rowOf(work, i).subarray(k + 1), tail);
    const half = dot(p.subarray(k + 1), tail);
    for (let i = k + 1; i < n; i++) p[i] = 2 * ((p[i] ?? 0) - half * (v[i] ?? 0));
    for (let i = k + 1; i < n; i++) {
      const row = rowOf(work, i).subarray(k + 1);
      addScaled(row, p.subarray(k + 1), -(v[i] ?? 0));
      addScaled(row, tail, -(p[i] ?? 0));
    }
    reflectRows(basis, v, k + 1);
  }
  if (n > 1) beside[n - 2] = work.values[(n - 2) * n + n - 1] ?? 0;
  return { diagonal: Float64Array.from({ length: n }, (_, i) => work.values[i * n + i] ?? 0), beside, basis };
}

/** basis ← (I − 2 v vᵀ) basis, v being 0 before `from`. */
function reflectRows(basis: Matrix, v: Float64Array, from: number): void {
  const sum = new Float64Array(basis.columns);
  for (let i = from; i < basis.rows; i++) addScaled(sum, rowOf(basis, i), v[i] ?? 0);
  for (let i = from; i < basis.rows; i++) addScaled(rowOf(basis, i), sum, -2 * (v[i] ?? 0));
}

/** The last index that is joined to `first` by entries beside the diagonal that count. */
function endOfBlock(diagonal: Float64Array, beside: Float64Array, first: number): number {
  let last = first;
  for (; last + 1 < diagonal.length; last++) {
    const size = Math.abs(diagonal[last] ?? 0) + Math.abs(diagonal[last + 1] ?? 0);
    if (Math.abs(beside[last] ?? 0) <= Number.EPSILON * size) break;
  }
  return last;
}

/** One implicit QL step with Wilkinson's shift on the block first…last; the rows of `basis` turn along. */
function qlStep(d: Float64Array, e: Float64Array, basis: Matrix, first: number, last: number): void {
  const lead = ((d[first + 1] ?? 0) - (d[first] ?? 0)) / (2 * (e[first] ?? 0));
  const root = Math.hypot(lead, 1);
  let g = (d[last] ?? 0) - (d[first] ?? 0) + (e[first] ?? 0) / (lead + (lead < 0 ? -root : root));
  let [s, c, p] = [1, 1, 0];
  for (let i = last - 1; i >= first; i--) {
    const f = s * (e[i] ?? 0);
    const b = c * (e[i] ?? 0);
    const r = Math.hypot(f, g);
    e[i + 1] = r;
    if (r === 0) {
      d[i + 1] = (d[i + 1] ?? 0) - p;
      e[last] = 0;
      return;
    }
    s = f / r;
    c = g / r;
    g = (d[i + 1] ?? 0) - p;
    const t = ((d[i] ?? 0) - g) * s + 2 * c * b;
    p = s * t;
    d[i + 1] = g + p;
    g = c * t - b;
    turn(rowOf(basis, i), rowOf(basis, i + 1), c, s);
  }
  d[first] = (d[first] ?? 0) - p;
  e[first] = g;
  e[last] = 0;
}

/** (x, y) ← (c x − s y, s x + c y) */
function turn(x: Float64Array, y: Float64Array, c: number, s: number): void {
  for (let k = 0; k < x.length; k++) {
    const [a, b] = [x[k] ?? 0, y[k] ?? 0];
    x[k] = c * a - s * b;
    y[k] = s * a + c * b;
  }
}
