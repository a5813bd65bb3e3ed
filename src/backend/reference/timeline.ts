/**
 * The order of effects on a pool: steps of all its programs, reads and writes happen one after another as they were
 * submitted. It also remembers the last steps, whose samples later ones may name.
 */
import { invariant } from "../../errors.ts";
import { REMEMBERED_STEPS } from "../contract.ts";
import type { Step } from "./step.ts";

export class Timeline {
  #last: Promise<unknown> = Promise.resolve();
  #steps: Step[] = [];

  /** Runs `effect` after everything that was submitted before. */
  enqueue<T>(effect: () => T | Promise<T>): Promise<T> {
    const done = this.#last.then(effect);
    this.#last = done.catch(() => undefined);
    return done;
  }

  /** The id that a next step's must exceed. */
  get lastId(): number {
    return this.#steps.at(-1)?.plan.id ?? -Infinity;
  }

  remember(step: Step): void {
    // The last REMEMBERED_STEPS stay, and those in flight.
    this.#steps = [...this.#steps.filter((old, i) => i + REMEMBERED_STEPS > this.#steps.length || !old.ended), step];
  }

  find(id: number): Step {
    const step = this.#steps.find(({ plan }) => plan.id === id);
    invariant(step !== undefined, `step ${id} is not remembered`);
    return step;
  }
}
