/**
 * What one sequence remembers: a block table for each state group. It grows as rows are planned, forks copy-on-write,
 * frees behind a window, gives back what a rejected draft took, and everything by one path (`release`). What must be
 * moved or copied before its next rows waits here, and holds its sources until then. The tables' order is that of the
 * groups; recurrent groups have granules in the place of blocks (granules.ts).
 */
import { BLOCK_TOKENS, type StateGroup } from "../backend/contract.ts";
import { invariant } from "../errors.ts";
import type { BlockPool, GroupMemory } from "./block-pool.ts";
import { Granules, GRANULES_PER_SEQUENCE } from "./granules.ts";
import { granulesOf, type PrefixHit } from "./prefix-tree.ts";

/** A block of a pool. */
export interface HeldBlock {
  readonly pool: BlockPool;
  readonly block: number;
}

/** (group, from, to). */
export type BlockCopy = readonly [group: number, from: number, to: number];
/** (group, from block, from offset, to block, to offset). */
export type SlotMove = readonly [group: number, block: number, offset: number, toBlock: number, toOffset: number];

/** What a step must do to memory before a sequence's rows, and the blocks that it reads: held until it is done. */
export interface MemoryOps {
  readonly copies: readonly BlockCopy[];
  readonly moves: readonly SlotMove[];
  readonly held: readonly HeldBlock[];
}

const NOTHING: MemoryOps = { copies: [], moves: [], held: [] };

/** A block table: entry p / 16 holds slot p; −1 where freed. */
class BlockTable {
  readonly ids: number[] = [];
  /** Entries before this one are freed. */
  first = 0;
}

export class SequenceState {
  /** The block ids of each group, by slot / 16; of a recurrent one its granules, by border − 1. */
  readonly tables: readonly (readonly number[])[];
  readonly #memory: readonly GroupMemory[];
  /** Of recurrent groups they stay empty. */
  readonly #tables: readonly BlockTable[];
  readonly #granules: Granules;
  #pending: MemoryOps = NOTHING;

