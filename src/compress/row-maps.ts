/**
 * Linear maps of rows, and stored matrices seen through them: what a turned or narrower stream does to the tensors around
 * it. A map of the stream's rows, x ← x Q with orthonormal columns of Q, makes W Q of a matrix that reads the stream, Qᵀ W
 * of one that adds to it; a map of a head's columns does the same to a run of the matrix.
 */
import type { Tensor } from "../artifact/artifact.ts";
import { tensorValues } from "../artifact/tensor-values.ts";
import { invariant } from "../errors.ts";
import type { Hadamard } from "./linear-algebra/hadamard.ts";
import { addScaled, type Matrix, rowOf } from "./linear-algebra/matrix.ts";
import { keepTensor, type Store } from "./store.ts";
import { encodeFloats, type FloatDType } from "./tensors.ts";

/** x ← x Q for rows of `from` values, which become `to` values. */
export interface RowMap {
  readonly from: number;
  readonly to: number;
  /** Rows one after another. */
  apply(rows: Float64Array): Float64Array;
}

export function matrixMap(q: Matrix): RowMap {
  return {
    from: q.rows,
    to: q.columns,
    apply(rows) {
      const count = rows.length / q.rows;
      const result = new Float64Array(count * q.columns);
      for (let r = 0; r < count; r++) {
        const to = result.subarray(r * q.columns, (r + 1) * q.columns);
        for (let k = 0; k < q.rows; k++) {
          const factor = rows[r * q.rows + k] ?? 0;
          if (factor !== 0) addScaled(to, rowOf(q, k), factor);
        }
      }
      return result;
    },
  };
}

export function hadamardMap(hadamard: Hadamard): RowMap {
  const { columns } = hadamard;
  return {
    from: columns,
    to: columns,
    apply(rows) {
      const result = rows.slice();
      for (let at = 0; at < rows.length; at += columns) hadamard.apply(result.subarray(at, at + columns));
      return result;
    },
  };
}

/** Each value of a row times its own factor. */
export function scaleMap(factors: Float64Array): RowMap {
  const n = factors.length;
  return { from: n, to: n, apply: (rows) => rows.map((value, i) => value * (factors[i % n] ?? 1)) };
}

/** The values that are named, in this order. */
export function pickMap(from: number, kept: readonly number[]): RowMap {
  const to = kept.length;
  return {
    from,
    to,
    apply(rows) {
      const result = new Float64Array((rows.length / from) * to);
      for (let at = 0, out = 0; at < rows.length; at += from, out += to)
        for (const [i, column] of kept.entries()) result[out + i] = rows[at + column] ?? 0;
      return result;
    },
  };
}

/** What becomes of a stored tensor `[…, N, K]`, in this order. A vector is one row, or where `rows` are given one column. */
export interface TensorChange {
  /** On runs of each row. */
  readonly columns?: readonly RowMap[];
  /** On runs of each column, from row `start` on `count` rows (default: all). The rows before and behind stay. */
  readonly rows?: readonly { readonly map: RowMap; readonly start?: number; readonly count?: number }[];
}

/** Values of a matrix that are changed at a time, where its rows are changed apart. */
const CHUNK_VALUES = 2 ** 20;

/** The changed tensor under `name`, kept in the store as floats. */
export async function keepChanged(
  store: Store,
  tensor: Tensor,
  change: TensorChange,
  dtype: FloatDType,
  name = tensor.name,
): Promise<Tensor> {
  const { columns: columnMaps = [], rows: rowMaps = [] } = change;
  const isVector = tensor.shape.length === 1;
  const asColumn = isVector && rowMaps.length > 0;
  const [rows, columns] = asColumn ? [tensor.shape[0] ?? 1, 1] : [tensor.shape.at(-2) ?? 1, tensor.shape.at(-1) ?? 1];
  const newColumns = columnMaps.reduce((n, { from, to }) => (n / from) * to, columns);
  const newRows = rowMaps.reduce((n, { map: { from, to }, count = n }) => n + (count / from) * (to - from), rows);
  const shape = isVector ? [asColumn ? newRows : newColumns] : [...tensor.shape.slice(0, -2), newRows, newColumns];
  const total = tensor.shape.reduce((product, n) => product * n, 1);
  // Whole matrices where columns are changed; else as many rows as are handy.
  const step = rowMaps.length > 0 ? rows * columns : Math.max(1, Math.floor(CHUNK_VALUES / columns)) * columns;
  async function* bytes(): AsyncGenerator<Uint8Array> {
    for (let start = 0; start < total; start += step) {
      let values = Float64Array.from(await tensorValues(tensor, start, Math.min(step, total - start)));
      for (const map of columnMaps) values = Float64Array.from(map.apply(values));
      for (const { map, start: first = 0, count } of rowMaps)
        values = changedRows(values, newColumns, map, first, count ?? values.length / newColumns);
      yield encodeFloats(dtype, Float32Array.from(values));
    }
  }
  return keepTensor(store, { name, dtype, shape, bytes });
}

function changedRows(
  values: Float64Array<ArrayBuffer>,
  columns: number,
  map: RowMap,
  start: number,
  count: number,
): Float64Array<ArrayBuffer> {
  invariant(count % map.from === 0, `${count} rows in runs of ${map.from}`);
  const changed = map.apply(turned(values.subarray(start * columns, (start + count) * columns), count, columns));
  const newCount = changed.length / columns;
  const result = new Float64Array(values.length + (newCount - count) * columns);
  result.set(values.subarray(0, start * columns));
  result.set(turned(changed, columns, newCount), start * columns);
  result.set(values.subarray((start + count) * columns), (start + newCount) * columns);
  return result;
}

/** `[rows, columns]` → `[columns, rows]` */
function turned(values: Float64Array, rows: number, columns: number): Float64Array {
  const result = new Float64Array(values.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) result[j * rows + i] = values[i * columns + j] ?? 0;
  return result;
}
