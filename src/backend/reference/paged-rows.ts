/** States of kind `rows`: a row of f32 values for each place, written by one graph and read by any; convolutions over them. */
import type { StepPlan } from "../contract.ts";
import { placeOf } from "./pool.ts";
import { ownPlace, sequencesOf, slotAt } from "./sight.ts";
import type { StateStore } from "./state-store.ts";

export function writeRows(plan: StepPlan, store: StateStore, x: Float32Array): void {
  const { keyDim: width } = store.spec;
  for (const { sequence, begin, end } of sequencesOf(plan)) {
    for (let row = begin; row < end; row++) {
      const { block, offset } = placeOf(plan, store.group, sequence, plan.slots[row] ?? -1);
      store.write(block, offset, x.subarray(row * width, (row + 1) * width), NOTHING);
    }
  }
}

/** What lies `back` places before each row's own; zeros before the first place. */
export function readRows(plan: StepPlan, store: StateStore, back: number): Float32Array {
  const { keyDim: width } = store.spec;
  const out = new Float64Array(plan.tokenCount * width);
  for (const { sequence, begin, end } of sequencesOf(plan)) {
    for (let row = begin; row < end; row++) {
      const place = ownPlace(plan, row) - back;
      if (place < 0) continue;
      const { block, offset } = placeOf(plan, store.group, sequence, slotAt(plan, row, place));
      store.read(block, offset, out, row * width, NO_VALUES, 0);
    }
  }
  return Float32Array.from(out);
}

/** Each column's weights times what its last places hold, the row's own last; `weight` `[width · K]`. */
export function conv(
  plan: StepPlan,
  store: StateStore,
  weight: Float32Array,
  bias: Float32Array | undefined,
): Float32Array {
  const { keyDim: width } = store.spec;
  const taps = weight.length / width;
  const sums = Float64Array.from({ length: plan.tokenCount * width }, (_, i) => bias?.[i % width] ?? 0);
  for (let back = taps - 1; back >= 0; back--) {
    for (const [i, x] of readRows(plan, store, back).entries()) {
      sums[i] = (sums[i] ?? 0) + x * (weight[(i % width) * taps + taps - 1 - back] ?? 0);
    }
  }
  return Float32Array.from(sums);
}

const NOTHING = new Float32Array(0);
const NO_VALUES = new Float64Array(0);
