/**
 * What a sequence remembers of recurrent state: for some borders (every 64 places) a granule of each recurrent group, all
 * of a border together. Scans go on from the last one that is kept; a step writes those that its rows pass. One is needed
 * for each step, at the last border that its rows are sure to pass; the others are for the prefix tree, as far as there
 * is room. Inputs since a border are slots like keys and values (sequence-state.ts).
 */
import { BORDER_TOKENS } from "../backend/contract.ts";
import type { BlockPool, GroupMemory } from "./block-pool.ts";

/** The border that is read, one for each of two steps in flight, and one that gave way to the prefix tree's. */
export const GRANULES_PER_SEQUENCE = 4;
/** The part of a pool that is left to those who need a granule, not only want one. */
const SPARED = 0.25;

/** A recurrent group's pool, and by border − 1 the granules of it that a sequence holds; −1: none. */
interface Table {
  readonly group: number;
  readonly pool: BlockPool;
  readonly ids: number[];
}

export class Granules {
  readonly #tables: readonly Table[];
  /** The border that the next step goes on from; and the last one that a finished step has written. */
  #border = 0;
  #confirmed = 0;
  /** Nothing is held of the borders up to this one. */
  #gone = 0;

  constructor(memory: readonly GroupMemory[]) {
    this.#tables = memory.flatMap(({ group: { kind }, pool }, group) =>
      kind === "recurrent" ? [{ group, pool, ids: [] }] : [],
    );
  }

  /** What the next step's scans go on from (StepPlan's `borders`). */
  get border(): number {
    return this.#border;
  }

  /** The granules of a group, by border − 1. */
  idsOf(group: number): readonly number[] {
    return this.#tables.find((table) => table.group === group)?.ids ?? [];
  }

  /** A granule for the last border before place `known`, and for others before place `length` where there is room for all. */
  grow(length: number, known: number): boolean {
    if (this.#tables.length === 0) return true;
    const needed = borderOf(known);
    if (needed > this.#border && !this.#isKept(needed)) {
      if (this.#tables.some(({ pool }) => pool.free === 0)) return false;
      this.#add(needed);
    }
    for (let border = borderOf(length); border > this.#border; border--) {
      const isSpare = this.#tables.every(({ pool }) => pool.free > SPARED * pool.size);
      if (isSpare && !this.#isKept(border)) this.#add(border);
    }
    return true;
  }

  /** A step was planned whose rows pass all borders before place `known`. */
  plan(known: number): void {
    this.#border = this.#lastKept(borderOf(known));
  }

  /** A step that wrote all borders before place `known` has ended. */
  confirm(known: number): void {
    this.#confirmed = this.#lastKept(borderOf(known));
    this.#border = Math.max(this.#border, this.#confirmed);
  }

  /** Nothing is planned any more. */
  rewind(): void {
    this.#border = this.#confirmed;
  }

  /** The granules of the border behind place `end`, −1 where none is kept or none has been written yet. */
  blockAt(group: number, end: number): number {
    const border = end / BORDER_TOKENS;
    if (!Number.isInteger(border) || border > this.#confirmed) return -1;
    return this.idsOf(group)[border - 1] ?? -1;
  }

  /** From now on the granule of the border behind place `end` is `shared`, which holds the same. */
  swap(group: number, end: number, shared: number): void {
    const table = this.#tables.find((one) => one.group === group);
    if (table === undefined) return;
    table.pool.share(shared);
    table.ids[end / BORDER_TOKENS - 1] = shared;
  }

  /** Begins at a border whose granules another holds: those of the groups in their order. */
  start(border: number, granules: readonly number[]): void {
    if (border === 0) return;
    for (const [i, { pool, ids }] of this.#tables.entries()) {
      const granule = granules[i] ?? -1;
      pool.share(granule);
      while (ids.length < border - 1) ids.push(-1);
      ids.push(granule);
    }
    this.#border = this.#confirmed = border;
    this.#gone = border - 1;
  }

  /** Begins where another stands at place `length`, of which it has computed no less. */
  follow(other: Granules, length: number): void {
    const border = Math.min(other.#confirmed, other.#lastKept(borderOf(length)));
    this.start(
      border,
      other.#tables.map(({ ids }) => ids[border - 1] ?? -1),
    );
  }

  /** Lets go of those beyond place `length`. */
  truncate(length: number): void {
    const borders = borderOf(length);
    for (const { pool, ids } of this.#tables) for (const id of ids.splice(borders)) if (id >= 0) pool.release(id);
    this.rewind();
  }

  /** Lets go of those before the last one that is written. */
  slide(): void {
    const gone = this.#confirmed - 1;
    for (const { pool, ids } of this.#tables) {
      for (let i = this.#gone; i < gone; i++) {
        const id = ids[i] ?? -1;
        if (id >= 0) pool.release(id);
        ids[i] = -1;
      }
    }
    this.#gone = Math.max(this.#gone, gone);
  }

  release(): void {
    for (const { pool, ids } of this.#tables) for (const id of ids.splice(0)) if (id >= 0) pool.release(id);
    this.#border = this.#confirmed = this.#gone = 0;
  }

  #add(border: number): void {
    for (const { pool, ids } of this.#tables) {
      while (ids.length < border) ids.push(-1);
      ids[border - 1] = pool.allocate();
    }
  }

  #isKept(border: number): boolean {
    return this.#tables.every(({ ids }) => (ids[border - 1] ?? -1) >= 0);
  }

  /** The last border up to `border` that is kept; 0: none. */
  #lastKept(border: number): number {
    let last = this.#tables.length === 0 ? 0 : border;
    while (last > 0 && !this.#isKept(last)) last -= 1;
    return last;
  }
}

function borderOf(length: number): number {
  return Math.floor(length / BORDER_TOKENS);
}
