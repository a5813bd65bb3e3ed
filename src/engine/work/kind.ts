/**
 * A kind of work: which outputs it wants of the rows that a sequence computes, and what they mean. The scheduler knows
 * nothing else of it. One file beside this one is one kind.
 */
import type { StepResult } from "../../backend/contract.ts";
import type { StepPlanBuffer } from "../../backend/step-plan.ts";
import type { DraftTree } from "../../decode/speculative/draft-tree.ts";
import type { Sequence } from "../request.ts";

/** Some rows of a sequence in a step: its tokens `first … first + count − 1`, then a draft's nodes. */
export interface Rows {
  readonly step: number;
  readonly sequence: Sequence;
  readonly first: number;
  readonly count: number;
  /** The first one's index in the step; the others follow. */
  readonly row: number;
  readonly draft: DraftTree | undefined;
}

export interface WorkKind {
  /** Output rows that it wants of the next `count` rows, drafts aside. */
  outputs(sequence: Sequence, count: number): number;
  /** Asks for outputs; gives what takes them in, or undefined where it wants nothing of these rows. */
  ask(rows: Rows, plan: StepPlanBuffer): ((result: StepResult) => Taken) | undefined;
}

/** Which nodes of the draft, from the root down, turned out to be the sequence's next tokens. */
export type Taken = readonly number[];
