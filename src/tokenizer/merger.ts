/**
 * Byte-pair merging of one word: symbols in, tokens out. Again and again the pair of the lowest rank merges, the
 * leftmost of equals. Short words look for it by scanning; long ones keep the pairs in a heap over a linked list,
 * so that a word of n symbols takes O(n log n).
 */
import type { MergeTable } from "./merge-table.ts";

/** Up to this many symbols scanning beats the heap. */
const SCAN_LIMIT = 24;
/** A heap key is rank × 2³¹ + position: one float64 compare orders both. */
const POSITIONS = 2 ** 31;
/** The rank of a pair that doesn't merge. */
const NEVER = 2 ** 31 - 1;

export class Merger {
  readonly #table: MergeTable;
  /** Rank and result of the pair that begins at a symbol of a short word. */
  readonly #ranks = new Int32Array(SCAN_LIMIT);
  readonly #results = new Int32Array(SCAN_LIMIT);

  constructor(table: MergeTable) {
    this.#table = table;
  }

  /** Merges `symbols[0, count)` in place and returns how many are left. */
  merge(symbols: Int32Array, count: number): number {
    return count <= SCAN_LIMIT ? this.#mergeByScan(symbols, count) : mergeByHeap(symbols, count, this.#table);
  }

  #mergeByScan(symbols: Int32Array, count: number): number {
    const ranks = this.#ranks;
    const results = this.#results;
    let left = count;
    for (let i = 0; i + 1 < left; i++) this.#look(symbols, i);
    for (;;) {
      let best = -1;
      let bestRank = NEVER;
      for (let i = 0; i + 1 < left; i++) {
        const rank = ranks[i] ?? NEVER;
        if (rank < bestRank) {
          bestRank = rank;
          best = i;
        }
      }
      if (best < 0) return left;
      symbols[best] = results[best] ?? 0;
      for (let i = best + 1; i + 1 < left; i++) {
        symbols[i] = symbols[i + 1] ?? 0;
        ranks[i] = ranks[i + 1] ?? NEVER;
        results[i] = results[i + 1] ?? -1;
      }
      left--;
      if (best > 0) this.#look(symbols, best - 1);
      if (best + 1 < left) this.#look(symbols, best);
    }
  }

  #look(symbols: Int32Array, at: number): void {
    const place = this.#table.find(symbols[at] ?? 0, symbols[at + 1] ?? 0);
    this.#ranks[at] = place < 0 ? NEVER : this.#table.rank(place);
    this.#results[at] = place < 0 ? -1 : this.#table.result(place);
  }
}

function mergeByHeap(symbols: Int32Array, count: number, table: MergeTable): number {
  const next = new Int32Array(count);
  const previous = new Int32Array(count);
  /** Rank and result of the pair that begins at a symbol; rank −1: it doesn't merge, or the symbol is gone. */
  const ranks = new Int32Array(count).fill(-1);
  const results = new Int32Array(count);
  const heap = new KeyHeap(count);

  const look = (at: number): void => {
    const after = next[at] ?? count;
    const place = after < count ? table.find(symbols[at] ?? 0, symbols[after] ?? 0) : -1;
    if (place < 0) {
      ranks[at] = -1;
      return;
    }
    const rank = table.rank(place);
    ranks[at] = rank;
    results[at] = table.result(place);
    heap.push(rank * POSITIONS + at);
  };

  for (let i = 0; i < count; i++) {
    next[i] = i + 1;
    previous[i] = i - 1;
  }
  for (let i = 0; i < count; i++) look(i);
  for (;;) {
    const key = heap.pop();
    if (key < 0) break;
    const rank = Math.floor(key / POSITIONS);
    const at = key - rank * POSITIONS;
    if (ranks[at] !== rank) continue;
    const gone = next[at] ?? count;
    const after = next[gone] ?? count;
    symbols[at] = results[at] ?? 0;
    ranks[gone] = -1;
    next[at] = after;
    if (after < count) previous[after] = at;
    look(at);
    const before = previous[at] ?? -1;
    if (before >= 0) look(before);
  }
  let left = 0;
  for (let at = 0; at < count; at = next[at] ?? count) symbols[left++] = symbols[at] ?? 0;
  return left;
}

/** A binary min-heap of float64 keys. */
class KeyHeap {
  #keys: Float64Array;
  #size = 0;

  constructor(capacity: number) {
    this.#keys = new Float64Array(Math.max(16, capacity));
  }

  push(key: number): void {
    if (this.#size === this.#keys.length) {
      const grown = new Float64Array(this.#size * 2);
      grown.set(this.#keys);
      this.#keys = grown;
    }
    const keys = this.#keys;
    let at = this.#size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const value = keys[parent] ?? 0;
      if (value <= key) break;
      keys[at] = value;
      at = parent;
    }
    keys[at] = key;
  }

  /** The least key; −1 where none is left. */
  pop(): number {
    if (this.#size === 0) return -1;
    const keys = this.#keys;
    const top = keys[0] ?? -1;
    const size = --this.#size;
    const key = keys[size] ?? 0;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      let value = keys[child] ?? 0;
      const other = child + 1 < size ? (keys[child + 1] ?? 0) : Number.POSITIVE_INFINITY;
      if (other < value) {
        child++;
        value = other;
      }
      if (value >= key) break;
      keys[at] = value;
      at = child;
    }
    keys[at] = key;
    return top;
  }
}
