/** A growing list of token ids in one typed array. */
export class IdBuffer {
  #ids = new Int32Array(64);
  length = 0;

  push(id: number): void {
    if (this.length === this.#ids.length) this.#grow(this.length + 1);
    this.#ids[this.length++] = id;
  }

  clear(): void {
    this.length = 0;
  }

  /** The ids themselves, valid until the next `push`. */
  view(): Int32Array {
    return this.#ids.subarray(0, this.length);
  }

  last(): number | undefined {
    return this.length > 0 ? this.#ids[this.length - 1] : undefined;
  }

  /** A copy of the ids from `start` on. */
  slice(start: number): Int32Array {
    return this.#ids.slice(start, this.length);
  }

  #grow(least: number): void {
    const grown = new Int32Array(Math.max(least, this.#ids.length * 2));
    grown.set(this.#ids);
    this.#ids = grown;
  }
}
