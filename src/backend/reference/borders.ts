/**
 * What scans have in common: a row's own state is that at the last border before it and what came in since. Here the rows
 * of a step are walked in order, states are taken from granules and carried over borders, and the granules that the plan
 * wants are written. The arithmetic is the scan's (scan.ts).
 */
import { invariant } from "../../errors.ts";
import { BORDER_TOKENS, type StepPlan } from "../contract.ts";
import { placeOf } from "./pool.ts";
import { ownPlace, sequencesOf, slotAt } from "./sight.ts";
import type { GranuleStore, StateStore } from "./state-store.ts";

export interface Recurrence {
  /** The state at the next border: from that at this one, and the 64 places between. */
  advance(state: Float32Array, places: readonly Float64Array[]): Float32Array;
  /** Computes a row from the state at its border and the places since; gives what the history keeps of the row. */
  row(row: number, state: Float32Array, places: readonly Float64Array[]): Float32Array;
}

export function walkBorders(plan: StepPlan, granules: GranuleStore, history: StateStore, recurrence: Recurrence): void {
  for (const { sequence, begin, end } of sequencesOf(plan)) {
    const first = plan.borders[sequence] ?? 0;
    const read = first === 0 ? undefined : granules.at(granuleOf(plan, granules.group, sequence, first));
    /** At the borders from `first` on that lie before what all rows see. */
    const common: Float32Array[] = [read?.slice() ?? new Float32Array(granules.width)];
    const placesOf = (row: number, from: number, to: number): Float64Array[] =>
      Array.from({ length: to - from }, (_, i) => {
        const { block, offset } = placeOf(plan, history.group, sequence, slotAt(plan, row, from + i));
        const place = new Float64Array(history.spec.keyDim);
        history.read(block, offset, place, 0, place, 0);
        return place;
      });
    /** The state at a border, as a row sees it: behind its leading slots lies its own path. */
    const stateAt = (row: number, border: number): Float32Array => {
      const shared = Math.floor((plan.seen[row] ?? 0) / BORDER_TOKENS);
      const start = Math.min(border, first + common.length - 1);
      let state = common[start - first];
      invariant(state !== undefined, `a row before the border ${first} from which its sequence goes on`);
      for (let b = start; b < border; b++) {
        state = recurrence.advance(state, placesOf(row, b * BORDER_TOKENS, (b + 1) * BORDER_TOKENS));
        if (b < shared) common.push(state);
      }
      return state;
    };
    for (let row = begin; row < end; row++) {
      const place = ownPlace(plan, row);
      const border = Math.floor(place / BORDER_TOKENS);
      const kept = recurrence.row(row, stateAt(row, border), placesOf(row, border * BORDER_TOKENS, place));
      const { block, offset } = placeOf(plan, history.group, sequence, plan.slots[row] ?? -1);
      history.write(block, offset, kept, new Float32Array(0));
    }
    const seen = plan.seen.subarray(begin, end);
    const last = Math.floor(Math.max(0, ...seen) / BORDER_TOKENS);
    const row = begin + seen.indexOf(Math.max(...seen));
    for (let border = first + 1; border <= last; border++) {
      const target = granuleOf(plan, granules.group, sequence, border);
      if (target >= 0) granules.at(target).set(stateAt(row, border));
    }
  }
}

/** The granule of a border in a sequence's table; −1: none. */
export function granuleOf(plan: StepPlan, group: number, sequence: number, border: number): number {
  const table = plan.blockTables[group];
  if (table === undefined || border > table.stride) return -1;
  return table.ids[sequence * table.stride + border - 1] ?? -1;
}
