/**
 * Dense matrices in float64, row-major, for methods that compress: the few products that they need, written so that the
 * inner loop runs along rows. Factorisations stand in files of their own; what a profile shows to be large is computed by
 * the native toolkit instead.
 */
import { invariant } from "../../errors.ts";

export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  /** Row after row. */
  readonly values: Float64Array;
}

export function zeros(rows: number, columns: number): Matrix {
  return { rows, columns, values: new Float64Array(rows * columns) };
}

export function identity(n: number): Matrix {
  const matrix = zeros(n, n);
  for (let i = 0; i < n; i++) matrix.values[i * n + i] = 1;
  return matrix;
}

/** `values`, row after row, as a matrix; they are copied. */
export function matrixOf(rows: number, columns: number, values: ArrayLike<number>): Matrix {
  invariant(values.length === rows * columns, `${values.length} values for ${rows} × ${columns}`);
  return { rows, columns, values: Float64Array.from(values) };
}

export function rowOf({ columns, values }: Matrix, row: number): Float64Array {
  return values.subarray(row * columns, (row + 1) * columns);
}

export function transpose({ rows, columns, values }: Matrix): Matrix {
  const result = zeros(columns, rows);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) result.values[j * rows + i] = values[i * columns + j] ?? 0;
  return result;
}

/** y += factor · x */
export function addScaled(y: Float64Array, x: Float64Array, factor: number): void {
  for (let i = 0; i < y.length; i++) y[i] = (y[i] ?? 0) + factor * (x[i] ?? 0);
}

export function dot(x: Float64Array, y: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += (x[i] ?? 0) * (y[i] ?? 0);
  return sum;
}

/** A B */
export function multiply(a: Matrix, b: Matrix): Matrix {
  invariant(a.columns === b.rows, `${a.rows} × ${a.columns} times ${b.rows} × ${b.columns}`);
  const result = zeros(a.rows, b.columns);
  for (let i = 0; i < a.rows; i++) {
    const to = rowOf(result, i);
    for (let k = 0; k < a.columns; k++) {
      const factor = a.values[i * a.columns + k] ?? 0;
      if (factor !== 0) addScaled(to, rowOf(b, k), factor);
    }
  }
  return result;
}

/** A Bᵀ */
export function multiplyTransposed(a: Matrix, b: Matrix): Matrix {
  invariant(a.columns === b.columns, `rows of ${a.columns} by rows of ${b.columns}`);
  const result = zeros(a.rows, b.rows);
  for (let i = 0; i < a.rows; i++)
    for (let j = 0; j < b.rows; j++) result.values[i * b.rows + j] = dot(rowOf(a, i), rowOf(b, j));
  return result;
}

/** Aᵀ A `[columns, columns]`. */
export function gram(a: Matrix): Matrix {
  const n = a.columns;
  const result = zeros(n, n);
  for (let r = 0; r < a.rows; r++) {
    const row = rowOf(a, r);
    for (let i = 0; i < n; i++) {
      const factor = row[i] ?? 0;
      if (factor === 0) continue;
      for (let j = i; j < n; j++) result.values[i * n + j] = (result.values[i * n + j] ?? 0) + factor * (row[j] ?? 0);
    }
  }
  return mirrored(result);
}

/** The upper triangle copied to the lower one, in place. */
export function mirrored(a: Matrix): Matrix {
  const n = a.rows;
  for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) a.values[i * n + j] = a.values[j * n + i] ?? 0;
  return a;
}

/** √Σ a² */
export function frobenius({ values }: Matrix): number {
  return Math.sqrt(dot(values, values));
}
