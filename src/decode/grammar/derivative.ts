/**
 * Reads expressions byte by byte: Brzozowski's derivative (1964), computed lazily, once for each expression and class of
 * bytes. `step` never leads into a dead end: where an intersection or a complement matches nothing any more, a search shows
 * it, and the step gives `none`.
 */
import type { CodePoints } from "../../tokenizer/code-points.ts";
import { has } from "../../tokenizer/code-points.ts";
import type { ByteString } from "./byte-string.ts";
import type { Expression, RuleCall } from "./expression.ts";
import type { ExpressionPool } from "./expression-pool.ts";
import { type ContentReader, stepJsonText } from "./json-text.ts";
import { type Partition, PartitionTable } from "./partition.ts";

export class Derivatives implements ContentReader {
  readonly pool: ExpressionPool;
  readonly partitions = new PartitionTable();
  /** One byte against all others. */
  readonly #single: (Partition | undefined)[] = [];
  readonly #quoted: Partition;
  readonly #hex: Partition;

  constructor(pool: ExpressionPool) {
    this.pool = pool;
    this.#quoted = this.partitions.of((byte) => (byte < 0x20 ? 0 : byte === 0x22 ? 1 : byte === 0x5c ? 2 : 3));
    this.#hex = this.partitions.of((byte) => (byte < 0x80 ? byte : 0x80));
  }

  /** What remains to be matched after a byte; `none` where nothing can be. */
  step(expression: Expression, byte: number): Expression {
    const next = this.#raw(expression, byte);
    return next.positive || this.live(next) ? next : this.pool.none;
  }

  /** `step` by byte, as far as it is known: for walks that read an expression many times. */
  table(expression: Expression): (Expression | undefined)[] {
    return (this.pool.memo(expression).table ??= Array.from({ length: 256 }, () => undefined));
  }

