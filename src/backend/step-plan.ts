/**
 * A StepPlan that can be written: its arrays are allocated once for the largest step, and filled anew for each. Rows
 * belong to the sequence that was added last, listed slots to the last row, counted rows to the last sample. It knows
 * limits, no meaning: which rows, slots and blocks make sense is its writer's business, and the backend's to check.
 */
import { invariant } from "../errors.ts";
import {
  BLOCK_TOKENS,
  type CompileOptions,
  type IdOrReference,
  type SamplerOpening,
  type StepPlan,
} from "./contract.ts";

export interface StepPlanOptions extends CompileOptions {
  /** State groups of the pool. */
  readonly groups: number;
  /** Places of a sequence, those of its drafts included. */
  readonly context: number;
  /** Columns of each named input. */
  readonly inputWidths?: readonly number[];
}

export class StepPlanBuffer implements StepPlan {
  id = 0;
  tokenCount = 0;
  sequenceCount = 0;
  listedCount = 0;
  moveCount = 0;
  copyCount = 0;
  referenceCount = 0;
  closeCount = 0;
  commitCount = 0;
  sampleCount = 0;
  countedCount = 0;
  logprobCount = 0;
  readonly tokens: Int32Array;
  readonly positions: Int32Array;
  readonly slots: Int32Array;
  readonly seen: Int32Array;
  readonly listStarts: Int32Array;
  readonly listed: Int32Array;
  readonly queryStarts: Int32Array;
  readonly borders: Int32Array;
  readonly blockTables: readonly { readonly ids: Int32Array; readonly stride: number }[];
  readonly adapters: Int32Array;
  readonly moves: Int32Array;
  readonly copies: Int32Array;
  readonly references: Int32Array;
  readonly closes: Int32Array;
  readonly opens: SamplerOpening[] = [];
  readonly commits: Int32Array;
  readonly sampleRows: Int32Array;
  readonly sampleSlots: Int32Array;
  readonly sampleTop: Int32Array;
  readonly sampleMasked: Int32Array;
  readonly countStarts: Int32Array;
  readonly counted: Int32Array;
  readonly logprobRows: Int32Array;
  readonly logprobIds: Int32Array;
  readonly logprobTop: Int32Array;
  readonly inputs: readonly { count: number; readonly rows: Int32Array; readonly values: Float32Array }[];
  readonly outputs: readonly { count: number; readonly rows: Int32Array }[];
  readonly #samplerSlots: number;
  readonly #maxOutputs: number;

  constructor(options: StepPlanOptions) {
    const { stepTokens, maxSequences, maxOutputs, samplerSlots, maxListed, maxMoves, maxCopies } = options;
    const stride = Math.ceil(options.context / BLOCK_TOKENS);
    // Each committed token was a sample of one of the two steps before.
    const maxCommits = 2 * maxOutputs;
    this.#samplerSlots = samplerSlots;
    this.#maxOutputs = maxOutputs;
    this.tokens = new Int32Array(stepTokens);
    this.positions = new Int32Array(stepTokens);
    this.slots = new Int32Array(stepTokens);
    this.seen = new Int32Array(stepTokens);
    this.listStarts = new Int32Array(stepTokens + 1);
    this.listed = new Int32Array(maxListed);
    this.queryStarts = new Int32Array(maxSequences + 1);
    this.borders = new Int32Array(maxSequences);
    this.blockTables = Array.from({ length: options.groups }, () => ({
      ids: new Int32Array(maxSequences * stride),
      stride,
    }));
    this.adapters = new Int32Array(maxSequences);
    this.moves = new Int32Array(5 * maxMoves);
    this.copies = new Int32Array(3 * maxCopies);
    this.references = new Int32Array(2 * (stepTokens + maxCommits));
    this.closes = new Int32Array(samplerSlots);
    this.commits = new Int32Array(2 * maxCommits);
    this.sampleRows = new Int32Array(maxOutputs);
    this.sampleSlots = new Int32Array(maxOutputs);
    this.sampleTop = new Int32Array(maxOutputs);
    this.sampleMasked = new Int32Array(maxOutputs);
    this.countStarts = new Int32Array(maxOutputs + 1);
    // A drafted path that counts is at most as long as the list of what its row sees.
    this.counted = new Int32Array(maxListed);
    this.logprobRows = new Int32Array(maxOutputs);
    this.logprobIds = new Int32Array(maxOutputs);
    this.logprobTop = new Int32Array(maxOutputs);
    const { inputs = [], inputWidths = [], maxInputRows = 0 } = options;
    this.inputs = inputs.map((name, i) => {
      const width = inputWidths[i];
      invariant(width !== undefined, `the input "${name}" has no width`);
      return { count: 0, rows: new Int32Array(maxInputRows), values: new Float32Array(maxInputRows * width) };
    });
    this.outputs = options.outputs.map(() => ({ count: 0, rows: new Int32Array(maxOutputs) }));
  }

