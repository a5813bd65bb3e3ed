/** What passes want to know of the columns of rows that come one sequence at a time; sums are float64. */
export class ColumnStatistics {
  readonly #squares: Float64Array;
  readonly #magnitudes: Float64Array;
  readonly #largest: Float32Array;
  readonly #wanted: number;
  readonly #sample: Float32Array[] = [];
  #rows = 0;

  /** @param sample rows that are kept as they are, spread over those of each sequence */
  constructor(width: number, sample = 0) {
    this.#squares = new Float64Array(width);
    this.#magnitudes = new Float64Array(width);
    this.#largest = new Float32Array(width);
    this.#wanted = sample;
  }

  /** Rows `[n, width]`; `share`: of the sample that comes from them. */
  add(rows: Float32Array, share = 1): void {
    const [squares, magnitudes, largest] = [this.#squares, this.#magnitudes, this.#largest];
    const width = squares.length;
    for (let at = 0; at < rows.length; at += width) {
      for (let i = 0; i < width; i++) {
        const value = rows[at + i] ?? 0;
        const magnitude = Math.abs(value);
        squares[i] = (squares[i] ?? 0) + value * value;
        magnitudes[i] = (magnitudes[i] ?? 0) + magnitude;
        if (magnitude > (largest[i] ?? 0)) largest[i] = magnitude;
      }
    }
    const count = rows.length / width;
    this.#rows += count;
    const wanted = Math.min(count, Math.ceil(this.#wanted * share));
    for (let s = 0; s < wanted; s++) {
      const row = Math.floor(((s + 0.5) * count) / wanted);
      this.#sample.push(rows.slice(row * width, (row + 1) * width));
    }
  }

  meanSquare(): Float32Array {
    return Float32Array.from(this.#squares, (sum) => sum / Math.max(1, this.#rows));
  }

  meanMagnitude(): Float32Array {
    return Float32Array.from(this.#magnitudes, (sum) => sum / Math.max(1, this.#rows));
  }

  largest(): Float32Array {
    return this.#largest;
  }

  /** `[rows, width]` */
  sample(): Float32Array {
    const width = this.#squares.length;
    const all = new Float32Array(this.#sample.length * width);
    for (const [i, row] of this.#sample.entries()) all.set(row, i * width);
    return all;
  }
}
