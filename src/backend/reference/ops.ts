/**
 * The ops on rows, written as their formulas: sums in float64, results rounded to f32 once. A row's result
 * depends on that row alone, and sums run in one fixed order, so the reference keeps the promise of exactness too.
 */
import type { Activation, ColumnFactor, GateKind } from "../../graph/graph.ts";

/** `[rows, columns]`, row after row. Only `quantize` makes float64 rows: int8 codes times their scales, exactly. */
export type Rows = Float32Array | Float64Array;

/** A matrix `[n, k]`: rows of `values` from `offset` on. */
export interface MatrixView {
  readonly values: Float32Array;
  readonly offset: number;
  readonly n: number;
  readonly k: number;
}

/**
 * out[t, j] = Σᵢ w[j, i] · x[t, i] + bias[j]. Two rows of x by four of w at a time: a matter of loads, the order of
 * each sum stays.
 */
export function linear(x: Rows, w: MatrixView, bias: Float32Array | undefined, out: Float32Array): void {
  const { values, offset, n, k } = w;
  const input = x instanceof Float64Array ? x : Float64Array.from(x);
  const rows = input.length / k;
  const sums = new Float64Array(8);
  for (let j = 0; j < n; j += 4) {
    const height = Math.min(4, n - j);
    // Rows past the last are computed from the last row again and dropped.
    const w0 = offset + j * k;
    const w1 = offset + Math.min(j + 1, n - 1) * k;
    const w2 = offset + Math.min(j + 2, n - 1) * k;
    const w3 = offset + Math.min(j + 3, n - 1) * k;
    for (let t = 0; t < rows; t += 2) {
      const pair = Math.min(2, rows - t);
      dots(values, w0, w1, w2, w3, input, t * k, (t + pair - 1) * k, k, sums);
      for (let a = 0; a < pair; a++) {
        for (let b = 0; b < height; b++) {
          out[(t + a) * n + j + b] = (sums[4 * a + b] ?? 0) + (bias?.[j + b] ?? 0);
        }
      }
    }
  }
}

/** out[t, h·N + j] = Σᵢ w[h, j, i] · x[t, h·K + i], `shape` = [H, N, K]. */
export function headLinear(x: Rows, w: Float32Array, shape: readonly number[], out: Float32Array): void {
  const [heads = 0, n = 0, k = 0] = shape;
  const rows = x.length / (heads * k);
  for (let head = 0; head < heads; head++) {
    const own = new Float64Array(rows * k);
    for (let t = 0; t < rows; t++) own.set(x.subarray((t * heads + head) * k, (t * heads + head + 1) * k), t * k);
    const products = new Float32Array(rows * n);
    linear(own, { values: w, offset: head * n * k, n, k }, undefined, products);
    for (let t = 0; t < rows; t++) out.set(products.subarray(t * n, (t + 1) * n), (t * heads + head) * n);
  }
}

/** The hot loop: eight dot products. Indices are in range by construction; `as number` costs nothing at run time. */
function dots(
  w: Float32Array,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
  x: Float64Array,
  x0: number,
  x1: number,
  k: number,
  sums: Float64Array,
): void {
  let s00 = 0;
  let s01 = 0;
  let s02 = 0;
  let s03 = 0;
  let s10 = 0;
  let s11 = 0;
  let s12 = 0;
  let s13 = 0;
  for (let i = 0; i < k; i++) {
    const a = x[x0 + i] as number;
    const b = x[x1 + i] as number;
    const c0 = w[w0 + i] as number;
    const c1 = w[w1 + i] as number;
    const c2 = w[w2 + i] as number;
    const c3 = w[w3 + i] as number;
    s00 += a * c0;
    s01 += a * c1;
    s02 += a * c2;
    s03 += a * c3;
    s10 += b * c0;
    s11 += b * c1;
    s12 += b * c2;
    s13 += b * c3;
  }
  sums[0] = s00;
  sums[1] = s01;
  sums[2] = s02;
  sums[3] = s03;
  sums[4] = s10;
  sums[5] = s11;
  sums[6] = s12;
  sums[7] = s13;
}

/** x / √(mean x² + eps) · (weight + offset), over each group of columns. */
export function rmsNorm(
  x: Rows,
  weight: Float32Array | undefined,
  { groupSize: group, weightOffset, eps }: { groupSize: number; weightOffset: number; eps: number },
  out: Float32Array,
): void {
  for (let start = 0; start < x.length; start += group) {
    let sum = 0;
    for (let i = 0; i < group; i++) sum += (x[start + i] ?? 0) ** 2;
    const inverse = 1 / Math.sqrt(sum / group + eps);
    for (let i = 0; i < group; i++) {
      const factor = weight === undefined ? 1 : (weight[i] ?? 0) + weightOffset;
      out[start + i] = (x[start + i] ?? 0) * inverse * factor;
    }
  }
}

