/**
 * Steps in flight, oldest first, and what they still use: memory and sampler slots are given back by way of here, when
 * the last step that names them is done.
 */
import { type Flight, isLive } from "./share.ts";

export class Flights {
  readonly #steps: Flight[] = [];
  #leaving: { readonly until: number; readonly release: () => void }[] = [];

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
    const due = this.#leaving.filter(({ until }) => until <= id);
    this.#leaving = this.#leaving.filter(({ until }) => until > id);
    for (const { release } of due) release();
  }
}

/** The sampler slots of a program: an answer holds one while it runs. */
export class SamplerSlots {
  readonly #free: number[];
  readonly #toClose = new Set<number>();

  constructor(count: number) {
    this.#free = Array.from({ length: count }, (_, i) => count - 1 - i);
  }

  get free(): number {
    return this.#free.length;
  }

  /** −1 where none is free. */
  take(): number {
    return this.#free.pop() ?? -1;
  }

  giveBack(slot: number, isOpen: boolean): void {
    this.#free.push(slot);
    if (isOpen) this.#toClose.add(slot);
  }

  /** The slots that the next plan must close; it may open them again. */
  takeClosing(): readonly number[] {
    const slots = [...this.#toClose];
    this.#toClose.clear();
    return slots;
  }
}
