/**
 * What a row sees: slots of its sequence, in the order of their places. Slot p < seen is place p, the listed slots follow
 * in their order. A window counts back from the row's own place: the last one, or its slot where that lies before.
 */
import type { StepPlan } from "../contract.ts";

/** The slots that a row of the step sees within `window` places. */
export function sightOf(plan: StepPlan, row: number, window: number): Int32Array {
  const seen = plan.seen[row] ?? 0;
  const listed = plan.listed.subarray(plan.listStarts[row], plan.listStarts[row + 1]);
  const count = seen + listed.length;
  const slot = plan.slots[row] ?? 0;
  const own = slot < seen - 1 ? slot : count - 1;
  const first = Math.max(0, own - window + 1);
  return Int32Array.from({ length: count - first }, (_, i) => {
    const place = first + i;
    return place < seen ? place : (listed[place - seen] ?? -1);
  });
}

/** The rows of each sequence of the step. */
export function* sequencesOf(plan: StepPlan): Generator<{ sequence: number; begin: number; end: number }> {
  for (let sequence = 0; sequence < plan.sequenceCount; sequence++)
    yield { sequence, begin: plan.queryStarts[sequence] ?? 0, end: plan.queryStarts[sequence + 1] ?? 0 };
}
