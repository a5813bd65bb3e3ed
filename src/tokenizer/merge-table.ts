/**
 * Which neighbouring symbols merge, how early, and into what: a hash table over pairs of symbol ids in typed arrays.
 * Byte-pair vocabularies list their merges; SentencePiece ones give every token a score and merge any two symbols
 * whose joined text is a token, so that their table fills as pairs are met.
 */
import { ArtifactError } from "../errors.ts";

export interface MergeTable {
  /** The place of a pair, for `rank` and `result`, until the next `find`; −1 where the two don't merge. */
  find(left: number, right: number): number;
  /** Lower merges earlier. */
  rank(place: number): number;
  result(place: number): number;
}

/**
 * `merges`: left id, right id, result id, in order of rank; of a pair given twice the later counts. Those with a result
 * in `without` are left out.
 */
export function mergeTableFromList(merges: Int32Array, without: ReadonlySet<number> = new Set()): MergeTable {
  const table = new PairMap(merges.length / 3);
  for (let i = 0; i < merges.length; i += 3) {
    const result = merges[i + 2] ?? 0;
    if (!without.has(result)) table.set(merges[i] ?? 0, merges[i + 1] ?? 0, i / 3, result);
  }
  return table;
}

/**
 * `texts` are those of all symbols (tokens first), `idOf` finds a token by its text. Equal scores have equal rank:
 * there the leftmost pair merges first.
 */
export function mergeTableFromScores(
  texts: readonly (string | undefined)[],
  idOf: (text: string) => number | undefined,
  scores: Float32Array,
): MergeTable {
  const distinct = Float32Array.from(new Set(scores)).sort().reverse();
  const rankOf = new Map<number, number>();
  distinct.forEach((score, rank) => rankOf.set(score, rank));
  let table = new PairMap(1 << 14);
  const learn = (left: number, right: number): number => {
    if (table.size > MAX_LEARNT) table = new PairMap(1 << 14);
    const result = idOf(`${texts[left] ?? ""}${texts[right] ?? ""}`);
    const rank = result === undefined ? 0 : (rankOf.get(scores[result] ?? 0) ?? 0);
    return table.set(left, right, rank, result ?? -1);
  };
  return {
    find(left, right) {
      let place = table.find(left, right);
      if (place < 0) place = learn(left, right);
      return table.result(place) < 0 ? -1 : place;
    },
    rank: (place) => table.rank(place),
    result: (place) => table.result(place),
  };
}

/** Pairs remembered of a SentencePiece vocabulary before the table starts anew. */
const MAX_LEARNT = 1 << 20;

/** Ranks must leave a heap's keys exact (merger.ts). */
const MAX_MERGES = 1 << 22;

/** Open addressing; an entry is left, right, rank, result. */
class PairMap implements MergeTable {
  #entries: Int32Array;
  #mask: number;
  size = 0;

  constructor(expected: number) {
    if (expected > MAX_MERGES)
      throw new ArtifactError(
        `the tokenizer has ${expected} merges, more than the ${MAX_MERGES} that Millrace can hold`,
      );
    let capacity = 16;
    while (capacity < expected * 1.6) capacity *= 2;
    this.#entries = new Int32Array(capacity * 4).fill(-1);
    this.#mask = capacity - 1;
  }

  find(left: number, right: number): number {
    const place = this.#place(left, right);
    return this.#entries[place] === left ? place : -1;
  }

  rank(place: number): number {
    return this.#entries[place + 2] ?? 0;
  }

  result(place: number): number {
    return this.#entries[place + 3] ?? -1;
  }

  set(left: number, right: number, rank: number, result: number): number {
    if (this.size * 8 > (this.#mask + 1) * 6) this.#grow();
    const place = this.#place(left, right);
    if (this.#entries[place] !== left) this.size++;
    this.#entries[place] = left;
    this.#entries[place + 1] = right;
    this.#entries[place + 2] = rank;
    this.#entries[place + 3] = result;
    return place;
  }

  /** Where the pair is, or the free place where it would be. */
  #place(left: number, right: number): number {
    let hash = Math.imul(left, 0x9e3779b1) ^ Math.imul(right + 0x7f4a7c15, 0x85ebca6b);
    hash ^= hash >>> 15;
    hash = Math.imul(hash, 0x2c1b3c6d);
    let slot = (hash ^ (hash >>> 13)) & this.#mask;
    for (;;) {
      const place = slot * 4;
      const known = this.#entries[place];
      if (known === -1 || (known === left && this.#entries[place + 1] === right)) return place;
      slot = (slot + 1) & this.#mask;
    }
  }

  #grow(): void {
    const old = this.#entries;
    this.#entries = new Int32Array(old.length * 2).fill(-1);
    this.#mask = old.length / 2 - 1;
    this.size = 0;
    for (let i = 0; i < old.length; i += 4) {
      if (old[i] !== -1) this.set(old[i] ?? 0, old[i + 1] ?? 0, old[i + 2] ?? 0, old[i + 3] ?? 0);
    }
  }
}
