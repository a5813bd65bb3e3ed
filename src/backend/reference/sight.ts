/**
 * What a row sees: slots of its sequence, in the order of their places. Slot p < seen is place p, the listed slots follow
 * in their order. A window counts back from the row's own place: the last one, or its slot where that lies before.
 */
import type { StepPlan } from "../contract.ts";

/** The slots that a row of the step sees within `window` places. */
export function sightOf(plan: StepPlan, row: number, window: number): Int32Array {
  const first = Math.max(0, ownPlace(plan, row) - window + 1);
  return Int32Array.from({ length: placesOf(plan, row) - first }, (_, i) => slotAt(plan, row, first + i));
}

export function ownPlace(plan: StepPlan, row: number): number {
  const slot = plan.slots[row] ?? 0;
  return slot < (plan.seen[row] ?? 0) - 1 ? slot : placesOf(plan, row) - 1;
}

/** The slot at a place that a row sees. */
export function slotAt(plan: StepPlan, row: number, place: number): number {
  const seen = plan.seen[row] ?? 0;
  return place < seen ? place : (plan.listed[(plan.listStarts[row] ?? 0) + place - seen] ?? -1);
}

function placesOf(plan: StepPlan, row: number): number {
  return (plan.seen[row] ?? 0) + (plan.listStarts[row + 1] ?? 0) - (plan.listStarts[row] ?? 0);
}

/** The rows of each sequence of the step. */
export function* sequencesOf(plan: StepPlan): Generator<{ sequence: number; begin: number; end: number }> {
  for (let sequence = 0; sequence < plan.sequenceCount; sequence++)
    yield { sequence, begin: plan.queryStarts[sequence] ?? 0, end: plan.queryStarts[sequence + 1] ?? 0 };
}
