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
  readonly memory: readonly GroupView[];
  /** Answers that can start: sampler slots that nobody holds. */
  readonly seats: number;
  /** Rows of a step. */
  readonly stepTokens: number;
  /** How many of a waiting request's first tokens need not be computed where they are in memory; and how many are there. */
  reusable(request: Readonly<EngineRequest>): number;
  cached(request: Readonly<EngineRequest>): number;
}

export interface GroupView {
  readonly size: number;
  readonly free: number;
  /** A sequence needs a block more for each 16 tokens; else it needs what `need` says from the start. */
  readonly grows: boolean;
  /** Blocks that a sequence may take beyond its tokens, for a draft. */
  readonly slack: number;
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
  /** A request has ended, and is told of no more. */
  left?(request: Readonly<EngineRequest>): void;
}

/**
 * A step's turns: whoever needs one row gets it before prompts are computed, those that have waited longest first, so that a
 * prompt slows others down, but never stops them; then at most `prompts` rows of prompts, in order.
 */
export function decodesFirst({ running, stepTokens }: SchedulerView, prompts = stepTokens): Turn[] {
  const [single, long]: [Readonly<Sequence>[], Readonly<Sequence>[]] = [[], []];
  for (const { sequences } of running) {
    for (const sequence of sequences) {
      if (sequence.state !== undefined && sequence.pending > 0) (sequence.pending === 1 ? single : long).push(sequence);
    }
  }
  single.sort((a, b) => a.lastStep - b.lastStep);
  const turns = single.map((sequence): Turn => ({ sequence, rows: 1 }));
  let left = single.length > 0 ? prompts : stepTokens;
  for (const sequence of long) {
    if (left === 0) break;
    const rows = Math.min(left, sequence.pending);
    turns.push({ sequence, rows });
    left -= rows;
  }
  return turns;
}
