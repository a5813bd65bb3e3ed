/**
 * Gate: how many answers a model may owe at once. What runs and what waits in the engine count alike; beyond that a request
 * is told to come back. While the server drains nobody enters, and `empty` resolves when the last one has left.
 */
import { HttpError } from "./failure.ts";

export class Gate {
  readonly #running: number;
  readonly #limit: number;
  #inside = 0;
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

  /** Takes `count` places; gives what returns them, once. */
  enter(count: number): () => void {
    if (this.#draining) {
      throw new HttpError(503, "the server is going down; ask another one", { headers: { "retry-after": "5" } });
    }
    // What could never run is let in for the engine to say so: coming back wouldn't help.
    if (count <= this.#running && this.#inside + count > this.#limit) {
      throw new HttpError(
        429,
        `the queue is full: ${this.#inside} answers are under way, at most ${this.#limit} may be`,
        {
          headers: { "retry-after": "1" },
        },
      );
    }
    this.#inside += count;
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#inside -= count;
      this.lastLeft = performance.now();
      if (this.#inside === 0) for (const resolve of this.#whenEmpty.splice(0)) resolve();
    };
  }

  drain(): void {
    this.#draining = true;
  }

  async empty(): Promise<void> {
    if (this.#inside > 0) await new Promise<void>((resolve) => this.#whenEmpty.push(resolve));
  }
}
