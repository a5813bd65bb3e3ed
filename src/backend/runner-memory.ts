/**
 * What the programs of a ProgramRunner share: the pool and the weights, the sequences' block tables, the count of steps,
 * and the block copies that the next step of any of them will make.
 */
import { invariant } from "../errors.ts";
import { BLOCK_TOKENS, BORDER_TOKENS, type Pool, type Weights } from "./contract.ts";
import type { StepPlanBuffer } from "./step-plan.ts";

/** How far a program has come with a sequence: tokens, and the borders whose granules hold their state. */
export interface Progress {
  length: number;
  borders: readonly number[];
}

interface Move {
  readonly from: number;
  readonly to: number;
}

export class RunnerMemory {
  readonly pool: Pool;
  readonly #weights: Weights;
  readonly #sequences: number;
  readonly #stride: number;
  /** For each group: the blocks of sequence 0, then of sequence 1, … */
  readonly #blocks: readonly Int32Array[];
  /** For each program: its progress with each sequence. */
  readonly #progress: Progress[][] = [];
  #copies: (readonly [group: number, from: number, to: number])[] = [];
  #steps = 0;
  #users = 0;

  constructor(pool: Pool, weights: Weights, sequences: number, stride: number) {
    this.pool = pool;
    this.#weights = weights;
    this.#sequences = sequences;
    this.#stride = stride;
    this.#blocks = pool.blocks.map(scattered);
  }

  /** A program's progress with the sequences, which it keeps up to date. */
  join(): Progress[] {
    const progress = Array.from({ length: this.#sequences }, (): Progress => ({ length: 0, borders: [] }));
    this.#progress.push(progress);
    this.#users += 1;
    return progress;
  }

  /** The last program closes the pool and the weights. */
  leave(): void {
    this.#users -= 1;
    if (this.#users > 0) return;
    this.pool.close();
    this.#weights.close();
  }

  nextStep(): number {
    return ++this.#steps;
  }

  /**
   * A sequence's block tables for rows from position `first` on: blocks wholly behind a window are given as freed,
   * granules of other borders than `borders` as not kept.
   */
  tables(sequence: number, first: number, borders: readonly number[] = []): Int32Array[] {
    return this.pool.groups.map(({ kind, window = Infinity }, group) => {
      const behind = first - window + 1;
      return this.#table(group, sequence).map((block, i) => {
        const kept = kind === "recurrent" ? borders.includes(i + 1) : (i + 1) * BLOCK_TOKENS > behind;
        return kept ? block : -1;
      });
    });
  }

  addMoves(plan: StepPlanBuffer, sequence: number, moves: readonly Move[]): void {
    for (const [group, { kind }] of this.pool.groups.entries()) {
      if (kind === "recurrent") continue;
      const table = this.#table(group, sequence);
      for (const { from, to } of moves) {
        const blocks = [blockAt(table, from), blockAt(table, to)] as const;
        plan.addMove(group, blocks[0], from % BLOCK_TOKENS, blocks[1], to % BLOCK_TOKENS);
      }
    }
  }

  fork(from: number, to: number): void {
    for (const group of this.pool.groups.keys()) {
      const [sources, targets] = this.#pairs(group, from, to);
      for (const [i, source] of sources.entries()) this.#copies.push([group, source, targets[i] ?? -1]);
    }
    this.#follow(from, to);
  }

  async transfer(from: number, to: number): Promise<void> {
    for (const group of this.pool.groups.keys()) {
      const [sources, targets] = this.#pairs(group, from, to);
      await this.pool.write(group, targets, await this.pool.read(group, sources));
    }
    this.#follow(from, to);
  }

  takeCopies(plan: StepPlanBuffer): void {
    for (const [group, from, to] of this.#copies) plan.addCopy(group, from, to);
    this.#copies = [];
  }

  #table(group: number, sequence: number): Int32Array {
    const blocks = this.#blocks[group];
    invariant(blocks !== undefined && sequence < this.#sequences, `there is no sequence ${sequence}`);
    return blocks.subarray(sequence * this.#stride, (sequence + 1) * this.#stride);
  }

  /** The blocks that a sequence has filled, and another's in the same places. */
  #pairs(group: number, from: number, to: number): [Int32Array, Int32Array] {
    const length = Math.max(...this.#progress.map((progress) => progress[from]?.length ?? 0));
    const isRecurrent = this.pool.groups[group]?.kind === "recurrent";
    const count = isRecurrent ? Math.floor(length / BORDER_TOKENS) : Math.ceil(length / BLOCK_TOKENS);
    return [this.#table(group, from).slice(0, count), this.#table(group, to).slice(0, count)];
  }

  #follow(from: number, to: number): void {
    for (const progress of this.#progress) Object.assign(progress[to] ?? {}, progress[from]);
  }
}

function blockAt(table: Int32Array, slot: number): number {
  const block = table[Math.floor(slot / BLOCK_TOKENS)];
  invariant(block !== undefined, `slot ${slot} lies beyond the sequence's blocks`);
  return block;
}

/** 0 … count − 1 in an order that is neither rising nor falling. */
function scattered(count: number): Int32Array {
  let step = Math.floor(count * 0.618) | 1;
  while (gcd(step, count) > 1) step += 1;
  return Int32Array.from({ length: count }, (_, i) => (i * step + 1) % count);
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
