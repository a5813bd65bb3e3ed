/**
 * Which blocks of a group's pool are in use, and by how many: a free list and a reference count each. It knows
 * block ids only; the bytes are the backend's.
 */
import { invariant } from "../errors.ts";

export class BlockPool {
  readonly size: number;
  readonly #references: Int32Array;
  /** A stack of free ids; the lowest ids lie on top at first. */
  readonly #free: Int32Array;
  #freeCount: number;

  constructor(size: number) {
    this.size = size;
    this.#references = new Int32Array(size);
    this.#free = Int32Array.from({ length: size }, (_, i) => size - 1 - i);
    this.#freeCount = size;
  }

  get free(): number {
    return this.#freeCount;
  }

  /** Blocks that somebody holds; zero in an idle engine. */
  get used(): number {
    return this.size - this.#freeCount;
  }

  references(block: number): number {
    return this.#references[block] ?? 0;
  }

  /** A block with one reference. Callers see to it that one is free (admission reserves). */
  allocate(): number {
    invariant(this.#freeCount > 0, "a block was allocated beyond what admission reserved");
    this.#freeCount -= 1;
    const block = this.#free[this.#freeCount] ?? 0;
    this.#references[block] = 1;
    return block;
  }

  share(block: number): void {
    invariant(this.references(block) > 0, `block ${block} is shared but free`);
    this.#references[block] = this.references(block) + 1;
  }

  release(block: number): void {
    const references = this.references(block) - 1;
    invariant(references >= 0, `block ${block} is released twice`);
    this.#references[block] = references;
    if (references === 0) {
      this.#free[this.#freeCount] = block;
      this.#freeCount += 1;
    }
  }
}
