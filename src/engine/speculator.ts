/**
 * Who proposes drafts to the scheduler: an interface, so that tests can force any; speculation.ts is what the engine uses.
 */
import type { DraftTree } from "../decode/speculative/draft-tree.ts";
import type { Drafter } from "../decode/speculative/drafter.ts";
import { proposalOf } from "./work/draft.ts";
import type { EngineRequest, Sequence, Taken } from "./request.ts";

/** How many drafted tokens were verified at a depth (index 0: the first behind the known ones), and came true. */
export interface DepthCount {
  drafted: number;
  accepted: number;
}

export interface Speculator {
  /** What was drafted so far, by depth. */
  readonly depths: readonly DepthCount[];
  /** Whether the next step waits until those in flight are done. */
  waits(running: readonly EngineRequest[]): boolean;
  /** A step is made for these. */
  begin(running: readonly EngineRequest[]): void;
  /** What may follow a sequence's known tokens and the forced ones behind them. */
  propose(sequence: Sequence, forced: readonly number[], room: number): DraftTree | undefined;
  learn(sequence: Sequence, draft: VerifiedDraft): void;
  end(request: EngineRequest): void;
  /** How many tokens the drafting models shall make for each sequence now. */
  draftDepths(running: readonly EngineRequest[], most: number): (sequence: Sequence) => number;
  /** A program's step of so many rows, each with a sample, took so long; 0: the one that answers, 1 …: those that draft. */
  measure(program: number, rows: number, ms: number): void;
}

export interface VerifiedDraft {
  readonly tree: DraftTree;
  /** The nodes that came true. */
  readonly taken: Taken;
  /** What was sampled at a node, or at the root (−1). */
  readonly sampleAt: (node: number) => number;
}

/** One drafter for all, asked always: for tests. */
export function always(drafter: Drafter): Speculator {
  const nothing = (): void => undefined;
  return {
    depths: [],
    waits: () => false,
    begin: nothing,
    propose: ({ tokens, length, drafts }, forced, room) =>
      (forced.length > 0 ? undefined : proposalOf(drafts, length)) ??
      drafter.propose(Int32Array.of(...tokens.subarray(0, length), ...forced), room),
    draftDepths: (_, most) => () => most,
    learn: nothing,
    end: nothing,
    measure: nothing,
  };
}