  /** Output rows so far: samples, log-probabilities and rows of named outputs together. */
  get outputCount(): number {
    return this.outputs.reduce((sum, { count }) => sum + count, this.sampleCount + this.logprobCount);
  }

  clear(): void {
    this.tokenCount = 0;
    this.sequenceCount = 0;
    this.listedCount = 0;
    this.moveCount = 0;
    this.copyCount = 0;
    this.referenceCount = 0;
    this.closeCount = 0;
    this.opens.length = 0;
    this.commitCount = 0;
    this.sampleCount = 0;
    this.countedCount = 0;
    this.logprobCount = 0;
    for (const input of this.inputs) input.count = 0;
    for (const output of this.outputs) output.count = 0;
  }

  /**
   * The next rows are of a sequence with these block tables, one for each group, whose scans go on from the border
   * `border`, and an adapter (−1: none). Returns its index in the step.
   */
  addSequence(tables: readonly ArrayLike<number>[], border = 0, adapter = -1): number {
    invariant(this.sequenceCount + 1 < this.queryStarts.length, "more sequences than a step holds");
    const sequence = this.sequenceCount++;
    for (const [group, { ids, stride }] of this.blockTables.entries()) {
      const table = tables[group];
      invariant(table !== undefined, `a sequence without a block table for group ${group}`);
      invariant(table.length <= stride, "a sequence has more blocks than its context");
      ids.set(table, sequence * stride);
      ids.fill(-1, sequence * stride + table.length, (sequence + 1) * stride);
    }
    this.borders[sequence] = border;
    this.queryStarts[sequence + 1] = this.tokenCount;
    this.adapters[sequence] = adapter;
    return sequence;
  }

  /** A row of the last sequence. Returns its index in the step. */
  addRow(token: IdOrReference, position: number, slot: number = position, seen: number = slot + 1): number {
    invariant(this.sequenceCount > 0, "a row without a sequence");
    invariant(this.tokenCount < this.tokens.length, "more tokens than a step holds");
    const row = this.tokenCount++;
    this.tokens[row] = token;
    this.positions[row] = position;
    this.slots[row] = slot;
    this.seen[row] = seen;
    this.listStarts[row + 1] = this.listedCount;
    this.queryStarts[this.sequenceCount] = this.tokenCount;
    return row;
  }

  /** Rows from `position` on, each at its own place: causal, or all with `seen` places. Returns the first one's index. */
  addRows(tokens: ArrayLike<number>, position: number, seen?: number): number {
    invariant(this.sequenceCount > 0, "rows without a sequence");
    invariant(this.tokenCount + tokens.length <= this.tokens.length, "more tokens than a step holds");
    const first = this.tokenCount;
    this.tokens.set(tokens, first);
    for (let i = 0; i < tokens.length; i++) {
      this.positions[first + i] = position + i;
      this.slots[first + i] = position + i;
      this.seen[first + i] = seen ?? position + i + 1;
      this.listStarts[first + i + 1] = this.listedCount;
    }
    this.tokenCount += tokens.length;
    this.queryStarts[this.sequenceCount] = this.tokenCount;
    return first;
  }

