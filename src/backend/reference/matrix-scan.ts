/**
 * The op `matrixScan` (graph.ts has the formula): a matrix of memory a head, which goes through the places since a border
 * one by one. Sums run in float64, states at borders are f32.
 */
import type { StepPlan } from "../contract.ts";
import { walkBorders } from "./borders.ts";
import type { GranuleStore, StateStore } from "./state-store.ts";

export interface MatrixScanGiven {
  readonly heads: number;
  /** `[T, heads · keyDim]`. */
  readonly r: Float32Array;
  readonly w: Float32Array;
  readonly k: Float32Array;
  /** `[T, heads · valueDim]`. */
  readonly v: Float32Array;
  readonly removal: { readonly a: Float32Array; readonly b: Float32Array } | undefined;
  /** `[heads · keyDim]`. */
  readonly bonus: Float32Array | undefined;
}

export function matrixScan(
  plan: StepPlan,
  granules: GranuleStore,
  history: StateStore,
  { heads, r, w, k, v, removal, bonus }: MatrixScanGiven,
  out: Float32Array,
): void {
  const [keys, values] = [k.length / plan.tokenCount, v.length / plan.tokenCount];
  const [keyDim, valueDim] = [keys / heads, values / heads];
  const parts = [w, k, v, ...(removal ? [removal.a, removal.b] : [])];
  const widths = parts.map((part) => part.length / plan.tokenCount);
  const kept = widths.reduce((sum, width) => sum + width, 0);
  /** Where a place has k, v, a and b. */
  const [kAt, vAt, aAt, bAt] = [keys, 2 * keys, 2 * keys + values, 3 * keys + values];
  /** Σᵢ x[i] S[i, j], x from `at` on. */
  const read = (s: Float64Array, head: number, j: number, x: ArrayLike<number>, at: number): number => {
    let sum = 0;
    for (let i = 0; i < keyDim; i++) sum += (x[at + i] ?? 0) * (s[(head * keyDim + i) * valueDim + j] ?? 0);
    return sum;
  };
  const step = (s: Float64Array, place: ArrayLike<number>): void => {
    for (let head = 0; head < heads; head++) {
      const first = head * keyDim;
      for (let j = 0; j < valueDim; j++) {
        const held = removal === undefined ? 0 : read(s, head, j, place, aAt + first);
        const value = place[vAt + head * valueDim + j] ?? 0;
        for (let i = 0; i < keyDim; i++) {
          const at = (first + i) * valueDim + j;
          const back = removal === undefined ? 0 : (place[bAt + first + i] ?? 0) * held;
          s[at] = (place[first + i] ?? 0) * (s[at] ?? 0) + back + (place[kAt + first + i] ?? 0) * value;
        }
      }
    }
  };
  walkBorders(plan, granules, history, {
    row(row, state, places) {
      const own = new Float32Array(kept);
      let at = 0;
      for (const [i, part] of parts.entries()) {
        const width = widths[i] ?? 0;
        own.set(part.subarray(row * width, (row + 1) * width), at);
        at += width;
      }
      const s = Float64Array.from(state);
      for (const place of bonus === undefined ? [...places, own] : places) step(s, place);
      for (let head = 0; head < heads; head++) {
        const first = head * keyDim;
        let share = 0;
        for (let i = 0; i < keyDim; i++)
          share += (r[row * keys + first + i] ?? 0) * (bonus?.[first + i] ?? 0) * (own[kAt + first + i] ?? 0);
        for (let j = 0; j < valueDim; j++) {
          const column = head * valueDim + j;
          out[row * values + column] = read(s, head, j, r, row * keys + first) + share * (own[vAt + column] ?? 0);
        }
      }
      return own;
    },
    advance(state, places) {
      const s = Float64Array.from(state);
      for (const place of places) step(s, place);
      return Float32Array.from(s);
    },
  });
}
