/**
 * How the members of an object shape are written: by default its names in order, then other keys; or in any order. A member is
 * offered only if the object can be completed after it. A state is the names gone by and the other keys used, so that no key
 * comes twice however it is spelled.
 */
import { type ByteString, toText, utf8Bytes } from "../byte-string.ts";
import type { Derivatives } from "../derivative.ts";
import type { Expression, TextSink } from "../expression.ts";
import type { ExpressionPool } from "../expression-pool.ts";
import type { Notation } from "./notation.ts";
import type { WrittenObject } from "./shape-algebra.ts";
import type { KeyClass, Term } from "./shapes.ts";

/** What this file needs of writer.ts. */
export interface ValueWriter {
  readonly algebra: {
    readonly builder: { readonly pool: ExpressionPool; readonly derivatives: Derivatives };
    readonly shapes: { restTerm(rest: readonly KeyClass[], name: string): Term };
  };
  readonly anyOrder: boolean;
  value(term: Term): Expression;
}

interface ObjectState {
  /** Names that are no longer offered: all before an index, or a set. */
  readonly from: number;
  readonly written: readonly number[];
  /** Members so far. */
  readonly count: number;
  /** Other keys so far; undefined before the first. */
  readonly others: OtherKeys | undefined;
}

interface OtherKeys {
  readonly id: number;
  readonly keys: readonly ByteString[];
}

/** Keys beyond the schema's names in one object, at most: each is remembered. */
const MAX_OTHERS = 1024;

export class ObjectWriter {
  readonly #writer: ValueWriter;
  readonly #shape: WrittenObject;
  readonly #notation: Notation;
  readonly #names: readonly (readonly [name: string, term: Term])[];
  /** How many names from an index on are required. */
  readonly #requiredFrom: readonly number[];
  /** What an other key may not be. */
  readonly #ownNames: readonly ByteString[];
  readonly #otherKeys: Expression;
  readonly #id: number;

  constructor(writer: ValueWriter, shape: WrittenObject, notation: Notation) {
    const { pool } = writer.algebra.builder;
    this.#writer = writer;
    // What a notation can't write is as good as forbidden.
    this.#shape = notation.takesOthers ? shape : { ...shape, rest: [] };
    this.#notation = notation;
    this.#names = [...shape.names];
    const requiredFrom = [0];
    for (const [name] of this.#names.toReversed()) {
      requiredFrom.unshift((requiredFrom[0] ?? 0) + (shape.required.has(name) ? 1 : 0));
    }
    this.#requiredFrom = requiredFrom;
    this.#ownNames = [...shape.names.keys(), ...shape.forbidden].map(utf8Bytes);
    this.#otherKeys = pool.alternatives(this.#shape.rest.map(({ keys }) => keys));
    this.#id = pool.nextId();
  }

  write(): Expression {
    const { pool } = this.#writer.algebra.builder;
    return pool.concat(this.#notation.open, this.#after({ from: 0, written: [], count: 0, others: undefined }));
  }

  #after(state: ObjectState): Expression {
    const { pool } = this.#writer.algebra.builder;
    const { close } = this.#notation;
    const key = `${this.#id} ${state.from} ${state.written.join(".")} ${state.count} ${state.others?.id}`;
    const rest = pool.lazy(key, () => this.#members(state));
    // What is lazy is never empty: an end that is must be said beside it.
    return close === pool.empty && this.#mayClose(state) ? pool.alternatives([close, rest]) : rest;
  }

  #mayClose(state: ObjectState): boolean {
    return this.#requiredLeft(state) === 0 && state.count >= this.#shape.min;
  }

