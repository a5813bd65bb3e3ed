/**
 * A sequence's share of a step: its rows in the plan, what is remembered of them until the step is done, and what becomes
 * of the sequence then.
 */
import type { StepResult } from "../backend/contract.ts";
import type { StepPlanBuffer } from "../backend/step-plan.ts";
import type { GroupMemory } from "../state/block-pool.ts";
import type { MemoryOps, SequenceState } from "../state/sequence-state.ts";
import { addGiven } from "./given.ts";
import type { DraftingModel } from "./work/draft.ts";
import type { StepLimits } from "./limits.ts";
import type { PlacedDraft } from "./placed-draft.ts";
import type { Policy } from "./policies/policy.ts";
import type { PrefixBacking } from "./prefix-cache.ts";
import type { Asked, Sequence, Taken } from "./request.ts";
import type { Speculator, VerifiedDraft } from "./speculator.ts";

export interface SchedulerOptions {
  readonly policy: Policy;
  readonly limits: StepLimits;
  readonly groups: readonly GroupMemory[];
  /** Whether sequences share the memory of equal prefixes. */
  readonly prefixCache: boolean;
  /** What lies behind the prefix tree. Default: what it gives up is gone. */
  readonly swap?: PrefixBacking | undefined;
  /** Filled anew for each step. */
  readonly plan: StepPlanBuffer;
  readonly speculation?: Speculator | undefined;
  readonly drafting?: readonly DraftingModel[] | undefined;
}

export interface Share {
  readonly sequence: Sequence;
  /** The sequence's memory when the step was planned: another one by now, and the share is void. */
  readonly state: SequenceState;
  /** What each kind of work has asked for. */
  readonly asked: readonly Asked[];
  readonly ops: MemoryOps;
  /** Takes in what the step gave. */
  settle(result: StepResult): Settled;
  /** The step never ran: as if it had not been planned. The backend has closed the sampler slots that it names. */
  rewind(): void;
}

export interface Settled {
  /** The sequence has ended, and nobody needs its memory any more. */
  readonly hasEnded: boolean;
  readonly verified?: VerifiedDraft;
}

/** Rows that were planned, and the draft behind them. */
interface Planned extends Pick<Share, "sequence" | "state" | "asked" | "ops"> {
  readonly first: number;
  readonly count: number;
  readonly draft: PlacedDraft | undefined;
}

/** A step in flight. */
export interface Flight {
  readonly id: number;
  /** 0: the model that answers; 1 …: those that draft. */
  readonly program: number;
  readonly shares: Share[];
  readonly preempted: number;
  /** Its masks have been delivered. */
  isMasked: boolean;
  /** Once it is settled: tokens that it verified, and those that turned out right. */
  drafted: number;
  accepted: number;
}

/** Whether somebody still waits for a share's result. */
export function isLive({ sequence, state }: Share): boolean {
  return sequence.state === state && sequence.request.status === "running";
}

/** Adds the next `count` rows of a sequence, and a draft behind them; its memory has grown already. */
export function addShare(
  plan: StepPlanBuffer,
  step: number,
  sequence: Sequence,
  state: SequenceState,
  count: number,
  draft: PlacedDraft | undefined,
): Share {
  const { planned: first, length, tokens, coming, request } = sequence;
  plan.addSequence(state.tables, state.border, request.adapter?.place);
  const row = plan.tokenCount;
  const end = Math.min(first + count, length);
  let next = first;
  for (const span of request.work.spans ?? []) {
    if (span.begin < next || span.end > end) continue;
    plan.addRows(tokens.subarray(next, span.begin), next);
    plan.addRows(tokens.subarray(span.begin, span.end), span.begin, span.end);
    next = span.end;
  }
  plan.addRows(tokens.subarray(next, end), next);
  for (const { step: from, sample } of coming.slice(Math.max(0, first - length), first + count - length)) {
    plan.addRow(plan.addReference(from, sample), first + plan.tokenCount - row);
  }
  addGiven(plan, request.given, first, end, row);
  draft?.addRows(plan);
  const ops = planOps(plan, state);
  const asked: Asked[] = [];
  for (const kind of request.kinds) {
    const asks = kind.ask({ step, sequence, first, count, row, draft: draft?.tree }, plan);
    if (asks !== undefined) asked.push(asks);
  }
  state.plan(first + count);
  sequence.planned = first + count;
  sequence.lastStep = step;
  sequence.isDrafted = draft !== undefined;
  const planned = { sequence, state, first, count, draft, asked, ops };
  return {
    sequence,
    state,
    asked,
    ops,
    settle: (result) => settle(planned, result),
    rewind: () => rewind(planned),
  };
}

/** What must be moved and copied before a sequence's rows, in the plan; what is held is released when that is done. */
export function planOps(plan: StepPlanBuffer, state: SequenceState): MemoryOps {
  const ops = state.takeOps();
  for (const copy of ops.copies) plan.addCopy(...copy);
  for (const move of ops.moves) plan.addMove(...move);
  return ops;
}

function settle({ sequence, state, first, count, draft, asked }: Planned, result: StepResult): Settled {
  sequence.computed = sequence.stored = first + count;
  let taken: Taken = [];
  let verified: VerifiedDraft | undefined;
  for (const one of asked) {
    const nodes = one.take(result);
    const { root } = one;
    if (draft === undefined || root === undefined) continue;
    taken = nodes;
    const { tree } = draft;
    verified = { tree, taken, sampleAt: (node) => result.sampleIds[root + 1 + node] ?? -1 };
  }
  // Whoever was told may have left.
  if (sequence.state !== state) return { hasEnded: false };
  if (draft === undefined) state.confirm(first + count);
  else {
    sequence.isDrafted = false;
    sequence.computed += taken.length;
    sequence.planned = sequence.computed;
    // A tree's nodes are where they belong only when the next rows have been computed.
    if (draft.isChain) sequence.stored = sequence.computed;
    state.confirm(draft.isChain ? sequence.computed : first + count);
    state.accept(draft.isChain ? [] : taken.map((node) => draft.base + node), sequence.computed);
  }
  for (const model of sequence.drafts) model.keep(sequence.tokens, sequence.computed);
  // Who has nothing left to compute, and nothing to come, has ended.
  if (sequence.reach === sequence.computed) sequence.finished = true;
  const hasEnded = sequence.finished && !sequence.request.hasUnforked;
  return { hasEnded, ...(verified && { verified }) };
}

function rewind({ sequence, state, ops }: Planned): void {
  state.restoreOps(ops);
  state.rewind();
  sequence.planned = sequence.computed;
  sequence.isDrafted = false;
  for (const answer of [sequence, ...sequence.request.unforked]) {
    answer.coming.length = 0;
    answer.isOpen = false;
  }
}