  /** Bytes of one class lead to the same expression. */
  partition(expression: Expression): Partition {
    return (expression.memo.partition ??= this.#partition(expression));
  }

  /** The rules that may be called before the next byte, and what follows each. */
  calls(expression: Expression): readonly RuleCall[] {
    if (expression.callFree) return NO_CALLS;
    return (this.pool.memo(expression).calls ??= this.#calls(expression));
  }

  /** Does a whole byte string match a call-free expression? */
  matches(expression: Expression, bytes: ByteString): boolean {
    let state = expression;
    for (let i = 0; i < bytes.length && state !== this.pool.none; i++) state = this.step(state, bytes.charCodeAt(i));
    return state.nullable;
  }

  /** Does it match anything at all? */
  live(expression: Expression): boolean {
    return (expression.memo.live ??= this.#live(expression));
  }

  /** The intersection of call-free texts; a finite set stays one. */
  intersect(a: Expression, b: Expression): Expression {
    const [words, other] = a.kind === "words" ? [a, b] : [b, a];
    if (words.kind === "words" && a !== b) {
      return this.pool.words(words.words.filter((word) => this.matches(other, word)));
    }
    return this.pool.both([a, b]);
  }

  /** The words of a small finite language in order, or undefined where there are more than `limit`. */
  enumerate(expression: Expression, limit: number): readonly ByteString[] | undefined {
    if (expression.kind === "words") return expression.words.length > limit ? undefined : expression.words;
    const words: ByteString[] = [];
    const path = new Set<Expression>();
    const visit = (state: Expression, prefix: ByteString): boolean => {
      if (path.has(state) || prefix.length > 256) return false;
      if (state.nullable && words.push(prefix) > limit) return false;
      path.add(state);
      for (let byte = 0; byte < 256; byte++) {
        const next = this.step(state, byte);
        if (next !== this.pool.none && !visit(next, prefix + String.fromCharCode(byte))) return false;
      }
      path.delete(state);
      return true;
    };
    return visit(expression, "") ? words : undefined;
  }

  #expand(e: Expression & { kind: "lazy" }): Expression {
    return (this.pool.memo(e).expansion ??= e.expand());
  }

  #raw(expression: Expression, byte: number): Expression {
    const memo = this.pool.memo(expression);
    const index = this.partition(expression).classOf[byte] ?? 0;
    return (memo.next[index] ??= this.#derive(expression, byte));
  }

  #derive(e: Expression, byte: number): Expression {
    const { pool } = this;
    switch (e.kind) {
      case "none":
      case "empty":
      case "call":
        return pool.none;
      case "char":
        return this.#deriveChar(e.set, e.tail, byte);
      case "words": {
        const first = String.fromCharCode(byte);
        return pool.words(e.words.filter((word) => word.startsWith(first)).map((word) => word.slice(1)));
      }
      case "concat": {
        const inLeft = pool.concat(this.#raw(e.left, byte), e.right);
        return e.left.nullable ? pool.alternatives([inLeft, this.#raw(e.right, byte)]) : inLeft;
      }
      case "alternatives":
        return pool.alternatives(e.list.map((one) => this.#raw(one, byte)));
      case "both":
        return pool.both(e.list.map((one) => this.#raw(one, byte)));
      case "complement":
        return pool.complement(this.#raw(e.of, byte));
      case "repeat":
        return pool.concat(this.#raw(e.of, byte), pool.repeat(e.of, Math.max(e.min - 1, 0), e.max - 1));
      case "machine": {
        const state = e.machine.step(e.state, byte);
        return state === undefined ? pool.none : pool.machine(e.machine, state);
      }
      case "text":
        return stepJsonText(this, e, byte);
      case "lazy":
        return this.#raw(this.#expand(e), byte);
      default:
        return e satisfies never;
    }
  }

  #deriveChar(set: CodePoints, tail: number, byte: number): Expression {
    const { pool } = this;
    if (tail > 0) {
      const size = 64 ** (tail - 1);
      const from = (byte & 0x3f) * size;
      return (byte & 0xc0) === 0x80 ? pool.tail(cut(set, from, from + size, from), tail - 1) : pool.none;
    }
    if (byte < 0x80) return has(set, byte) ? pool.empty : pool.none;
    if (byte >= 0xc2 && byte <= 0xdf) {
      const base = (byte & 0x1f) << 6;
      return pool.tail(cut(set, base, base + 0x40, base), 1);
    }
    if (byte >= 0xe0 && byte <= 0xef) {
      const base = (byte & 0x0f) << 12;
      return pool.tail(cut(set, Math.max(base, 0x800), base + 0x1000, base), 2);
    }
    if (byte >= 0xf0 && byte <= 0xf4) {
      const base = (byte & 0x07) << 18;
      return pool.tail(cut(set, Math.max(base, 0x10000), base + 0x40000, base), 3);
    }
    return pool.none;
  }

  #partition(e: Expression): Partition {
    const { partitions } = this;
    switch (e.kind) {
      case "none":
      case "empty":
      case "call":
        return partitions.whole;
      case "char":
        return this.#charPartition(e);
      case "words": {
        const firsts = new Set(e.words.map((word) => word.charCodeAt(0)));
        const [only = 0] = firsts;
        if (firsts.size === 1) return (this.#single[only] ??= partitions.of((byte) => (byte === only ? 1 : 0)));
        return partitions.of((byte) => (firsts.has(byte) ? byte : -1));
      }
      case "concat":
        return e.left.nullable
          ? partitions.merge(this.partition(e.left), this.partition(e.right))
          : this.partition(e.left);
      case "alternatives":
      case "both":
        return e.list.reduce((all, one) => partitions.merge(all, this.partition(one)), partitions.whole);
      case "complement":
      case "repeat":
        return this.partition(e.of);
      case "machine":
        return e.machine.partition;
      case "text":
        if (e.escape !== "") return this.#hex;
        // A sink notes every byte.
        if (e.sink !== undefined) return partitions.of((byte) => (byte < 0x20 ? 0 : byte));
        return partitions.merge(this.#quoted, this.partition(e.content));
      case "lazy":
        return this.partition(this.#expand(e));
      default:
        return e satisfies never;
    }
  }

  /** Bytes that begin (or continue) characters alike. */
  #charPartition(e: Expression & { kind: "char" }): Partition {
    return this.partitions.of((byte) => this.#deriveChar(e.set, e.tail, byte).id);
  }

  #calls(e: Expression): readonly RuleCall[] {
    const { pool } = this;
    switch (e.kind) {
      case "call":
        return [{ rule: e.rule, after: pool.empty }];
      case "concat": {
        const inLeft = this.calls(e.left).map(({ rule, after }) => ({ rule, after: pool.concat(after, e.right) }));
        return e.left.nullable ? [...inLeft, ...this.calls(e.right)] : inLeft;
      }
      case "alternatives":
        return e.list.flatMap((one) => this.calls(one));
      case "repeat": {
        const rest = pool.repeat(e.of, Math.max(e.min - 1, 0), e.max - 1);
        return this.calls(e.of).map(({ rule, after }) => ({ rule, after: pool.concat(after, rest) }));
      }
      case "lazy":
        return this.calls(this.#expand(e));
      case "none":
      case "empty":
      case "char":
      case "words":
      case "both":
      case "complement":
      case "machine":
      case "text":
        return NO_CALLS;
      default:
        return e satisfies never;
    }
  }

  #live(e: Expression): boolean {
    if (e === this.pool.none) return false;
    if (e.positive || e.nullable) return true;
    if (e.kind === "concat") return this.live(e.left) && this.live(e.right);
    if (e.kind === "alternatives") return e.list.some((one) => this.live(one));
    if (e.kind === "repeat") return e.min === 0 || this.live(e.of);
    return this.#search(e);
  }

  /** Looks for a string that matches, breadth first. */
  #search(start: Expression): boolean {
    const from = new Map<Expression, Expression | undefined>([[start, undefined]]);
    for (const state of from.keys()) {
      if (state.nullable || state.memo.live === true || (state.positive && state !== this.pool.none)) {
        for (let at: Expression | undefined = state; at !== undefined; at = from.get(at)) at.memo.live = true;
        return true;
      }
      if (state === this.pool.none || state.memo.live === false) continue;
      this.pool.fuel.spend(10);
      for (const byte of this.partition(state).samples) {
        const next = this.#raw(state, byte);
        if (!from.has(next)) from.set(next, state);
      }
    }
    for (const state of from.keys()) state.memo.live = false;
    return false;
  }
}

const NO_CALLS: readonly RuleCall[] = [];

/** The part of a set from `from` up to before `to`, less `base`. */
function cut(set: CodePoints, from: number, to: number, base: number): CodePoints {
  const out: number[] = [];
  for (let i = 0; i < set.length; i += 2) {
    const first = Math.max(set[i] ?? 0, from);
    const end = Math.min(set[i + 1] ?? 0, to);
    if (first < end) out.push(first - base, end - base);
  }
  return out;
}
