/**
 * Policy: who is served. The scheduler is mechanism; a policy says who starts, who computes how many rows in the next
 * step, and whose memory is taken when somebody else needs it. Pure: no clock, randomness or I/O inside, and nothing that
 * it sees may be changed, so that a simulator and the tests drive the very code that serves.
 */
import type { EngineRequest, Sequence } from "../request.ts";

export interface SchedulerView {
  /** In order of arrival; those that were preempted stand first. */
  readonly waiting: readonly Readonly<EngineRequest>[];
  readonly running: readonly Readonly<EngineRequest>[];
  /** Blocks of each state group, those that pins hold aside. */
  readonly memory: readonly { readonly size: number; readonly free: number }[];
  /** Rows of a step. */
  readonly stepTokens: number;
}

/** At most so many of a sequence's pending rows; more only where tokens that see each other must stay together. */
export interface Turn {
  readonly sequence: Readonly<Sequence>;
  readonly rows: number;
}

export interface Policy {
  /** Who starts now, in order. The scheduler starts them while it has sampler slots; not asked in a step that preempted. */
  admit(view: SchedulerView): Iterable<Readonly<EngineRequest>>;
  /** Who computes in the next step, in order; the scheduler cuts what doesn't fit. Who isn't named sits it out. */
  turns(view: SchedulerView): Iterable<Turn>;
  /**
   * No block is free for `sequence`: which of `candidates` (running, not in the step that is being made) loses its memory
   * and waits again? undefined: the sequence sits the step out.
   */
  victim(
    view: SchedulerView,
    sequence: Readonly<Sequence>,
    candidates: readonly Readonly<EngineRequest>[],
  ): Readonly<EngineRequest> | undefined;
}
