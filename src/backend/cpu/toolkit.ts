/**
 * What compression asks of the native side: blocks of file formats made from floats, and the linear algebra of methods
 * that a profile shows to need it. A team of threads of its own; no graph, no weights. Which method calls what stands in
 * `compress/`.
 */
import { DTYPES } from "../../artifact/dtype.ts";
import { invariant } from "../../errors.ts";
import { loadAddon, type LoadAddonOptions } from "./addon.ts";
import { asNativeAddon, type NativeAddon, type TeamHandle } from "./native.ts";

export interface ToolkitOptions extends LoadAddonOptions {
  /** Default: the cores that this process may use. */
  readonly threads?: number | undefined;
}

/** The formats that blocks can be made of. */
export const QUANTIZABLE = [
  "Q4_0",
  "Q4_1",
  "Q5_0",
  "Q5_1",
  "Q8_0",
  "Q2_K",
  "Q3_K",
  "Q4_K",
  "Q5_K",
  "Q6_K",
  "IQ4_NL",
  "IQ4_XS",
  "TQ1_0",
  "TQ2_0",
  "MXFP4",
  "NVFP4",
] as const;
export type QuantizedDType = (typeof QUANTIZABLE)[number];

/** Rows in a file format, and the sum of the squared errors of each row. */
export interface QuantizedRows {
  readonly bytes: Uint8Array;
  readonly errors: Float32Array;
}

/** Weights that share a scale. */
const GROUPS: Readonly<Record<QuantizedDType, number>> = {
  Q4_0: 32,
  Q4_1: 32,
  Q5_0: 32,
  Q5_1: 32,
  Q8_0: 32,
  Q2_K: 16,
  Q3_K: 16,
  Q4_K: 32,
  Q5_K: 32,
  Q6_K: 16,
  IQ4_NL: 32,
  IQ4_XS: 32,
  TQ1_0: 256,
  TQ2_0: 256,
  MXFP4: 32,
  NVFP4: 16,
};

/**
 * What rounding goes to: a file format, or integers in groups of 16 … 256 under a scale, of 1 … 8 bits, or with a whole zero
 * point of 1 … 7.
 */
export type Grid =
  | { readonly dtype: QuantizedDType }
  | { readonly bits: number; readonly group: number; readonly symmetric: boolean };

export interface Factor {
  readonly n: number;
  /** I + Ǔ `[n, n]`, row-major. */
  readonly unit: Float32Array;
  /** D `[n]`. */
  readonly pivots: Float32Array;
}

export interface SolveOptions {
  readonly grid: Grid;
  /** `[n]`: how much an error in a column counts where scales are searched. */
  readonly importance?: Float32Array | undefined;
  /** The columns in the order in which they are rounded, which the factor has; scales are fitted beforehand then. */
  readonly order?: Int32Array | undefined;
}

export interface SolvedRows {
  /** `[rows, n]`: what a weight is rounded to: scale · code + min, or an index of the format's levels. */
  readonly codes: Int8Array;
  /** `[rows, n / group]` */
  readonly scales: Float32Array;
  readonly mins: Float32Array;
  /** `[rows, n]`: the rounded weights themselves. */
  readonly values: Float32Array;
  /** `[rows]`: (w − ŵ) H (w − ŵ)ᵀ. */
  readonly errors: Float32Array;
  /** The format's bytes. */
  readonly blocks: Uint8Array | undefined;
}

/** Loads (at the first use on a machine: compiles) the addon and starts the threads. Throws NativeError. */
export async function createToolkit(options: ToolkitOptions = {}): Promise<Toolkit> {
  const native = asNativeAddon(await loadAddon({ onBuild: options.onBuild, signal: options.signal }));
  return new Toolkit(native, native.createTeam(options.threads ?? native.cores(), undefined));
}

export class Toolkit {
  readonly #native: NativeAddon;
  readonly #team: TeamHandle;
  readonly #inverses = new WeakMap<Float32Array, Promise<Float32Array>>();

  constructor(native: NativeAddon, team: TeamHandle) {
    this.#native = native;
    this.#team = team;
  }

  /**
   * Rounds rows to a block format, each block's scales searched so that the weighted squared error is least.
   * @param values `[rows, columns]`, untouched until the promise is settled
   * @param importance `[columns]`: how much an error in a column counts (the mean square of its activations)
   */
  async quantize(
    dtype: QuantizedDType,
    values: Float32Array,
    columns: number,
    importance?: Float32Array,
  ): Promise<QuantizedRows> {
    const { ggml, blockSize, blockBytes } = DTYPES[dtype];
    invariant(values.length % columns === 0 && columns % blockSize === 0, `rows of ${columns} as ${dtype}`);
    const bytes = new Uint8Array((values.length / blockSize) * blockBytes);
    const errors = new Float32Array(values.length / columns);
    await this.#native.quantizeRows(this.#team, ggml, columns, values, importance, bytes, errors);
    return { bytes, errors };
  }

