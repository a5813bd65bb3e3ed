/**
 * The ids of words met before, found by the word's code units in the text itself: no string is cut out, hashed or
 * allocated for a word that is known. Bounded: when full it starts anew.
 */

const WORDS = 1 << 15;
const SLOTS = WORDS * 2;
const UNITS = WORDS * 12;
/** An entry is: hash, first unit, units, first id, ids. */
const ENTRY = 5;

export class WordCache {
  /** Longer words are not kept. */
  static readonly maxLength = 64;
  /** Entry number + 1, or 0. */
  readonly #slots = new Int32Array(SLOTS);
  readonly #entries = new Int32Array(WORDS * ENTRY);
  readonly #units = new Uint16Array(UNITS);
  readonly #ids = new Int32Array(UNITS);
  #count = 0;
  #unitCount = 0;
  #idCount = 0;
  #hash = 0;

  /** The entry of `text[start, end)`, or −1. */
  find(text: string, start: number, end: number): number {
    let hash = end - start;
    for (let at = start; at < end; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
    hash ^= hash >>> 13;
    this.#hash = hash;
    for (let slot = hash & (SLOTS - 1); ; slot = (slot + 1) & (SLOTS - 1)) {
      const entry = ((this.#slots[slot] ?? 0) - 1) * ENTRY;
      if (entry < 0) return -1;
      if (this.#entries[entry] === hash && this.#same(entry, text, start, end)) return entry;
    }
  }

  firstId(entry: number): number {
    return this.#entries[entry + 3] ?? 0;
  }

  idCount(entry: number): number {
    return this.#entries[entry + 4] ?? 0;
  }

  id(index: number): number {
    return this.#ids[index] ?? 0;
  }

  /** Remembers a word that `find` didn't find; `hash` is the `lastHash` of that search. */
  add(hash: number, text: string, start: number, end: number, ids: Int32Array): void {
    if (ids.length > UNITS / 8) return;
    if (this.#count === WORDS || this.#unitCount + end - start > UNITS || this.#idCount + ids.length > UNITS) {
      this.#slots.fill(0);
      this.#count = this.#unitCount = this.#idCount = 0;
    }
    const entry = this.#count++ * ENTRY;
    this.#entries[entry] = hash;
    this.#entries[entry + 1] = this.#unitCount;
    this.#entries[entry + 2] = end - start;
    this.#entries[entry + 3] = this.#idCount;
    this.#entries[entry + 4] = ids.length;
    for (let at = start; at < end; at++) this.#units[this.#unitCount++] = text.charCodeAt(at);
    this.#ids.set(ids, this.#idCount);
    this.#idCount += ids.length;
    let slot = hash & (SLOTS - 1);
    while (this.#slots[slot] !== 0) slot = (slot + 1) & (SLOTS - 1);
    this.#slots[slot] = this.#count;
  }

  /** The hash of the word that `find` looked for last. */
  get lastHash(): number {
    return this.#hash;
  }

  #same(entry: number, text: string, start: number, end: number): boolean {
    if (this.#entries[entry + 2] !== end - start) return false;
    const first = this.#entries[entry + 1] ?? 0;
    for (let i = 0; i < end - start; i++) if (this.#units[first + i] !== text.charCodeAt(start + i)) return false;
    return true;
  }
}
