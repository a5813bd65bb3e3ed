/** States of kind `rows`: a row of f32 values for each place, written by one graph and read by any. */
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

const NOTHING = new Float32Array(0);
const NO_VALUES = new Float64Array(0);
