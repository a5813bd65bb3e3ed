/**
 * A trie over small whole numbers (UTF-16 units or bytes) in typed arrays: a hash table of (node, unit) → node. It holds
 * vocabularies of some hundred thousand tokens, for which a Map at each node would take ten times the memory.
 */

export class UnitTrie {
  /** Entries of the table: parent node, unit, child node; a child of 0 is a free place. */
  #table = new Int32Array(3 * (1 << 12));
  #mask = (1 << 12) - 1;
  /** The token that ends at each node, or −1. Node 0 is the root. */
  #tokens = new Int32Array(1 << 11).fill(-1);
  #nodes = 1;

  /** Of a text given twice the later token counts. */
  add(units: ArrayLike<number>, token: number): void {
    let node = 0;
    for (let i = 0; i < units.length; i++) {
      const unit = units[i] ?? 0;
      let child = this.child(node, unit);
      if (child === 0) {
        child = this.#nodes++;
        this.#insert(node, unit, child);
        if (child === this.#tokens.length) this.#growTokens();
      }
      node = child;
    }
    this.#tokens[node] = token;
  }

  /** The node behind `unit` at `node`, or 0. */
  child(node: number, unit: number): number {
    for (let slot = hash(node, unit) & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const at = 3 * slot;
      const child = this.#table[at + 2] ?? 0;
      if (child === 0 || (this.#table[at] === node && this.#table[at + 1] === unit)) return child;
    }
  }

  /** The token whose text ends at `node`, or −1. */
  token(node: number): number {
    return this.#tokens[node] ?? -1;
  }

  #insert(node: number, unit: number, child: number): void {
    if (2 * this.#nodes > this.#mask) this.#growTable();
    let slot = hash(node, unit) & this.#mask;
    while (this.#table[3 * slot + 2] !== 0) slot = (slot + 1) & this.#mask;
    this.#table.set([node, unit, child], 3 * slot);
  }

  #growTable(): void {
    const old = this.#table;
    this.#table = new Int32Array(2 * old.length);
    this.#mask = this.#table.length / 3 - 1;
    for (let at = 0; at < old.length; at += 3) {
      const child = old[at + 2] ?? 0;
      if (child !== 0) this.#insert(old[at] ?? 0, old[at + 1] ?? 0, child);
    }
  }

  #growTokens(): void {
    const grown = new Int32Array(2 * this.#tokens.length).fill(-1);
    grown.set(this.#tokens);
    this.#tokens = grown;
  }
}

function hash(node: number, unit: number): number {
  let x = Math.imul(node, 0x9e3779b1) ^ Math.imul(unit + 1, 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d);
  return x ^ (x >>> 13);
}