  constructor(memory: readonly GroupMemory[]) {
    this.#memory = memory;
    this.#tables = memory.map(() => new BlockTable());
    this.#granules = new Granules(memory);
    this.tables = this.#tables.map(({ ids }, g) =>
      memory[g]?.group.kind === "recurrent" ? this.#granules.idsOf(g) : ids,
    );
  }

  /** Memory that begins with a prefix of the tree. Undefined where there is no room for the copy of its last block. */
  static withPrefix(memory: readonly GroupMemory[], { length, full, tail }: PrefixHit): SequenceState | undefined {
    const state = new SequenceState(memory);
    const held: (HeldBlock & { readonly group: number })[] = [];
    state.#granules.start(...granulesOf(memory, length, full));
    for (const [g, { group, pool }] of memory.entries()) {
      if (group.kind === "recurrent") continue;
      const table = state.#table(g);
      table.first = firstEntry(group, length);
      for (const [entry, { blocks }] of full.entries()) {
        const block = entry < table.first ? -1 : (blocks[g] ?? -1);
        if (block >= 0) pool.share(block);
        table.ids.push(block);
      }
      if (tail === undefined) continue;
      const block = tail.blocks[g] ?? -1;
      pool.share(block);
      held.push({ pool, block, group: g });
    }
    const fits = held.every(({ pool }) => pool.free > 0);
    if (!fits) {
      releaseBlocks(held);
      state.release();
      return undefined;
    }
    const copies = held.map(({ pool, block, group }): BlockCopy => {
      const copy = pool.allocate();
      state.#table(group).ids.push(copy);
      return [group, block, copy];
    });
    if (copies.length > 0) state.#pending = { copies, moves: [], held };
    return state;
  }

  /** The border that the next step's scans go on from. */
  get border(): number {
    return this.#granules.border;
  }

  /**
   * Makes room for the slots 0 … length − 1, of which those before `known` will be computed in their places for good;
   * false where a pool has too few blocks.
   */
  grow(length: number, known: number = length): boolean {
    const entries = Math.ceil(length / BLOCK_TOKENS);
    const fits = this.#memory.every(
      ({ group: { kind }, pool }, g) => kind === "recurrent" || entries - this.#table(g).ids.length <= pool.free,
    );
    if (!fits || !this.#granules.grow(length, known)) return false;
    for (const [g, { group, pool }] of this.#memory.entries()) {
      if (group.kind === "recurrent") continue;
      const { ids } = this.#table(g);
      while (ids.length < entries) ids.push(pool.allocate());
    }
    return true;
  }

  /** A step was planned that computes all places before `known`; one has done so; what was planned never ran. */
  plan(known: number): void {
    this.#granules.plan(known);
  }

  confirm(known: number): void {
    this.#granules.confirm(known);
  }

  rewind(): void {
    this.#granules.rewind();
  }

  /** What the prefix tree may keep of entry `entry`, which a finished step has written: a block of each group, or −1. */
  blocksAt(entry: number): number[] {
    return this.#memory.map(({ group }, g) =>
      group.kind === "recurrent"
        ? this.#granules.blockAt(g, (entry + 1) * BLOCK_TOKENS)
        : (this.#table(g).ids[entry] ?? -1),
    );
  }

  /**
   * A second sequence with the same first `length` positions; undefined where a pool has no block left. Full blocks are
   * shared; a last block that is partly filled is copied before the child's first rows.
   */
  fork(length: number): SequenceState | undefined {
    invariant(this.#pending === NOTHING, "a sequence is forked before its moves are done");
    const full = Math.floor(length / BLOCK_TOKENS);
    const partial = length % BLOCK_TOKENS > 0;
    const isFull = ({ group: { kind }, pool }: GroupMemory): boolean => kind !== "recurrent" && pool.free === 0;
    if (partial && this.#memory.some(isFull)) return undefined;
    const child = new SequenceState(this.#memory);
    child.#granules.follow(this.#granules, length);
    const copies: BlockCopy[] = [];
    const held: HeldBlock[] = [];
    for (const [g, { group, pool }] of this.#memory.entries()) {
      if (group.kind === "recurrent") continue;
      const from = this.#table(g);
      const to = child.#table(g);
      to.first = from.first;
      for (const block of from.ids.slice(0, full)) {
        if (block >= 0) pool.share(block);
        to.ids.push(block);
      }
      const last = from.ids[full];
      if (!partial) continue;
      invariant(last !== undefined && last >= 0, `a fork at ${length}, where nothing is`);
      const copy = pool.allocate();
      pool.share(last);
      copies.push([g, last, copy]);
      held.push({ pool, block: last });
      to.ids.push(copy);
    }
    child.#pending = { copies, moves: [], held };
    return child;
  }

  /** Keeps the slots 0 … length − 1, after what lies in the slots `from` has been moved to the slots before `length`. */
  accept(from: readonly number[], length: number): void {
    invariant(this.#pending === NOTHING, "a draft is accepted before the last one's moves are done");
    const moves: SlotMove[] = [];
    this.#granules.truncate(length);
    for (const [g, { group }] of this.#memory.entries()) {
      if (group.kind === "recurrent") continue;
      from.forEach((slot, i) => {
        const to = length - from.length + i;
        moves.push([g, this.#block(g, slot), slot % BLOCK_TOKENS, this.#block(g, to), to % BLOCK_TOKENS]);
      });
    }
    const entries = Math.ceil(length / BLOCK_TOKENS);
    const sources = new Set(moves.map(([g, block]) => `${g} ${block}`));
    const held: HeldBlock[] = [];
    for (const [g, { pool }] of this.#memory.entries()) {
      for (const block of this.#table(g).ids.splice(entries)) {
        if (sources.has(`${g} ${block}`)) held.push({ pool, block });
        else if (block >= 0) pool.release(block);
      }
    }
    if (moves.length > 0) this.#pending = { copies: [], moves, held };
  }

  /** From now on an entry is `shared`, which holds the same; the caller releases its own block when no step names it. */
  swap(group: number, entry: number, shared: number): void {
    if (this.#memory[group]?.group.kind === "recurrent") {
      this.#granules.swap(group, (entry + 1) * BLOCK_TOKENS, shared);
      return;
    }
    const { ids } = this.#table(group);
    invariant(entry < ids.length, `entry ${entry} of group ${group} is beyond its table`);
    this.#memory[group]?.pool.share(shared);
    ids[entry] = shared;
  }

  /** What must happen before the next rows; the caller releases what is held when that is done. */
  takeOps(): MemoryOps {
    const ops = this.#pending;
    this.#pending = NOTHING;
    return ops;
  }

  /** Gives back ops that were taken and not done. */
  restoreOps(ops: MemoryOps): void {
    if (ops.copies.length + ops.moves.length > 0) this.#pending = ops;
  }

  /** Frees the blocks that no query at `position` or later can see. */
  slide(position: number): void {
    this.#granules.slide();
    for (const [g, { group, pool }] of this.#memory.entries()) {
      if (group.window === undefined) continue;
      const table = this.#table(g);
      const end = Math.min(firstEntry(group, position), table.ids.length);
      for (; table.first < end; table.first += 1) {
        pool.release(table.ids[table.first] ?? -1);
        table.ids[table.first] = -1;
      }
    }
  }

  release(): void {
    releaseBlocks(this.takeOps().held);
    this.#granules.release();
    for (const [g, { pool }] of this.#memory.entries()) {
      const table = this.#table(g);
      for (const block of table.ids) if (block >= 0) pool.release(block);
      table.ids.length = 0;
      table.first = 0;
    }
  }

  #table(group: number): BlockTable {
    const table = this.#tables[group];
    invariant(table !== undefined, `there is no state group ${group}`);
    return table;
  }

  #block(group: number, slot: number): number {
    const block = this.#table(group).ids[Math.floor(slot / BLOCK_TOKENS)];
    invariant(block !== undefined && block >= 0, `slot ${slot} of group ${group} has no block`);
    return block;
  }
}

/** The first entry of a block table that a row at `position` sees. */
function firstEntry({ window = Infinity }: StateGroup, position: number): number {
  return Math.floor(Math.max(0, position - window + 1) / BLOCK_TOKENS);
}

export function releaseBlocks(held: readonly HeldBlock[]): void {
  for (const { pool, block } of held) pool.release(block);
}

/**
 * The most blocks of a group that `n` answers over one prompt hold at once, where at most `ahead` positions of a
 * sequence are planned beyond what is confirmed. Full prompt blocks are shared by the answers.
 */
export function blocksNeeded(group: StateGroup, prompt: number, total: number, n: number, ahead: number): number {
  if (group.kind === "recurrent") return n * GRANULES_PER_SEQUENCE;
  const all = Math.ceil(total / BLOCK_TOKENS);
  if (group.window !== undefined) {
    const live = Math.ceil((group.window + ahead) / BLOCK_TOKENS) + 1;
    return n * Math.min(all, live);
  }
  const shared = Math.floor(prompt / BLOCK_TOKENS);
  return shared + n * (all - shared);
}
