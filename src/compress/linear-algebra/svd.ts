/**
 * The leading part of a singular value decomposition, by the eigenvectors of the smaller Gram matrix. Singular values
 * below 1e-8 of the largest are lost in rounding, which is far below what a truncated factor drops.
 */
import { symmetricEigen } from "./eigen.ts";
import { addScaled, dot, gram, type Matrix, multiplyTransposed, rowOf, transpose, zeros } from "./matrix.ts";

export interface Svd {
  /** `[rows, rank]`; column i is the i-th left vector times the i-th singular value. */
  readonly left: Matrix;
  /** `[rank, columns]`, orthonormal rows. */
  readonly right: Matrix;
  /** All of them, from the largest to the smallest. */
  readonly values: Float64Array;
}

/** The best approximation of rank `rank` of `a`: left · right (Eckart & Young 1936). */
export function truncatedSvd(a: Matrix, rank: number): Svd {
  // The wide way round, the vectors of A Aᵀ are A's left ones: right = left's transpose times A, normalised.
  const isWide = a.columns > a.rows;
  const { values: squares, vectors } = symmetricEigen(isWide ? gram(transpose(a)) : gram(a));
  const values = squares.map((square) => Math.sqrt(Math.max(0, square)));
  const kept = Math.min(rank, values.length);
  const basis = { rows: kept, columns: vectors.columns, values: vectors.values.slice(0, kept * vectors.columns) };
  if (!isWide) return { left: multiplyTransposed(a, basis), right: basis, values };
  const right = zeros(kept, a.columns);
  for (let i = 0; i < kept; i++) {
    const row = rowOf(right, i);
    for (let r = 0; r < a.rows; r++) addScaled(row, rowOf(a, r), basis.values[i * a.rows + r] ?? 0);
    const length = Math.sqrt(dot(row, row));
    if (length > 0) for (let j = 0; j < row.length; j++) row[j] = (row[j] ?? 0) / length;
  }
  const left = transpose(basis);
  for (let r = 0; r < left.rows; r++)
    for (let i = 0; i < kept; i++) left.values[r * kept + i] = (left.values[r * kept + i] ?? 0) * (values[i] ?? 0);
  return { left, right, values };
}
