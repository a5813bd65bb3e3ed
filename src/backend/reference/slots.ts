/**
 * The sampler slots of a program. What a plan says of them takes effect when its step begins; whether a slot will be open
 * then is known when the plan is submitted, because steps begin in that order.
 */
import { invariant } from "../../errors.ts";
import type { SamplerOpening, SamplerParams, StepPlan } from "../contract.ts";

export interface Slot {
  readonly params: SamplerParams;
  /** Tokens of prompt and answer, with their number in the answer. */
  readonly seen: Map<number, number>;
  /** The answer's length. */
  generated: number;
}

export class SamplerSlots {
  readonly #slots: (Slot | undefined)[];
  /** Which slots are open after the last submitted step. */
  readonly #open: boolean[];

  constructor(count: number) {
    this.#slots = Array.from({ length: count });
    this.#open = Array.from({ length: count }, () => false);
  }

  /** Throws where a plan names a slot that isn't there or won't be open. Changes nothing. */
  check(plan: StepPlan): void {
    const open = this.#open.slice();
    for (const slot of namedSlots(plan)) invariant(open[slot] !== undefined, `there is no sampler slot ${slot}`);
    for (const slot of plan.closes) open[slot] = false;
    for (const { slot } of plan.opens) open[slot] = true;
    for (const slot of [...commitsOf(plan).map(([slot]) => slot), ...plan.sampleSlots])
      invariant(open[slot] === true, `sampler slot ${slot} is not open`);
  }

  /** A plan was submitted. */
  declare(plan: StepPlan): void {
    for (const slot of plan.closes) this.#open[slot] = false;
    for (const { slot } of plan.opens) this.#open[slot] = true;
  }

  /** A step begins: closings, openings, commits. `resolve` gives the id of an id or reference. */
  begin(plan: StepPlan, resolve: (id: number) => number): void {
    for (const slot of plan.closes) this.#slots[slot] = undefined;
    for (const opening of plan.opens) this.#slots[opening.slot] = openSlot(opening);
    for (const [slot, id] of commitsOf(plan)) {
      const { seen } = this.get(slot);
      count(seen, resolve(id));
      this.get(slot).generated += 1;
    }
  }

  get(slot: number): Slot {
    const found = this.#slots[slot];
    invariant(found !== undefined, `sampler slot ${slot} is not open`);
    return found;
  }

  /** A step has failed: later ones find all slots closed that it names. */
  undeclare(plan: StepPlan): void {
    for (const slot of namedSlots(plan)) this.#open[slot] = false;
  }

  /** Closes all slots that a failed step names, once those before it have ended. */
  close(plan: StepPlan): void {
    for (const slot of namedSlots(plan)) this.#slots[slot] = undefined;
  }
}

/** One occurrence more in the answer. */
export function count(seen: Map<number, number>, id: number): void {
  seen.set(id, (seen.get(id) ?? 0) + 1);
}

function openSlot({ params, prompt, answer }: SamplerOpening): Slot {
  const seen = new Map(Array.from(prompt, (id) => [id, 0]));
  for (const id of answer) count(seen, id);
  return { params, seen, generated: answer.length };
}

function commitsOf(plan: StepPlan): [slot: number, id: number][] {
  return Array.from({ length: plan.commitCount }, (_, i) => [plan.commits[2 * i] ?? -1, plan.commits[2 * i + 1] ?? 0]);
}

function namedSlots(plan: StepPlan): number[] {
  const opens = plan.opens.map(({ slot }) => slot);
  return [...plan.closes, ...opens, ...commitsOf(plan).map(([slot]) => slot), ...plan.sampleSlots];
}
