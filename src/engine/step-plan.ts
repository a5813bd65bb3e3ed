/**
 * The arrays of a StepPlan, allocated once for the largest step and filled anew by each `schedule()`.
 */
import { BLOCK_TOKENS, type StepPlan } from "../backend/contract.ts";
import { invariant } from "../errors.ts";
import type { BlockCopy } from "../state/sequence-state.ts";
import type { Sequence } from "./request.ts";

export interface StepLimits {
  /** Tokens of a step: the largest prefill chunk. */
  readonly maxTokens: number;
  readonly maxSequences: number;
  /** Output rows of a step: samples, logprobs and logits together. More than maxSequences: the rest is for scores. */
  readonly maxOutputs: number;
  /** Positions of a sequence. */
  readonly context: number;
  readonly vocabSize: number;
}

/** A StepPlan that can be written. */
export class StepPlanBuffer implements StepPlan {
  tokenCount = 0;
  sequenceCount = 0;
  copyCount = 0;
  sampleCount = 0;
  logprobCount = 0;
  logitCount = 0;
  readonly tokens: Int32Array;
  readonly positions: Int32Array;
  readonly queryStarts: Int32Array;
  readonly blockTables: readonly { readonly ids: Int32Array; readonly stride: number }[];
  readonly copies: Int32Array;
  readonly sampleRows: Int32Array;
  readonly sampleSlots: Int32Array;
  readonly sampleTop: Int32Array;
  readonly logprobRows: Int32Array;
  readonly logprobIds: Int32Array;
  readonly logitRows: Int32Array;

  constructor(limits: StepLimits, groups: number) {
    const stride = Math.ceil(limits.context / BLOCK_TOKENS);
    this.tokens = new Int32Array(limits.maxTokens);
    this.positions = new Int32Array(limits.maxTokens);
    this.queryStarts = new Int32Array(limits.maxSequences + 1);
    this.blockTables = Array.from({ length: groups }, () => ({
      ids: new Int32Array(limits.maxSequences * stride),
      stride,
    }));
    this.copies = new Int32Array(3 * groups * limits.maxSequences);
    this.sampleRows = new Int32Array(limits.maxOutputs);
    this.sampleSlots = new Int32Array(limits.maxOutputs);
    this.sampleTop = new Int32Array(limits.maxOutputs);
    this.logprobRows = new Int32Array(limits.maxOutputs);
    this.logprobIds = new Int32Array(limits.maxOutputs);
    this.logitRows = new Int32Array(limits.maxOutputs);
  }

  clear(): void {
    this.tokenCount = 0;
    this.sequenceCount = 0;
    this.copyCount = 0;
    this.sampleCount = 0;
    this.logprobCount = 0;
    this.logitCount = 0;
  }

  copyBlocks(copies: readonly BlockCopy[]): void {
    invariant(3 * copies.length <= this.copies.length, "more block copies than one step holds");
    for (const { group, from, to } of copies) this.copies.set([group, from, to], 3 * this.copyCount++);
  }

  /** The next `count` tokens of a sequence; its state has grown already. Returns the first row. */
  addRows(sequence: Sequence, count: number): number {
    const first = this.tokenCount;
    const { computed } = sequence;
    this.tokens.set(sequence.tokens.subarray(computed, computed + count), first);
    for (let i = 0; i < count; i++) this.positions[first + i] = computed + i;
    for (const [group, { ids, stride }] of this.blockTables.entries()) {
      ids.set(sequence.state.table(group), this.sequenceCount * stride);
    }
    this.tokenCount += count;
    this.sequenceCount += 1;
    this.queryStarts[this.sequenceCount] = this.tokenCount;
    return first;
  }

  addSample(row: number, slot: number, top: number): number {
    this.sampleRows[this.sampleCount] = row;
    this.sampleSlots[this.sampleCount] = slot;
    this.sampleTop[this.sampleCount] = top;
    return this.sampleCount++;
  }

  addLogprob(row: number, id: number): number {
    this.logprobRows[this.logprobCount] = row;
    this.logprobIds[this.logprobCount] = id;
    return this.logprobCount++;
  }

  addLogits(row: number): number {
    this.logitRows[this.logitCount] = row;
    return this.logitCount++;
  }
}
