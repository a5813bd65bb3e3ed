/**
 * Partitions of the 256 bytes: two bytes of one class lead an expression to the same next expression, so that a
 * transition is computed once a class (Owens, Reppy and Turon 2009). Partitions are interned, and merged once a pair.
 */
export interface Partition {
  readonly id: number;
  /** byte → class. */
  readonly classOf: Uint8Array;
  /** class → its first byte. */
  readonly samples: readonly number[];
  /** The first two bytes of each class: enough to see whether a choice is left. */
  readonly pairs: readonly number[];
}

export class PartitionTable {
  readonly #known = new Map<string, Partition>();
  readonly #merged = new Map<number, Partition>();
  /** All bytes alike. */
  readonly whole: Partition;

  constructor() {
    this.whole = this.of(() => 0);
  }

  /** Bytes are alike where `label` gives them the same number. */
  of(label: (byte: number) => number): Partition {
    const classes = new Map<number, number>();
    const classOf = new Uint8Array(256);
    const samples: number[] = [];
    const seconds = new Map<number, number>();
    for (let byte = 0; byte < 256; byte++) {
      const value = label(byte);
      let index = classes.get(value);
      if (index === undefined) {
        index = samples.push(byte) - 1;
        classes.set(value, index);
      } else if (!seconds.has(index)) seconds.set(index, byte);
      classOf[byte] = index;
    }
    const key = String.fromCharCode(...classOf);
    let partition = this.#known.get(key);
    if (partition === undefined) {
      partition = { id: this.#known.size, classOf, samples, pairs: [...samples, ...seconds.values()] };
      this.#known.set(key, partition);
    }
    return partition;
  }

  /** The coarsest partition that is finer than both. */
  merge(a: Partition, b: Partition): Partition {
    if (a === b || b === this.whole) return a;
    if (a === this.whole) return b;
    const key = a.id < b.id ? a.id * 0x4000000 + b.id : b.id * 0x4000000 + a.id;
    let partition = this.#merged.get(key);
    if (partition === undefined) {
      partition = this.of((byte) => (a.classOf[byte] ?? 0) * 256 + (b.classOf[byte] ?? 0));
      this.#merged.set(key, partition);
    }
    return partition;
  }
}
