/**
 * How an array shape is written, item by item: which schemas the next item may have and whether the array may close, such that
 * the rest can always be completed. `contains` counts matches; `uniqueItems` notes the values used, which must be from a finite
 * set.
 */
import { UnsupportedGrammarError } from "../../../errors.ts";
import { type ArrayShape, type Contains, itemAt, type Term } from "./shapes.ts";
import type { Terms } from "./terms.ts";

/** What this file needs of algebra.ts. */
export interface TermReader {
  readonly terms: Terms;
  isEmpty(term: Term): boolean;
  finiteValues(term: Term, limit: number): readonly string[] | undefined;
}

export interface ArrayState {
  readonly count: number;
  /** Matches so far, one number a `contains`. */
  readonly matches: readonly number[];
  /** Values so far, sorted, where they must differ. */
  readonly used: readonly string[];
}

export interface ArrayMove {
  /** The item: a schema, or one of some JSON texts. */
  readonly item: Term | readonly string[];
  readonly next: ArrayState;
}

/** Values that a set of unique items may have, and states that are searched for a way to complete. */
const MAX_VALUES = 64;
const MAX_STATES = 20_000;
const MAX_CONTAINS = 3;

export class ArrayStates {
  readonly start: ArrayState;
  readonly #shape: ArrayShape;
  readonly #reader: TermReader;
  /** Items from here on are alike, and counting goes no further where there is no maximum. */
  readonly #cap: number;
  readonly #max: number;
  readonly #unique: boolean;
  readonly #live = new Map<string, boolean>();

  constructor(shape: ArrayShape, reader: TermReader) {
    this.#reader = reader;
    this.#unique = shape.unique && shape.max > 1;
    this.#shape = { ...shape, contains: shape.contains.filter((one) => one.min > 0 || one.max < Infinity) };
    const { prefix, min, contains } = this.#shape;
    if (contains.length > MAX_CONTAINS) this.#refuse("contains", `more than ${MAX_CONTAINS} of it in one array`);
    this.#max = this.#longest();
    this.#cap = this.#max < Infinity ? this.#max : Math.max(prefix.length, min, ...contains.map((one) => one.from));
    this.start = { count: 0, matches: contains.map(() => 0), used: [] };
  }

  /** Is there any such array? */
  satisfiable(): boolean {
    return this.#shape.min <= this.#max && this.#isLive(this.start);
  }

  mayClose(state: ArrayState): boolean {
    return (
      state.count >= this.#shape.min &&
      this.#shape.contains.every(({ min, max }, i) => {
        const matches = state.matches[i] ?? 0;
        return matches >= min && matches <= max;
      })
    );
  }

  /** The next items from which the array can be completed. */
  moves(state: ArrayState): readonly ArrayMove[] {
    return this.#moves(state).filter((move) => this.#isLive(move.next));
  }

  keyOf({ count, matches, used }: ArrayState): string {
    return `${count} ${matches.join(" ")} ${used.join(",")}`;
  }

  /** Every schema that an item may be asked to match. Refuses unique items that aren't from a finite set. */
  itemTerms(): readonly Term[] {
    const terms: Term[] = [];
    const { prefix, contains } = this.#shape;
    const last = Math.max(prefix.length, ...contains.map((one) => one.from));
    for (let i = 0; i <= Math.min(last, this.#max - 1); i++) {
      if (this.#unique) this.#unusedValues({ ...this.start, count: i });
      else terms.push(...this.#items(i, this.start).map((item) => item.term));
    }
    return terms;
  }

  /** `max`, or where no further item can stand. */
  #longest(): number {
    const { prefix, rest, max } = this.#shape;
    for (let i = 0; i < Math.min(prefix.length, max); i++) {
      if (this.#reader.isEmpty(itemAt(this.#shape, i))) return i;
    }
    return max > prefix.length && this.#reader.isEmpty(rest) ? prefix.length : max;
  }

  #moves(state: ArrayState): readonly ArrayMove[] {
    if (state.count >= this.#max) return [];
    const count = this.#max === Infinity ? Math.min(state.count + 1, this.#cap) : state.count + 1;
    if (this.#unique) {
      return this.#unusedValues(state).map((value) => ({
        item: [value],
        next: { ...state, count, used: [...state.used, value].sort() },
      }));
    }
    return this.#items(state.count, state).map(({ term, matches }) => ({
      item: term,
      next: { ...state, count, matches },
    }));
  }

  /** What the item at an index may be, by which `contains` it is counted for. */
  #items(index: number, state: ArrayState): readonly { term: Term; matches: readonly number[] }[] {
    const { terms } = this.#reader;
    let items: { term: Term; matches: readonly number[] }[] = [
      { term: itemAt(this.#shape, index), matches: state.matches },
    ];
    this.#shape.contains.forEach((one, i) => {
      if (index < one.from) return;
      items = items.flatMap(({ term, matches }) => {
        const before = matches[i] ?? 0;
        // Where there is no maximum, a match may go uncounted.
        const without = { term: one.max === Infinity ? term : terms.all(term, terms.not(one.term)), matches };
        if (!mayCount(one, before)) return [without];
        return [{ term: terms.all(term, one.term), matches: matches.with(i, before + 1) }, without];
      });
    });
    return items.filter(({ term }) => !this.#reader.isEmpty(term));
  }

  #unusedValues(state: ArrayState): readonly string[] {
    if (this.#shape.contains.length > 0) this.#refuse("uniqueItems", "beside contains");
    const values = this.#reader.finiteValues(itemAt(this.#shape, state.count), MAX_VALUES);
    if (values === undefined)
      return this.#refuse("uniqueItems", `of items with more than ${MAX_VALUES} possible values`);
    return values.filter((value) => !state.used.includes(value));
  }

  #isLive(state: ArrayState): boolean {
    if (this.#unique && this.#shape.prefix.length === 0) {
      return state.count >= this.#shape.min || this.#unusedValues(state).length + state.count >= this.#shape.min;
    }
    if (this.#shape.contains.length === 0 && !this.#unique) return true;
    return this.#search(state);
  }

  /** Looks for a state that may close; remembers the answer for what it passed. */
  #search(start: ArrayState): boolean {
    const from = new Map<string, string | undefined>([[this.keyOf(start), undefined]]);
    const queue = [start];
    for (const state of queue) {
      const key = this.keyOf(state);
      if (this.mayClose(state) || this.#live.get(key) === true) {
        for (let at: string | undefined = key; at !== undefined; at = from.get(at)) this.#live.set(at, true);
        return true;
      }
      if (this.#live.get(key) === false) continue;
      for (const { next } of this.#moves(state)) {
        const nextKey = this.keyOf(next);
        if (from.has(nextKey)) continue;
        from.set(nextKey, key);
        queue.push(next);
      }
      if (queue.length > MAX_STATES) this.#refuse(this.#unique ? "uniqueItems" : "contains", "with so many items");
    }
    for (const key of from.keys()) this.#live.set(key, false);
    return false;
  }

  #refuse(keyword: string, what: string): never {
    throw new UnsupportedGrammarError(`"${keyword}" ${what} can't be enforced`, keyword, "");
  }
}

function mayCount({ min, max }: Contains, matches: number): boolean {
  return max === Infinity ? matches < min : matches < max;
}
