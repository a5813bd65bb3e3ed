/**
 * Gate: how many answers a model may owe at once. What runs and what waits in the engine count alike; beyond that a request
 * is told to come back, except that whoever owes less than an equal share of the places gets one beyond the limit: a flood
 * under one key shuts nobody else out. While the server drains nobody enters, and `empty` resolves when the last one has left.
 */
import { HttpError } from "./failure.ts";

export class Gate {
  readonly #running: number;
  readonly #limit: number;
  #inside = 0;
  /** Of each API key that has any. */
  readonly #byKey = new Map<string, number>();
  /** When the last answer left (performance.now()); −Infinity: none has. */
  lastLeft = -Infinity;
  #draining = false;
  #whenEmpty: (() => void)[] = [];

  /** `running` answers are computed at once, `queue` more may wait. */
  constructor(running: number, queue: number) {
    this.#running = running;
    this.#limit = running + queue;
  }

  get inside(): number {
    return this.#inside;
  }

  /** Takes `count` places for a key; gives what returns them, once. */
  enter(count: number, key = ""): () => void {
    if (this.#draining) {
      throw new HttpError(503, "the server is going down; ask another one", { headers: { "retry-after": "5" } });
    }
    // What could never run is let in for the engine to say so: coming back wouldn't help.
    const isFull = this.#inside + count > this.#limit && this.#of(key) + count > this.#shareOf(key);
    if (count <= this.#running && isFull) {
      throw new HttpError(
        429,
        `the queue is full: ${this.#inside} answers are under way, at most ${this.#limit} may be`,
        {
          headers: { "retry-after": "1" },
        },
      );
    }
    this.#change(key, count);
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#change(key, -count);
      this.lastLeft = performance.now();
      if (this.#inside === 0) for (const resolve of this.#whenEmpty.splice(0)) resolve();
    };
  }

  #of(key: string): number {
    return this.#byKey.get(key) ?? 0;
  }

  /** An equal share of all places among those who have some, and this one. */
  #shareOf(key: string): number {
    return this.#limit / (this.#byKey.has(key) ? this.#byKey.size : this.#byKey.size + 1);
  }

  #change(key: string, count: number): void {
    this.#inside += count;
    const own = this.#of(key) + count;
    if (own > 0) this.#byKey.set(key, own);
    else this.#byKey.delete(key);
  }

  drain(): void {
    this.#draining = true;
  }

  async empty(): Promise<void> {
    if (this.#inside > 0) await new Promise<void>((resolve) => this.#whenEmpty.push(resolve));
  }
}
