/**
 * Prefixes that stay in memory although no request holds them: pins, until they are released, and what requests ask to have
 * kept for whoever goes on from them, until its time is over. The latter hold at most half of the memory, and give way, oldest
 * first, where nobody could go on otherwise.
 */
import { RequestError } from "../errors.ts";
import type { GroupMemory } from "../state/block-pool.ts";
import type { Pin } from "./client.ts";
import type { PrefixCache } from "./prefix-cache.ts";

const MOST_KEPT = 0.5;

export class Keeping {
  readonly #prefixes: PrefixCache;
  readonly #memory: readonly GroupMemory[];
  readonly #pins = new Set<() => void>();
  /** The oldest first. */
  readonly #kept = new Set<() => void>();

  constructor(prefixes: PrefixCache, memory: readonly GroupMemory[]) {
    this.#prefixes = prefixes;
    this.#memory = memory;
  }

  /** @throws RequestError where there is no prefix cache. */
  pin(tokens: Int32Array, salt: string): Pin {
    const pin = this.#prefixes.pin(tokens, salt);
    if (pin === undefined) throw new RequestError("without a prefix cache nothing can be pinned");
    this.#pins.add(pin.release);
    return { tokens: pin.tokens, release: () => this.#pins.delete(pin.release) && pin.release() };
  }

  /** Keeps what memory has of these tokens for some time. */
  keep(tokens: Int32Array, salt: string, seconds: number): void {
    const pin = this.#prefixes.pin(tokens, salt);
    if (pin === undefined) return;
    const release = (): void => {
      clearTimeout(timer);
      if (this.#kept.delete(release)) pin.release();
    };
    const timer = setTimeout(release, 1000 * seconds);
    // It keeps memory, not the process.
    if (typeof timer === "object") timer.unref();
    this.#kept.add(release);
    const isTooMuch = (): boolean =>
      this.#memory.some(({ pool: { size } }, g) => (this.#prefixes.pinned[g] ?? 0) > MOST_KEPT * size);
    while (isTooMuch() && this.giveUp());
  }

  /** Lets go of what has been kept longest; false: nothing is. */
  giveUp(): boolean {
    const [oldest] = this.#kept;
    oldest?.();
    return oldest !== undefined;
  }

  close(): void {
    for (const release of [...this.#pins, ...this.#kept]) release();
    this.#pins.clear();
  }
}
