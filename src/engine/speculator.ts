/**
 * Who proposes drafts to the scheduler: an interface, so that tests can force any; speculation.ts is what the engine uses.
 */
import { cut, type DraftTree, merge, pathChances } from "../decode/speculative/draft-tree.ts";
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
  /** What may follow a sequence's known tokens. */
  propose(sequence: Sequence, room: number): DraftTree | undefined;
  learn(sequence: Sequence, draft: VerifiedDraft): void;
  end(request: EngineRequest): void;
  /** How many tokens a drafting model shall make for each sequence now. */
  draftDepths(running: readonly EngineRequest[], model: number, most: number): (sequence: Sequence) => number;
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

/** What is so likely pays even where rows are dear. */
export const SURE = 0.7;

/** The part of what is likely that needs no weighing. */
export function surest(likely: DraftTree | undefined): DraftTree | undefined {
  if (likely === undefined) return undefined;
  const reached = pathChances(likely);
  const sure = cut(likely, (node) => (reached[node] ?? 0) >= SURE);
  return sure.tokens.length === 0 ? undefined : sure;
}

/** One drafter for all, asked always: for tests. */
export function always(drafter: Drafter): Speculator {
  const nothing = (): void => undefined;
  return {
    depths: [],
    waits: () => false,
    begin: nothing,
    propose: (sequence, room) => {
      const { tokens, length, drafts } = sequence;
      const drafted = proposalOf(drafts, length) ?? drafter.propose(tokens.slice(0, length), room);
      return merge([surest(sequence.likely), drafted].filter((tree) => tree !== undefined));
    },
    draftDepths: (_, _model, most) => () => most,
    learn: nothing,
    end: nothing,
    measure: nothing,
  };
}