  /**
   * c += a b.
   * @param a `[rows, terms]`, or with `transposed` "a" `[terms, rows]`; b likewise `[terms, cols]` or `[cols, terms]`
   * @param c `[rows, cols]`
   */
  addProduct(
    a: Float32Array,
    b: Float32Array,
    c: Float32Array,
    shape: { readonly rows: number; readonly cols: number; readonly terms: number },
    transposed: "" | "a" | "b" | "both" = "",
  ): Promise<void> {
    const flags = { "": 0, a: 1, b: 2, both: 3 }[transposed];
    return this.#native.addProduct(this.#team, a, b, c, shape.rows, shape.cols, shape.terms, flags);
  }

  /** gram += xᵀ x for rows x `[rows, n]`, the upper triangle of gram `[n, n]` only (and something below it). */
  addGram(x: Float32Array, n: number, gram: Float32Array): Promise<void> {
    return this.#native.addProduct(this.#team, x, x, gram, n, n, x.length / n, 1 + 4);
  }

  /**
   * A positive definite matrix as (I + Ǔ) D (I + Ǔ)ᵀ with Ǔ strictly upper triangular. Its upper triangle is read; the
   * matrix itself becomes I + Ǔ.
   * @throws NativeError where it isn't positive definite
   */
  async factor(matrix: Float32Array, n: number): Promise<Factor> {
    await this.#native.factor(this.#team, matrix, n);
    const pivots = new Float32Array(n);
    const roots = Float32Array.from({ length: n }, (_, i) => matrix[i * n + i] ?? 0);
    for (let i = 0; i < n; i++) {
      pivots[i] = (roots[i] ?? 0) ** 2;
      matrix.fill(0, i * n, i * n + i);
      for (let j = i; j < n; j++) matrix[i * n + j] = (matrix[i * n + j] ?? 0) / (roots[j] ?? 1);
    }
    return { n, unit: matrix, pivots };
  }

  /**
   * Rounds rows with error feedback, so that the error under the factored matrix is small, not that of each weight.
   * Without a factor each weight is rounded by itself.
   * @param values `[rows, n]`
   */
  async solve(
    values: Float32Array,
    factor: Factor | { readonly n: number },
    options: SolveOptions,
  ): Promise<SolvedRows> {
    const { grid, importance, order } = options;
    const { n } = factor;
    const unit = "unit" in factor ? await this.#inverseOf(factor) : undefined;
    const rows = values.length / n;
    const info = "dtype" in grid ? DTYPES[grid.dtype] : undefined;
    const group = "dtype" in grid ? GROUPS[grid.dtype] : grid.group;
    invariant(Number.isInteger(rows) && n % (info?.blockSize ?? group) === 0, `${n} columns in groups of ${group}`);
    const codes = new Uint8Array(values.length);
    const solved = {
      scales: new Float32Array(values.length / group),
      mins: new Float32Array(values.length / group),
      out: new Float32Array(values.length),
      errors: new Float32Array(rows),
    };
    const blocks = info && new Uint8Array((values.length / info.blockSize) * info.blockBytes);
    await this.#native.solveRows(this.#team, {
      ...("dtype" in grid ? { type: DTYPES[grid.dtype].ggml } : grid),
      rows,
      cols: n,
      values,
      ...("unit" in factor && unit && { unit, pivots: factor.pivots }),
      codes,
      ...solved,
      ...(blocks && { blocks }),
      ...(importance && { importance }),
      ...(order && { order }),
    });
    const { out, ...rest } = solved;
    return { ...rest, values: out, codes: new Int8Array(codes.buffer), blocks };
  }

  /** (I + Ǔ)⁻¹, once for all matrices that a factor serves. */
  #inverseOf({ unit, n }: Factor): Promise<Float32Array> {
    const known = this.#inverses.get(unit);
    if (known !== undefined) return known;
    const out = new Float32Array(n * n);
    const inverse = this.#native.invertUnit(this.#team, unit, n, out).then(() => out);
    this.#inverses.set(unit, inverse);
    return inverse;
  }

  /** Ends the threads. */
  async close(): Promise<void> {
    this.#native.stopTeam(this.#team);
    this.#native.close(this.#team);
  }
}
