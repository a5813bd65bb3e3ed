/** The orthogonal factor of a matrix by Householder reflections, and random orthogonal matrices made of it. */
import { invariant } from "../../errors.ts";
import { addScaled, dot, identity, type Matrix, rowOf, zeros } from "./matrix.ts";
import type { SeededRandom } from "./random.ts";

/**
 * Rows of an orthogonal basis of the rows of `a` `[n, n]`: Q `[n, n]` with a = L Q and L lower triangular with a positive
 * diagonal. (The usual factors of the transpose: rows are what lies together.)
 */
export function orthogonalRows(a: Matrix): Matrix {
  invariant(a.rows === a.columns, "a square matrix");
  const n = a.rows;
  const work = { ...a, values: a.values.slice() };
  const reflectors = zeros(n, n);
  const signs = new Float64Array(n);
  for (let k = 0; k < n; k++) {
    const row = rowOf(work, k).subarray(k);
    const v = rowOf(reflectors, k).subarray(k);
    v.set(row);
    const norm = Math.sqrt(dot(v, v));
    const first = v[0] ?? 0;
    // Away from zero, so that nothing cancels.
    signs[k] = first < 0 ? 1 : -1;
    v[0] = first + (first < 0 ? -norm : norm);
    const length = Math.sqrt(dot(v, v));
    if (length === 0) continue;
    for (let j = 0; j < v.length; j++) v[j] = (v[j] ?? 0) / length;
    for (let i = k; i < n; i++) reflect(rowOf(work, i).subarray(k), v);
  }
  const q = identity(n);
  for (let i = 0; i < n; i++) {
    const row = rowOf(q, i);
    for (let k = n - 1; k >= 0; k--) reflect(row.subarray(k), rowOf(reflectors, k).subarray(k));
    const sign = signs[i] ?? 1;
    if (sign < 0) for (let j = 0; j < n; j++) row[j] = -(row[j] ?? 0);
  }
  return q;
}

function reflect(x: Float64Array, v: Float64Array): void {
  addScaled(x, v, -2 * dot(x, v));
}

/** Uniform among the orthogonal matrices `[n, n]` (Mezzadri 2007). */
export function randomOrthogonal(n: number, random: SeededRandom): Matrix {
  const values = Float64Array.from({ length: n * n }, () => random.normal());
  return orthogonalRows({ rows: n, columns: n, values });
}