  /** The next member, or the end. */
  #members(state: ObjectState): Expression {
    const { pool } = this.#writer.algebra.builder;
    const separator = state.count === 0 ? pool.empty : this.#notation.comma;
    const members = this.#offered(state).map((index) => {
      const [name = "", term] = this.#names[index] ?? [];
      const next = this.#afterName(state, index);
      return term === undefined || !this.#canComplete(next)
        ? pool.none
        : pool.concat(separator, this.#name(name, term), this.#member(term, next));
    });
    return pool.alternatives([
      this.#mayClose(state) && this.#notation.close !== pool.empty ? this.#notation.close : pool.none,
      ...members,
      pool.concat(separator, this.#otherMember(state)),
    ]);
  }

  #name(name: string, term: Term): Expression {
    const { pool } = this.#writer.algebra.builder;
    const { name: write, colon } = this.#notation;
    return write?.(name, term) ?? pool.concat(pool.text(JSON.stringify(name)), colon);
  }

  /** A value and what follows it. */
  #member(term: Term, next: ObjectState): Expression {
    const { pool } = this.#writer.algebra.builder;
    const value = this.#notation.member?.(term) ?? this.#writer.value(term);
    return pool.concat(value, this.#notation.after, this.#after(next));
  }

  /** Indices of names that may come now. */
  #offered(state: ObjectState): readonly number[] {
    if (this.#writer.anyOrder) return this.#names.flatMap((_, i) => (state.written.includes(i) ? [] : [i]));
    if (state.others !== undefined) return [];
    const offered: number[] = [];
    for (let i = state.from; i < this.#names.length; i++) {
      offered.push(i);
      if (this.#shape.required.has(this.#names[i]?.[0] ?? "")) break;
    }
    return offered;
  }

  #afterName(state: ObjectState, index: number): ObjectState {
    const count = state.count + 1;
    if (!this.#writer.anyOrder) return { ...state, from: index + 1, count: this.#counted(count) };
    return { ...state, written: [...state.written, index].sort((a, b) => a - b), count: this.#counted(count) };
  }

  /** Counting goes no further than it matters. */
  #counted(count: number): number {
    return this.#shape.max < Infinity ? count : Math.min(count, Math.max(this.#shape.min, 1));
  }

  #requiredLeft(state: ObjectState): number {
    if (!this.#writer.anyOrder) return state.others === undefined ? (this.#requiredFrom[state.from] ?? 0) : 0;
    return this.#names.filter(([name], i) => this.#shape.required.has(name) && !state.written.includes(i)).length;
  }

  /** Enough members to come, and not too many. */
  #canComplete(state: ObjectState): boolean {
    const { min, max, rest } = this.#shape;
    const required = this.#requiredLeft(state);
    const names = this.#writer.anyOrder
      ? this.#names.length - state.written.length
      : state.others === undefined
        ? this.#names.length - state.from
        : 0;
    const most = rest.length > 0 ? Infinity : names;
    return state.count + required <= max && state.count + most >= min;
  }

  /** A member whose key the schema doesn't name. */
  #otherMember(state: ObjectState): Expression {
    const { pool, derivatives } = this.#writer.algebra.builder;
    const next = { ...state, count: this.#counted(state.count + 1) };
    const used = state.others?.keys ?? [];
    if (this.#shape.rest.length === 0 || used.length >= MAX_OTHERS) return pool.none;
    if (!this.#writer.anyOrder && this.#requiredLeft(state) > 0) return pool.none;
    if (!this.#canComplete(next)) return pool.none;
    const content = pool.without(this.#otherKeys, pool.words([...this.#ownNames, ...used]));
    if (!derivatives.live(content)) return pool.none;
    const id = pool.nextId();
    const sink: TextSink = {
      bytes: "",
      owner: {
        id,
        finish: (bytes) => {
          const term = this.#writer.algebra.shapes.restTerm(this.#shape.rest, toText(bytes));
          const others = { id: pool.nextId(), keys: [...used, bytes] };
          return pool.concat(this.#notation.colon, this.#member(term, { ...next, others }));
        },
      },
    };
    return pool.concat(pool.text('"'), pool.jsonText(content, "", sink));
  }
}