export function layerNorm(
  x: Rows,
  weight: Float32Array | undefined,
  bias: Float32Array | undefined,
  { groupSize: columns, weightOffset, eps }: { groupSize: number; weightOffset: number; eps: number },
  out: Float32Array,
): void {
  for (let start = 0; start < x.length; start += columns) {
    let sum = 0;
    for (let i = 0; i < columns; i++) sum += x[start + i] ?? 0;
    const mean = sum / columns;
    let squares = 0;
    for (let i = 0; i < columns; i++) squares += ((x[start + i] ?? 0) - mean) ** 2;
    const inverse = 1 / Math.sqrt(squares / columns + eps);
    for (let i = 0; i < columns; i++) {
      const factor = weight === undefined ? 1 : (weight[i] ?? 0) + weightOffset;
      out[start + i] = ((x[start + i] ?? 0) - mean) * inverse * factor + (bias?.[i] ?? 0);
    }
  }
}

/** w, −eʷ or 1 − w of each weight. */
export function columnFactors(weight: Float32Array, factor: ColumnFactor): Float64Array {
  return Float64Array.from(weight, (w) => {
    if (factor === "weight") return w;
    return factor === "oneMinus" ? 1 - w : -Math.exp(w);
  });
}

/** Each column times what `factor` makes of its weight. */
export function columnScale(
  x: Rows,
  columns: number,
  weight: Float32Array,
  factor: ColumnFactor,
  out: Float32Array,
): void {
  const run = columns / weight.length;
  const factors = columnFactors(weight, factor);
  for (let i = 0; i < x.length; i++) out[i] = (x[i] ?? 0) * (factors[Math.floor((i % columns) / run)] ?? 0);
}

export interface RopeTable {
  /** `[rows, n]` each: cos and sin of f32(position · frequency), times the magnitude. */
  readonly cos: Float64Array;
  readonly sin: Float64Array;
}

export function ropeTable(positions: Int32Array, frequencies: Float32Array, magnitude: number): RopeTable {
  const n = frequencies.length;
  const cos = new Float64Array(positions.length * n);
  const sin = new Float64Array(positions.length * n);
  positions.forEach((position, t) => {
    frequencies.forEach((frequency, i) => {
      const angle = Math.fround(position * frequency);
      cos[t * n + i] = Math.cos(angle) * magnitude;
      sin[t * n + i] = Math.sin(angle) * magnitude;
    });
  });
  return { cos, sin };
}

/** Turns each head's pairs; columns beyond the turned ones stay. `x` is `[rows, heads · headDim]`. */
export function rope(
  x: Rows,
  columns: number,
  headDim: number,
  interleaved: boolean,
  table: RopeTable,
  out: Float32Array,
): void {
  out.set(x);
  const rows = x.length / columns;
  const n = table.cos.length / rows;
  const [step, apart] = interleaved ? [2, 1] : [1, n];
  for (let t = 0; t < rows; t++) {
    for (let head = t * columns; head < (t + 1) * columns; head += headDim) {
      for (let i = 0; i < n; i++) {
        const first = head + i * step;
        const a = x[first] ?? 0;
        const b = x[first + apart] ?? 0;
        const cos = table.cos[t * n + i] ?? 1;
        const sin = table.sin[t * n + i] ?? 0;
        out[first] = a * cos - b * sin;
        out[first + apart] = a * sin + b * cos;
      }
    }
  }
}

export function activate(x: number, activation: Activation): number {
  switch (activation) {
    case "silu":
      return x / (1 + Math.exp(-x));
    case "gelu":
      return 0.5 * x * erfc(-x / Math.SQRT2);
    case "geluTanh":
      return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
    case "relu":
      return Math.max(x, 0);
    case "exp":
      return Math.exp(x);
    case "softplus":
      return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
    case "identity":
      return x;
    case "sigmoid":
      return sigmoid(x);
    default:
      return activation satisfies never;
  }
}

export function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

export function gated(gate: number, up: number, kind: GateKind): number {
  if (kind !== "clampedSwiglu") return activate(gate, kind) * up;
  const g = Math.min(gate, 7);
  return g * sigmoid(1.702 * g) * (Math.min(Math.max(up, -7), 7) + 1);
}

/**
 * The complementary error function to double precision: the series of erf near zero, the continued fraction of
 * erfc beyond (Abramowitz & Stegun 7.1.6 and 7.1.14).
 */
export function erfc(x: number): number {
  const z = Math.abs(x);
  const gauss = Math.exp(-z * z) / Math.sqrt(Math.PI);
  if (z < 2.5) {
    let term = 2 * z;
    let sum = term;
    for (let n = 1; term > 1e-17 * sum; n++) {
      term *= (2 * z * z) / (2 * n + 1);
      sum += term;
    }
    const erf = gauss * sum;
    return x < 0 ? 1 + erf : 1 - erf;
  }
  let fraction = z;
  for (let n = 120; n > 0; n--) fraction = z + n / 2 / fraction;
  const tail = gauss / fraction;
  return x < 0 ? 2 - tail : tail;
}
