/**
 * The engine: the step loop between a scheduler and a program. It owns no policy (scheduler.ts) and no
 * arithmetic (the backend); it opens sampler slots, runs steps one after another while there is work, and hands
 * events to whoever submitted. A step that fails ends the requests that it was for, not the engine.
 */
import type { Pool, Program } from "../backend/contract.ts";
import { MillraceError } from "../errors.ts";
import { BlockPool } from "../state/block-pool.ts";
import type { GroupMemory } from "../state/sequence-state.ts";
import type { EngineClient, WorkEvent, WorkStream } from "./client.ts";
import { EventQueue } from "./event-queue.ts";
import { Request, type Work } from "./request.ts";
import { FirstComeScheduler, type Scheduler } from "./scheduler.ts";
import type { StepLimits } from "./step-plan.ts";

export class Engine implements EngineClient {
  readonly #program: Program;
  readonly #scheduler: Scheduler;
  readonly #memory: readonly GroupMemory[];
  readonly #sinks = new Map<Request, EventQueue<WorkEvent>>();
  /** Requests that have ended; their sampler slots are closed between steps. */
  readonly #ended: Request[] = [];
  #loop: Promise<void> | undefined;
  #closed = false;

  constructor(
    program: Program,
    pool: Pool,
    limits: StepLimits,
    makeScheduler: (limits: StepLimits, memory: readonly GroupMemory[]) => Scheduler = (l, m) =>
      new FirstComeScheduler(l, m),
  ) {
    this.#program = program;
    this.#memory = pool.groups.map((group, g) => ({ group, pool: new BlockPool(pool.blocks[g] ?? 0) }));
    this.#scheduler = makeScheduler(limits, this.#memory);
  }

  /** Blocks that somebody holds, over all groups; zero whenever the engine is idle. */
  get usedBlocks(): number {
    return this.#memory.reduce((sum, { pool }) => sum + pool.used, 0);
  }

  submit(work: Work, signal?: AbortSignal): WorkStream {
    if (this.#closed) throw new MillraceError("ERR_CLOSED", "the model is closed");
    signal?.throwIfAborted();
    const request = new Request(work);
    this.#scheduler.add(request);
    const onAbort = (): void => {
      this.#remove(request);
      queue.end({ error: signal?.reason });
    };
    const queue = new EventQueue<WorkEvent>(() => this.#remove(request));
    this.#sinks.set(request, queue);
    signal?.addEventListener("abort", onAbort, { once: true });
    // A turn of the microtask queue, so that calls made together are in the first step together.
    this.#loop ??= Promise.resolve()
      .then(() => this.#run())
      .finally(() => {
        this.#loop = undefined;
      });
    return {
      [Symbol.asyncIterator]: () => withCleanup(queue, () => signal?.removeEventListener("abort", onAbort)),
      endAnswer: (index) => this.#scheduler.endAnswer(request, index),
    };
  }

  /** Resolves when no work is left. */
  async idle(): Promise<void> {
    while (this.#loop) await this.#loop;
  }

  async close(): Promise<void> {
    this.#closed = true;
    const error = new MillraceError("ERR_CLOSED", "the model was closed while it answered");
    for (const [request, queue] of this.#sinks) {
      this.#remove(request);
      queue.end({ error });
    }
    await this.idle();
  }

  async #run(): Promise<void> {
    for (;;) {
      const plan = this.#scheduler.schedule();
      if (!plan) {
        // Between the last step and here somebody may have left; nothing of them must stay.
        this.#closeSamplers();
        return;
      }
      try {
        for (const { work, slots } of this.#scheduler.admitted) {
          if (work.kind !== "generate") continue;
          for (const [i, params] of work.samplers.entries()) {
            this.#program.openSampler(slots[i] ?? 0, params, work.prompt);
          }
        }
        this.#dispatch(await this.#program.run(plan));
      } catch (error) {
        this.#scheduler.update(undefined);
        for (const [request, queue] of this.#sinks) {
          if (request.status !== "running") continue;
          this.#remove(request);
          queue.end({ error });
        }
      }
      this.#closeSamplers();
    }
  }

  #dispatch(result: Awaited<ReturnType<Program["run"]>>): void {
    for (const event of this.#scheduler.update(result)) {
      const queue = this.#sinks.get(event.request);
      if (event.type === "token") queue?.push({ type: "token", token: event.token });
      else if (event.type === "score") queue?.push({ type: "score", score: event.score });
      else {
        queue?.end();
        this.#forget(event.request);
      }
    }
  }

  #remove(request: Request): void {
    this.#scheduler.remove(request);
    this.#forget(request);
  }

  #forget(request: Request): void {
    if (this.#sinks.delete(request)) this.#ended.push(request);
  }

  #closeSamplers(): void {
    for (const { work, slots } of this.#ended.splice(0)) {
      if (work.kind === "generate") for (const slot of slots) this.#program.closeSampler(slot);
    }
  }
}

/** The queue's own iteration, with `cleanup` once it has ended in whatever way. */
async function* withCleanup<T>(queue: EventQueue<T>, cleanup: () => void): AsyncGenerator<T, void, undefined> {
  try {
    yield* queue;
  } finally {
    cleanup();
  }
}
