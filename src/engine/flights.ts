/**
 * Steps in flight, oldest first, and what they still use: memory is given back by way of here, when the last step that
 * names it is done.
 */
import { type Flight, isLive } from "./share.ts";

export class Flights {
  readonly #steps: Flight[] = [];
  #leaving: { readonly until: number; readonly release: () => void }[] = [];

  get oldest(): Flight | undefined {
    return this.#steps[0];
  }

  /** Whether nobody waits for the oldest step any more. */
  get isOldestDead(): boolean {
    return this.#steps[0]?.shares.every((share) => !isLive(share)) ?? false;
  }

  /** Whether something waits to be given back. */
  get isReleasing(): boolean {
    return this.#leaving.length > 0;
  }

  get count(): number {
    return this.#steps.length;
  }

  push(flight: Flight): void {
    this.#steps.push(flight);
  }

  /** The oldest step is done. */
  shift(): Flight | undefined {
    return this.#steps.shift();
  }

  /** Calls `release` once step `until`, and all before it, are done. */
  whenDone(until: number, release: () => void): void {
    if (this.#steps.some(({ id }) => id <= until)) this.#leaving.push({ until, release });
    else release();
  }

  /** Gives back what step `id` was the last to use. */
  settle(id: number): void {
    if (this.#leaving.length === 0) return;
    const due = this.#leaving.filter(({ until }) => until <= id);
    this.#leaving = this.#leaving.filter(({ until }) => until > id);
    for (const { release } of due) release();
  }
}