  /** The last row sees one slot more, behind those before. */
  addListed(slot: number): void {
    invariant(this.tokenCount > 0, "a listed slot without a row");
    invariant(this.listedCount < this.listed.length, "more listed slots than a step holds");
    this.listed[this.listedCount++] = slot;
    this.listStarts[this.tokenCount] = this.listedCount;
  }

  addMove(group: number, fromBlock: number, fromOffset: number, toBlock: number, toOffset: number): void {
    const at = 5 * this.moveCount;
    invariant(at < this.moves.length, "more moves than a step holds");
    this.moves[at] = group;
    this.moves[at + 1] = fromBlock;
    this.moves[at + 2] = fromOffset;
    this.moves[at + 3] = toBlock;
    this.moves[at + 4] = toOffset;
    this.moveCount += 1;
  }

  addCopy(group: number, from: number, to: number): void {
    const at = 3 * this.copyCount;
    invariant(at < this.copies.length, "more block copies than a step holds");
    this.copies[at] = group;
    this.copies[at + 1] = from;
    this.copies[at + 2] = to;
    this.copyCount += 1;
  }

  /** What stands for the id of an earlier step's sample, as a token or in a commit. */
  addReference(step: number, sample: number): IdOrReference {
    const at = 2 * this.referenceCount;
    invariant(at < this.references.length, "more references than a step holds");
    this.references[at] = step;
    this.references[at + 1] = sample;
    return -1 - this.referenceCount++;
  }

  addClose(slot: number): void {
    invariant(this.closeCount < this.closes.length, "more sampler slots are closed than there are");
    this.closes[this.closeCount++] = slot;
  }

  addOpen(opening: SamplerOpening): void {
    invariant(this.opens.length < this.#samplerSlots, "more sampler slots are opened than there are");
    this.opens.push(opening);
  }

  addCommit(slot: number, token: IdOrReference): void {
    const at = 2 * this.commitCount;
    invariant(at < this.commits.length, "more commits than a step holds");
    this.commits[at] = slot;
    this.commits[at + 1] = token;
    this.commitCount += 1;
  }

  /** Returns the sample's index in the step. */
  addSample(row: number, slot: number, top = 0, masked = false): number {
    this.#claimOutput();
    const sample = this.sampleCount++;
    this.sampleRows[sample] = row;
    this.sampleSlots[sample] = slot;
    this.sampleTop[sample] = top;
    this.sampleMasked[sample] = masked ? 1 : 0;
    this.countStarts[sample + 1] = this.countedCount;
    return sample;
  }

  /** A row's token counts for the last sample as its answer's. */
  addCounted(row: number): void {
    invariant(this.sampleCount > 0, "a counted row without a sample");
    invariant(this.countedCount < this.counted.length, "more counted rows than a step holds");
    this.counted[this.countedCount++] = row;
    this.countStarts[this.sampleCount] = this.countedCount;
  }

  /** Returns the log-probability's index in the step. */
  addLogprob(row: number, id: number, top = 0): number {
    this.#claimOutput();
    this.logprobRows[this.logprobCount] = row;
    this.logprobIds[this.logprobCount] = id;
    this.logprobTop[this.logprobCount] = top;
    return this.logprobCount++;
  }

  /** `output` is an index into CompileOptions' `outputs`. Returns the row's index in that output's result. */
  addOutput(output: number, row: number): number {
    this.#claimOutput();
    const list = this.outputs[output];
    invariant(list !== undefined, `the program has no output ${output}`);
    list.rows[list.count] = row;
    return list.count++;
  }

  /** The row's values come from here. `input` is an index into CompileOptions' `inputs`. */
  addInput(input: number, row: number, values: Float32Array): void {
    const list = this.inputs[input];
    invariant(list !== undefined, `the program has no input ${input}`);
    invariant(list.count < list.rows.length, "more input rows than a step holds");
    const width = list.values.length / list.rows.length;
    invariant(values.length === width, `a row of ${values.length} values, wanted ${width}`);
    list.rows[list.count] = row;
    list.values.set(values, list.count * width);
    list.count += 1;
  }

  #claimOutput(): void {
    invariant(this.outputCount < this.#maxOutputs, "more output rows than a step holds");
  }
}
