/** What sparsity, factorisation and pruning want to know of the rows that a matrix reads: means, squares, the Gram matrix. */
import type { Toolkit } from "../backend/cpu/toolkit.ts";
import { type Matrix, mirrored } from "./linear-algebra/matrix.ts";

export class InputStatistics {
  readonly columns: number;
  readonly #sums: Float64Array;
  readonly #magnitudes: Float64Array;
  readonly #squares: Float64Array;
  readonly #gram: Float32Array | undefined;
  #rows = 0;

  constructor(columns: number, { gram }: { readonly gram: boolean }) {
    this.columns = columns;
    this.#sums = new Float64Array(columns);
    this.#magnitudes = new Float64Array(columns);
    this.#squares = new Float64Array(columns);
    this.#gram = gram ? new Float32Array(columns * columns) : undefined;
  }

  /** Rows `[n, columns]`. */
  async add(rows: Float32Array, toolkit: Toolkit): Promise<void> {
    const { columns } = this;
    const [sums, magnitudes, squares] = [this.#sums, this.#magnitudes, this.#squares];
    for (let at = 0; at < rows.length; at += columns) {
      for (let i = 0; i < columns; i++) {
        const value = rows[at + i] ?? 0;
        sums[i] = (sums[i] ?? 0) + value;
        magnitudes[i] = (magnitudes[i] ?? 0) + Math.abs(value);
        squares[i] = (squares[i] ?? 0) + value * value;
      }
    }
    this.#rows += rows.length / columns;
    if (this.#gram !== undefined) await toolkit.addGram(rows, columns, this.#gram);
  }

  /** Rows that were seen. */
  get rows(): number {
    return this.#rows;
  }

  means(): Float64Array {
    return this.#sums.map((sum) => sum / Math.max(1, this.#rows));
  }

  meanMagnitudes(): Float64Array {
    return this.#magnitudes.map((sum) => sum / Math.max(1, this.#rows));
  }

  variances(): Float64Array {
    const means = this.means();
    return this.#squares.map((sum, i) => Math.max(0, sum / Math.max(1, this.#rows) - (means[i] ?? 0) ** 2));
  }

  /** √Σ x² of each column. */
  norms(): Float64Array {
    return this.#squares.map(Math.sqrt);
  }

  /** Xᵀ X, where it was asked for. */
  gram(): Matrix | undefined {
    const { columns } = this;
    return this.#gram && mirrored({ rows: columns, columns, values: Float64Array.from(this.#gram) });
  }
}
