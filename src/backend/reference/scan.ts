/**
 * The op `scan`: linear attention with decay (graph.ts has the formulas), each row as one sum over the state at its border
 * and the places since. Sums run in float64; what is kept (G, u, states at borders) is f32, so that a row depends on
 * nothing but its path.
 */
import type { StepPlan } from "../contract.ts";
import { walkBorders } from "./borders.ts";
import type { GranuleStore, StateStore } from "./state-store.ts";

export interface ScanInputs {
  readonly heads: number;
  readonly keyHeads: number;
  readonly delta: boolean;
  /** `[T, keyHeads · keyDim]`. */
  readonly q: Float32Array;
  readonly k: Float32Array;
  /** `[T, heads · valueDim]`. */
  readonly v: Float32Array;
  /** `[T, heads]`. */
  readonly g: Float32Array;
  readonly beta: Float32Array;
}

export function scan(
  plan: StepPlan,
  granules: GranuleStore,
  history: StateStore,
  { heads, keyHeads, delta, q, k, v, g, beta }: ScanInputs,
  out: Float32Array,
): void {
  const keyWidth = q.length / plan.tokenCount;
  const valueWidth = v.length / plan.tokenCount;
  const [keyDim, valueDim] = [keyWidth / keyHeads, valueWidth / heads];
  // A place of the history: k, then u, then G.
  const keyAt = (head: number): number => Math.floor((head * keyHeads) / heads) * keyDim;
  const valueAt = (head: number): number => keyWidth + head * valueDim;
  const decayAt = (head: number): number => keyWidth + valueWidth + head;
  const matrixAt = (head: number): number => head * keyDim * valueDim;

  /** e^total Sᵀ x + Σ e^(total − G) (x · k) u over the places. */
  const read = (
    head: number,
    total: number,
    x: ArrayLike<number>,
    xAt: number,
    state: Float32Array,
    places: readonly ArrayLike<number>[],
  ): Float64Array => {
    const sum = new Float64Array(valueDim);
    const add = (factor: number, values: ArrayLike<number>, at: number): void => {
      for (let j = 0; j < valueDim; j++) sum[j] = (sum[j] ?? 0) + factor * (values[at + j] ?? 0);
    };
    const decay = Math.exp(total);
    for (let i = 0; i < keyDim; i++) add(decay * (x[xAt + i] ?? 0), state, matrixAt(head) + i * valueDim);
    for (const place of places) {
      let dot = 0;
      for (let i = 0; i < keyDim; i++) dot += (x[xAt + i] ?? 0) * (place[keyAt(head) + i] ?? 0);
      add(Math.exp(total - (place[decayAt(head)] ?? 0)) * dot, place, valueAt(head));
    }
    return sum;
  };

  walkBorders(plan, granules, history, {
    row(row, state, places) {
      const kept = new Float32Array(keyWidth + valueWidth + heads);
      kept.set(k.subarray(row * keyWidth, (row + 1) * keyWidth));
      for (let head = 0; head < heads; head++) {
        const total = Math.fround((places.at(-1)?.[decayAt(head)] ?? 0) + (g[row * heads + head] ?? 0));
        kept[decayAt(head)] = total;
        const known = delta ? read(head, total, k, row * keyWidth + keyAt(head), state, places) : undefined;
        for (let j = 0; j < valueDim; j++) {
          const value = v[row * valueWidth + head * valueDim + j] ?? 0;
          kept[valueAt(head) + j] = (beta[row * heads + head] ?? 0) * (value - (known?.[j] ?? 0));
        }
        const y = read(head, total, q, row * keyWidth + keyAt(head), state, [...places, kept]);
        out.set(y, row * valueWidth + head * valueDim);
      }
      return kept;
    },
    advance(state, places) {
      const next = new Float32Array(state.length);
      for (let head = 0; head < heads; head++) {
        const total = places.at(-1)?.[decayAt(head)] ?? 0;
        const weights = places.map((place) => Math.exp(total - (place[decayAt(head)] ?? 0)));
        for (let i = 0; i < keyDim; i++) {
          for (let j = 0; j < valueDim; j++) {
            const at = matrixAt(head) + i * valueDim + j;
            let sum = Math.exp(total) * (state[at] ?? 0);
            for (const [s, place] of places.entries())
              sum += (weights[s] ?? 0) * (place[keyAt(head) + i] ?? 0) * (place[valueAt(head) + j] ?? 0);
            next[at] = sum;
          }
        }
      }
      return next;
    },
  });
}
