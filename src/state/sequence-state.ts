/**
 * What one sequence remembers: a block table for each state group. It grows as positions are computed, forks
 * copy-on-write, frees behind a window, and gives everything back by one path (`release`). The tables' order is
 * that of the groups.
 */
import { BLOCK_TOKENS, type StateGroup } from "../backend/contract.ts";
import type { BlockPool } from "./block-pool.ts";

/** A group with its pool: the memory that sequences are made of. */
export interface GroupMemory {
  readonly group: StateGroup;
  readonly pool: BlockPool;
}

/** A block whose bytes must be copied before the next step: (group, from, to). */
export interface BlockCopy {
  readonly group: number;
  readonly from: number;
  readonly to: number;
}

/** A block table: entry p / 16 holds position p; −1 where freed. */
class BlockTable {
  readonly ids: number[] = [];
  /** Entries before this one are freed. */
  first = 0;
}

export class SequenceState {
  readonly #memory: readonly GroupMemory[];
  readonly #tables: BlockTable[];

  constructor(memory: readonly GroupMemory[]) {
    this.#memory = memory;
    this.#tables = memory.map(() => new BlockTable());
  }

  /** The block ids of a group, by position / 16. */
  table(group: number): readonly number[] {
    return this.#tables[group]?.ids ?? [];
  }

  /** Makes room for the positions 0 … length − 1. */
  grow(length: number): void {
    const entries = Math.ceil(length / BLOCK_TOKENS);
    for (const [index, { pool }] of this.#memory.entries()) {
      const table = this.#tables[index];
      if (!table) continue;
      while (table.ids.length < entries) table.ids.push(pool.allocate());
    }
  }

  /**
   * A second sequence with the same first `length` positions. Full blocks are shared; a last block that is
   * partly filled is copied, and the copy is added to `copies`.
   */
  fork(length: number, copies: BlockCopy[]): SequenceState {
    const child = new SequenceState(this.#memory);
    const full = Math.floor(length / BLOCK_TOKENS);
    for (const [index, { pool }] of this.#memory.entries()) {
      const from = this.#tables[index];
      const to = child.#tables[index];
      if (!from || !to) continue;
      to.first = from.first;
      for (const [entry, block] of from.ids.entries()) {
        if (entry < from.first) to.ids.push(-1);
        else if (entry < full) {
          pool.share(block);
          to.ids.push(block);
        } else if (entry * BLOCK_TOKENS < length) {
          const copy = pool.allocate();
          copies.push({ group: index, from: block, to: copy });
          to.ids.push(copy);
        }
      }
    }
    return child;
  }

  /** Frees the blocks that no query at `position` or later can see. */
  slide(position: number): void {
    for (const [index, { group, pool }] of this.#memory.entries()) {
      const table = this.#tables[index];
      if (!table || group.window === undefined) continue;
      const firstVisible = Math.max(0, position - group.window + 1);
      const end = Math.min(Math.floor(firstVisible / BLOCK_TOKENS), table.ids.length);
      for (; table.first < end; table.first += 1) {
        pool.release(table.ids[table.first] ?? 0);
        table.ids[table.first] = -1;
      }
    }
  }

  release(): void {
    for (const [index, { pool }] of this.#memory.entries()) {
      const table = this.#tables[index];
      if (!table) continue;
      for (const block of table.ids) if (block >= 0) pool.release(block);
      table.ids.length = 0;
      table.first = 0;
    }
  }
}

/**
 * The most blocks of a group that `n` answers over one prompt hold at once, where a step adds at most
 * `chunk` positions to a sequence. Full prompt blocks are shared by the answers.
 */
export function blocksNeeded(group: StateGroup, prompt: number, total: number, n: number, chunk: number): number {
  const all = Math.ceil(total / BLOCK_TOKENS);
  if (group.window !== undefined) {
    const live = Math.ceil((group.window + chunk) / BLOCK_TOKENS) + 1;
    return n * Math.min(all, live);
  }
  const shared = Math.floor(prompt / BLOCK_TOKENS);
  return shared + n * (all - shared);
}
