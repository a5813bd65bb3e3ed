/**
 * The ops `selectiveScan` and `wkv` (graph.ts has the formulas): recurrences that go through the places since a border one
 * by one. Sums run in float64, states at borders are f32.
 */
import type { StepPlan } from "../contract.ts";
import { walkBorders } from "./borders.ts";
import type { GranuleStore, StateStore } from "./state-store.ts";

export interface SelectiveInputs {
  /** `[T, d]`. */
  readonly dt: Float32Array;
  readonly x: Float32Array;
  /** `[T, N]`. */
  readonly b: Float32Array;
  readonly c: Float32Array;
  /** `[d, N]`. */
  readonly a: Float64Array;
}

export function selectiveScan(
  plan: StepPlan,
  granules: GranuleStore,
  history: StateStore,
  { dt, x, b, c, a }: SelectiveInputs,
  out: Float32Array,
): void {
  const columns = x.length / plan.tokenCount;
  const size = b.length / plan.tokenCount;
  /** `place`: dt, x, B. */
  const step = (h: Float64Array, place: ArrayLike<number>): void => {
    for (let i = 0; i < columns; i++) {
      const [rate, value] = [place[i] ?? 0, place[columns + i] ?? 0];
      for (let n = 0; n < size; n++) {
        const at = i * size + n;
        h[at] = Math.exp(rate * (a[at] ?? 0)) * (h[at] ?? 0) + rate * value * (place[2 * columns + n] ?? 0);
      }
    }
  };
  walkBorders(plan, granules, history, {
    row(row, state, places) {
      const own = new Float32Array(2 * columns + size);
      own.set(dt.subarray(row * columns, (row + 1) * columns));
      own.set(x.subarray(row * columns, (row + 1) * columns), columns);
      own.set(b.subarray(row * size, (row + 1) * size), 2 * columns);
      const h = Float64Array.from(state);
      for (const place of [...places, own]) step(h, place);
      for (let i = 0; i < columns; i++) {
        let sum = 0;
        for (let n = 0; n < size; n++) sum += (h[i * size + n] ?? 0) * (c[row * size + n] ?? 0);
        out[row * columns + i] = sum;
      }
      return own;
    },
    advance(state, places) {
      const h = Float64Array.from(state);
      for (const place of places) step(h, place);
      return Float32Array.from(h);
    },
  });
}

export interface WkvInputs {
  /** `[T, d]`. */
  readonly k: Float32Array;
  readonly v: Float32Array;
  /** `[d]`. */
  readonly decay: Float64Array;
  readonly bonus: Float32Array;
}

/** Columns that lie together in a state. */
const RUN = 16;

export function wkv(
  plan: StepPlan,
  granules: GranuleStore,
  history: StateStore,
  { k, v, decay, bonus }: WkvInputs,
  out: Float32Array,
): void {
  const columns = decay.length;
  const at = (i: number): number => 3 * RUN * Math.floor(i / RUN) + (i % RUN);
  /** Numerators and denominators times e^−exponent. */
  const begin = (state: Float32Array): Float64Array => {
    const h = Float64Array.from(state);
    // Before the first place there is nothing, whatever it is scaled by.
    for (let i = 0; i < columns; i++) if (h[at(i) + RUN] === 0) h[at(i) + 2 * RUN] = -Infinity;
    return h;
  };
  /** Numerator and denominator with one term more, and the exponent that they are scaled by. */
  const added = (h: Float64Array, i: number, shift: number, key: number, value: number): [number, number, number] => {
    const before = (h[at(i) + 2 * RUN] ?? 0) + shift;
    const most = Math.max(before, key);
    const [e1, e2] = [Math.exp(before - most), Math.exp(key - most)];
    return [e1 * (h[at(i)] ?? 0) + e2 * value, e1 * (h[at(i) + RUN] ?? 0) + e2, most];
  };
  const step = (h: Float64Array, place: ArrayLike<number>): void => {
    for (let i = 0; i < columns; i++)
      for (const [part, x] of added(h, i, decay[i] ?? 0, place[i] ?? 0, place[columns + i] ?? 0).entries())
        h[at(i) + part * RUN] = x;
  };
  walkBorders(plan, granules, history, {
    row(row, state, places) {
      const own = new Float32Array(2 * columns);
      own.set(k.subarray(row * columns, (row + 1) * columns));
      own.set(v.subarray(row * columns, (row + 1) * columns), columns);
      const h = begin(state);
      for (const place of places) step(h, place);
      for (let i = 0; i < columns; i++) {
        const [sum, total] = added(h, i, 0, (own[i] ?? 0) + (bonus[i] ?? 0), own[columns + i] ?? 0);
        out[row * columns + i] = sum / total;
      }
      return own;
    },
    advance(state, places) {
      const h = begin(state);
      for (const place of places) step(h, place);
      return Float32Array.from(h);
    },
  });
}
