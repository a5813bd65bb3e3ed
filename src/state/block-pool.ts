/**
 * Which blocks of a group's pool are in use, and by how many: a free list and a reference count each. The prefix tree's
 * reference is marked: a block that nobody else holds is idle, and can be had back. The pool knows block ids only; the
 * bytes are the backend's.
 */
import type { StateGroup } from "../backend/contract.ts";
import { invariant } from "../errors.ts";

/** Free; kept for later prompts alone; one sequence's; several sequences'. */
export type BlockState = "free" | "cached" | "private" | "shared";

export class BlockPool {
  readonly size: number;
  readonly #references: Int32Array;
  /** 1: the prefix tree holds it. */
  readonly #cached: Uint8Array;
  /** A stack of free ids; the lowest ids lie on top at first. */
  readonly #free: Int32Array;
  #freeCount: number;
  #idle = 0;
  /** Makes at least one idle block free; set by the prefix tree. */
  reclaim: (() => void) | undefined;

  constructor(size: number) {
    this.size = size;
    this.#references = new Int32Array(size);
    this.#cached = new Uint8Array(size);
    this.#free = Int32Array.from({ length: size }, (_, i) => size - 1 - i);
    this.#freeCount = size;
  }

  /** Blocks that can be had: free ones, and idle ones. */
  get free(): number {
    return this.#freeCount + this.#idle;
  }

  /** Blocks that only the prefix tree holds. */
  get idle(): number {
    return this.#idle;
  }

  /** Blocks that sequences hold; zero in an idle engine. */
  get used(): number {
    return this.size - this.free;
  }

  references(block: number): number {
    return this.#references[block] ?? 0;
  }

  /** What each block is for. */
  states(): BlockState[] {
    return Array.from(this.#references, (references, block) => {
      const cached = this.#cached[block] ?? 0;
      if (references === 0) return "free";
      if (references === cached) return "cached";
      return references - cached === 1 ? "private" : "shared";
    });
  }

  /** A block with one reference. Callers have looked at `free`. */
  allocate(): number {
    if (this.#freeCount === 0) this.reclaim?.();
    invariant(this.#freeCount > 0, "a block was allocated where none is free");
    this.#freeCount -= 1;
    const block = this.#free[this.#freeCount] ?? -1;
    this.#references[block] = 1;
    return block;
  }

  share(block: number): void {
    const references = this.references(block);
    invariant(references > 0, `block ${block} is shared but free`);
    if (references === 1 && this.#cached[block] === 1) this.#idle -= 1;
    this.#references[block] = references + 1;
  }

  release(block: number): void {
    const references = this.references(block) - 1;
    invariant(references >= 0, `block ${block} is released twice`);
    this.#references[block] = references;
    if (references === 1 && this.#cached[block] === 1) this.#idle += 1;
    if (references > 0) return;
    invariant(this.#cached[block] === 0, `block ${block} is released behind the prefix tree's back`);
    this.#free[this.#freeCount] = block;
    this.#freeCount += 1;
  }

  /** The prefix tree's reference, beside those that there are. */
  cache(block: number): void {
    invariant(this.#cached[block] === 0, `block ${block} is in the prefix tree already`);
    this.share(block);
    this.#cached[block] = 1;
  }

  /** Ends the prefix tree's reference. */
  uncache(block: number): void {
    invariant(this.#cached[block] === 1, `block ${block} is not in the prefix tree`);
    this.#cached[block] = 0;
    if (this.references(block) === 1) this.#idle -= 1;
    this.release(block);
  }
}

/** A group with its pool: the memory that sequences are made of. */
export interface GroupMemory {
  readonly group: StateGroup;
  readonly pool: BlockPool;
}
