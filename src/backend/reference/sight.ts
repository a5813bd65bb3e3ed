/**
 * What a row sees: slots of its sequence, in the order of their places. Slot p < seen is place p, the listed slots follow
 * in their order. A window counts back from the row's own place: the last one, or its slot where that lies before.
 */
import type { StepPlan } from "../contract.ts";

/** What a row sees, in the order of places. */
export interface Sight {
  readonly slots: Int32Array;
  /** Place of the first of them, counted from the row's own. */
  readonly distance: number;
}

export interface SightLimits {
  /** Places that the row looks back to, its own included. */
  readonly window: number;
  /** It doesn't look out of its own chunk of so many places. */
  readonly chunk?: number | undefined;
  /** Places that it looks ahead. */
  readonly ahead?: number | undefined;
}

export function sightOf(plan: StepPlan, row: number, { window, chunk, ahead = Infinity }: SightLimits): Sight {
  const own = ownPlace(plan, row);
  const first = Math.max(0, own - window + 1, chunk === undefined ? 0 : Math.floor(own / chunk) * chunk);
  const end = Math.min(placesOf(plan, row), own + ahead + 1);
  const slots = Int32Array.from({ length: end - first }, (_, i) => slotAt(plan, row, first + i));
  return { slots, distance: first - own };
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
