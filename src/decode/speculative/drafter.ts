/**
 * A method of drafting, and a drafter: the method at work on one sequence. Whatever a drafter proposes, the sequence's
 * tokens are the same (draft-tree.ts); it only decides how many of them a step gives. Each method is a file, entered in
 * methods.ts. When a draft is worth its rows is not a drafter's business (choose.ts).
 */
import type { DraftTree } from "./draft-tree.ts";

/** A sequence that begins. */
export interface DraftedText {
  /** Token ids of the prompt. */
  readonly prompt: Int32Array;
  /** What a method learns of a sequence it may use in another one only under an equal tenant. */
  readonly tenant: string;
}

export interface Drafter {
  /** What may follow `tokens`, prompt and answer: a tree of at most `room` nodes, undefined where it has nothing to say. */
  propose(tokens: Int32Array, room: number): DraftTree | undefined;
  /** What a step sampled behind a draft's nodes, some of them its own; negative: nothing. `sampleAt(-1)`: at the root. */
  learn?(draft: DraftTree, sampleAt: (node: number) => number): void;
  /** The sequence is over. */
  end?(tokens: Int32Array): void;
}

export interface DraftMethod {
  /** Some of its nodes are there for what is sampled behind them: they are computed whether they pay or not. */
  readonly invests?: true;
  follow(text: DraftedText): Drafter;
}
