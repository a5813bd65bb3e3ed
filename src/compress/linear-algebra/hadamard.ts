/**
 * Hadamard matrices, normalised: orthogonal, every entry ±1/√n, so that a row's energy is spread over all columns. Sizes
 * 2ᵏ by Sylvester's doubling; times 12 or 20 (… 28, 36, 44) by Paley's first and second construction (Paley 1933). Rows
 * are transformed in place by butterflies; the odd factor is a small dense product.
 */
import { invariant } from "../../errors.ts";
import { addScaled, type Matrix, rowOf, zeros } from "./matrix.ts";
import type { SeededRandom } from "./random.ts";

/** Orders that are no power of two times another here, and the prime that each is made of: q + 1, or 2 (q + 1). */
const PALEY = [
  { order: 12, prime: 11, kind: 1 },
  { order: 20, prime: 19, kind: 1 },
  { order: 28, prime: 13, kind: 2 },
  { order: 36, prime: 17, kind: 2 },
  { order: 44, prime: 43, kind: 1 },
] as const;

/** How n columns are transformed: `blocks` times the Hadamard matrix of `core` · `two` columns. */
export interface HadamardShape {
  readonly blocks: number;
  /** 1, or an order of Paley's. */
  readonly core: number;
  /** A power of two. */
  readonly two: number;
}

/**
 * One block where there is a matrix of this order here (2ᵏ, 12 · 2ᵏ, 20 · 2ᵏ …); else the fewest equal blocks that there
 * are matrices for. 576 = 36 · 16 and 1,536 = 12 · 128 are one block, 600 is 15 blocks of 40.
 */
export function hadamardShape(n: number): HadamardShape {
  invariant(n > 0 && Number.isInteger(n), `${n} columns`);
  for (let blocks = 1; blocks <= n; blocks++) {
    if (n % blocks !== 0) continue;
    const size = n / blocks;
    const core = [1, ...PALEY.map(({ order }) => order)].find((order) => isPowerOfTwo(size / order));
    if (core !== undefined) return { blocks, core, two: size / core };
  }
  return { blocks: n, core: 1, two: 1 };
}

function isPowerOfTwo(x: number): boolean {
  return Number.isInteger(x) && x > 0 && (x & (x - 1)) === 0;
}

/** Transforms rows of n columns by a (block) Hadamard matrix whose columns have random signs, and back. */
export class Hadamard {
  readonly columns: number;
  readonly shape: HadamardShape;
  /** ±1 for each column, before the butterflies. */
  readonly signs: Float64Array;
  readonly #core: Matrix;

  /** Without `random` no sign is changed. */
  constructor(columns: number, random?: SeededRandom) {
    this.columns = columns;
    this.shape = hadamardShape(columns);
    this.signs = Float64Array.from({ length: columns }, () => random?.sign() ?? 1);
    this.#core = hadamardCore(this.shape.core);
  }

  /** row ← row · D H, with D the signs. */
  apply(row: Float64Array): void {
    for (let i = 0; i < row.length; i++) row[i] = (row[i] ?? 0) * (this.signs[i] ?? 1);
    this.#spread(row, false);
  }

  /** row ← row · (D H)ᵀ: what `apply` did, undone. */
  undo(row: Float64Array): void {
    this.#spread(row, true);
    for (let i = 0; i < row.length; i++) row[i] = (row[i] ?? 0) * (this.signs[i] ?? 1);
  }

  /** D H as a matrix. */
  matrix(): Matrix {
    const result = zeros(this.columns, this.columns);
    for (let i = 0; i < this.columns; i++) {
      const row = rowOf(result, i);
      row[i] = 1;
      this.apply(row);
    }
    return result;
  }

  /** Column c of a block is (c div two, c mod two): butterflies along the second, the core along the first. */
  #spread(row: Float64Array, transposed: boolean): void {
    const { core, two } = this.shape;
    const size = core * two;
    const factor = 1 / Math.sqrt(size);
    for (let start = 0; start < row.length; start += size) {
      const block = row.subarray(start, start + size);
      for (let at = 0; at < size; at += two) butterflies(block.subarray(at, at + two));
      if (core > 1) this.#mix(block, transposed);
      for (let i = 0; i < size; i++) block[i] = (block[i] ?? 0) * factor;
    }
  }

  #mix(block: Float64Array, transposed: boolean): void {
    const { core, two } = this.shape;
    const source = block.slice();
    block.fill(0);
    for (let i = 0; i < core; i++) {
      for (let j = 0; j < core; j++) {
        const sign = this.#core.values[transposed ? j * core + i : i * core + j] ?? 0;
        addScaled(block.subarray(j * two, (j + 1) * two), source.subarray(i * two, (i + 1) * two), sign);
      }
    }
  }
}

/** Sylvester's matrix times a row, in place (the fast Walsh–Hadamard transform), not normalised. */
function butterflies(x: Float64Array): void {
  for (let half = 1; half < x.length; half *= 2) {
    for (let start = 0; start < x.length; start += 2 * half) {
      for (let i = start; i < start + half; i++) {
        const [a, b] = [x[i] ?? 0, x[i + half] ?? 0];
        x[i] = a + b;
        x[i + half] = a - b;
      }
    }
  }
}

/** A Hadamard matrix of ±1 of order 1 or one of Paley's. */
function hadamardCore(order: number): Matrix {
  const found = PALEY.find((one) => one.order === order);
  if (found === undefined) return { rows: 1, columns: 1, values: Float64Array.of(1) };
  const { prime, kind } = found;
  const conference = conferenceMatrix(prime);
  const n = prime + 1;
  const result = zeros(order, order);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      const c = conference.values[i * n + j] ?? 0;
      if (kind === 1) result.values[i * n + j] = c + (i === j ? 1 : 0);
      else {
        // Each entry becomes 2 × 2: c · (1 1; 1 −1), on the diagonal (1 −1; −1 −1).
        const block = i === j ? [1, -1, -1, -1] : [c, c, c, -c];
        for (const [at, value] of block.entries())
          result.values[(2 * i + (at >> 1)) * order + 2 * j + (at & 1)] = value;
      }
    }
  }
  return result;
}

/**
 * C `[q + 1, q + 1]` with zeros on the diagonal, ±1 elsewhere and C Cᵀ = q I: χ(i − j) bordered by ones, χ(x) being 1 where x
 * is a square modulo the prime q. Skew where q ≡ 3 modulo 4, symmetric where q ≡ 1.
 */
function conferenceMatrix(q: number): Matrix {
  const squares = new Set(Array.from({ length: q - 1 }, (_, i) => ((i + 1) * (i + 1)) % q));
  const n = q + 1;
  const result = zeros(n, n);
  const border = q % 4 === 3 ? -1 : 1;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      if (i === j) continue;
      const isSquare = squares.has((((i - j) % q) + q) % q);
      result.values[i * n + j] = i === 0 ? 1 : j === 0 ? border : isSquare ? 1 : -1;
    }
  }
  return result;
}
