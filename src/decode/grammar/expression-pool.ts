/**
 * Where expressions are built. Equal ones are one object (hash-consing), so that a derivative met again is known again; on the way
 * they are simplified as far as it takes to keep derivatives finite.
 */
import { type CodePoints, invert, unite } from "../../tokenizer/code-points.ts";
import { type ByteString, utf8Bytes } from "./byte-string.ts";
import type { Common, Expression, Machine, Memo, Rule, TextSink } from "./expression.ts";
import type { Fuel } from "./fuel.ts";

const UNICODE: CodePoints = [0, 0xd800, 0xe000, 0x110000];

type Shape = Expression extends infer E ? (E extends Common ? Omit<E, keyof Common> : never) : never;

export class ExpressionPool {
  readonly fuel: Fuel;
  readonly none: Expression;
  readonly empty: Expression;
  readonly anyChar: Expression;
  /** Any well-formed text. */
  readonly anyText: Expression;
  #table = new Map<string, Expression>();
  readonly #named = new Map<string, number>();
  #ids = 0;
  #generation = 0;
  readonly #limit: number;

  /** `limit`: how many expressions are kept at a time; beyond it all memos are dropped and built again as needed. */
  constructor(fuel: Fuel, limit = 200_000) {
    this.fuel = fuel;
    this.#limit = limit;
    this.none = this.#intern("none", { kind: "none" }, false, true, true);
    this.empty = this.#intern("empty", { kind: "empty" }, true, true, true);
    this.anyChar = this.char(UNICODE);
    this.anyText = this.repeat(this.anyChar, 0, Infinity);
  }

  nextId(): number {
    return this.#ids++;
  }

  /** The same number for the same key: machines made alike share their states. */
  idOf(key: string): number {
    let id = this.#named.get(key);
    if (id === undefined) this.#named.set(key, (id = this.#ids++));
    return id;
  }

  /** The memo of an expression, fresh where it is of an older generation. */
  memo(expression: Expression): Memo {
    const { memo } = expression;
    if (memo.generation !== this.#generation) {
      memo.generation = this.#generation;
      memo.next = [];
      memo.table = undefined;
      memo.calls = undefined;
      memo.expansion = undefined;
    }
    return memo;
  }

  get generation(): number {
    return this.#generation;
  }

  /** Drops what was learnt lazily, when there is too much of it. Call it between operations, never inside one. */
  tidy(force: boolean): void {
    if (this.#table.size < this.#limit && !force) return;
    this.#generation++;
    this.#named.clear();
    this.#table = new Map();
    for (const expression of [this.none, this.empty, this.anyChar]) this.#table.set(keyOf(expression), expression);
    this.#table.set(`repeat ${this.anyChar.id} 0 Infinity`, this.anyText);
  }

  /** A code point of the set (surrogates excluded). */
  char(set: CodePoints): Expression {
    const inside = withoutSurrogates(set);
    return inside.length === 0 ? this.none : this.#char(inside, 0);
  }

  /** Offsets in `set`, written in `tail` continuation bytes. */
  tail(set: CodePoints, tail: number): Expression {
    if (set.length === 0) return this.none;
    return tail === 0 ? this.empty : this.#char(set, tail);
  }

  #char(set: CodePoints, tail: number): Expression {
    return this.#intern(`char ${tail} ${set.join(" ")}`, { kind: "char", set, tail }, false, true, true);
  }

  text(text: string): Expression {
    return this.words([utf8Bytes(text)]);
  }

  words(list: readonly ByteString[]): Expression {
    if (list.length === 0) return this.none;
    const words = list.length === 1 ? list : [...new Set(list)].sort();
    if (words.length === 1 && words[0] === "") return this.empty;
    this.fuel.spend(words.reduce((sum, word) => sum + 1 + word.length / 32, 0));
    return this.#intern(`words ${words.join("\u0100")}`, { kind: "words", words }, words[0] === "", true, true);
  }

  concat(...parts: readonly Expression[]): Expression {
    return parts.reduceRight((right, left) => this.#concat(left, right), this.empty);
  }

  #concat(left: Expression, right: Expression): Expression {
    if (right === this.empty) return left;
    // Right-nested: a long left side is taken apart from its end, without a call for each of its parts.
    const parts: Expression[] = [];
    for (; left.kind === "concat"; left = left.right) parts.push(left.left);
    return parts.reduceRight((rest, part) => this.#pair(part, rest), this.#pair(left, right));
  }

  /** `left` is no concatenation. */
  #pair(left: Expression, right: Expression): Expression {
    if (left === this.empty || right === this.none) return right;
    if (right === this.empty || left === this.none) return left;
    if (isLiteral(left)) {
      if (isLiteral(right)) {
        this.fuel.spend((left.words[0].length + right.words[0].length) / 32);
        return this.words([left.words[0] + right.words[0]]);
      }
      if (right.kind === "concat" && isLiteral(right.left)) {
        return this.#pair(this.words([left.words[0] + right.left.words[0]]), right.right);
      }
    }
    return this.#intern(
      `concat ${left.id} ${right.id}`,
      { kind: "concat", left, right },
      left.nullable && right.nullable,
      left.callFree && right.callFree,
      left.positive && right.positive,
    );
  }

  alternatives(list: readonly Expression[]): Expression {
    const members = new Set<Expression>();
    const words: ByteString[] = [];
    const chars = new Map<number, CodePoints[]>();
    const add = (one: Expression): void => {
      if (one.kind === "alternatives") one.list.forEach(add);
      else if (one.kind === "words") words.push(...one.words);
      else if (one.kind === "char") chars.set(one.tail, [...(chars.get(one.tail) ?? []), one.set]);
      else if (one !== this.none) members.add(one);
    };
    list.forEach(add);
    this.fuel.spend(members.size + words.length);
    for (const [tail, sets] of chars) members.add(this.#char(sets.length === 1 ? (sets[0] ?? []) : unite(sets), tail));
    if (words.length > 0) members.add(this.words(words));
    // All alternatives have read the same bytes, so that what is left of each is a text where one may be any text.
    if (members.has(this.anyText))
      for (const one of members) if (one !== this.anyText && one.callFree) members.delete(one);
    if (members.has(this.empty) && [...members].some((one) => one !== this.empty && one.nullable)) {
      members.delete(this.empty);
    }
    const [first, ...more] = members;
    if (first === undefined) return this.none;
    if (more.length === 0) return first;
    const sorted = [...members].sort((a, b) => a.id - b.id);
    return this.#intern(
      `alternatives ${sorted.map((one) => one.id).join(" ")}`,
      { kind: "alternatives", list: sorted },
      sorted.some((one) => one.nullable),
      sorted.every((one) => one.callFree),
      sorted.every((one) => one.positive),
    );
  }

  repeat(of: Expression, min: number, max: number): Expression {
    if (max === 0 || of === this.empty) return this.empty;
    if (of === this.none) return min === 0 ? this.empty : this.none;
    if (min === 1 && max === 1) return of;
    if (of.kind === "repeat" && of.min <= 1 && of.max === Infinity && (of.min === 0 || min <= 1)) {
      return this.repeat(of.of, of.min * min, Infinity);
    }
    const least = of.nullable ? 0 : min;
    return this.#intern(
      `repeat ${of.id} ${least} ${max}`,
      { kind: "repeat", of, min: least, max },
      least === 0,
      of.callFree,
      of.positive,
    );
  }

  optional(of: Expression): Expression {
    return this.repeat(of, 0, 1);
  }

  /** The intersection, of call-free expressions. */
  both(list: readonly Expression[]): Expression {
    const members = new Set<Expression>();
    const add = (one: Expression): void => {
      if (one.kind === "both") one.list.forEach(add);
      else if (!(one.kind === "complement" && one.of === this.none)) members.add(one);
    };
    list.forEach(add);
    this.fuel.spend(members.size);
    if (members.has(this.none)) return this.none;
    // Whatever is made of characters and isn't a complement is a text already.
    if (members.has(this.anyText) && [...members].some((one) => one !== this.anyText && one.positive)) {
      members.delete(this.anyText);
    }
    if (members.has(this.empty)) return [...members].every((one) => one.nullable) ? this.empty : this.none;
    if ([...members].some((one) => one.kind === "complement" && this.#takesAnyText(one.of))) return this.none;
    const [first, ...more] = members;
    if (first === undefined) return list[0] ?? this.anyText;
    if (more.length === 0) return first;
    const sorted = [...members].sort((a, b) => a.id - b.id);
    return this.#intern(
      `both ${sorted.map((one) => one.id).join(" ")}`,
      { kind: "both", list: sorted },
      sorted.every((one) => one.nullable),
      true,
      false,
    );
  }

  #takesAnyText(one: Expression): boolean {
    return one === this.anyText || (one.kind === "alternatives" && one.list.includes(this.anyText));
  }

  /** Every byte string that doesn't match; meant for use inside `both`. */
  complement(of: Expression): Expression {
    if (of.kind === "complement") return of.of;
    return this.#intern(`complement ${of.id}`, { kind: "complement", of }, !of.nullable, true, false);
  }

  /** a without b. */
  without(a: Expression, b: Expression): Expression {
    return b === this.none ? a : this.both([a, this.complement(b)]);
  }

  call(rule: Rule): Expression {
    return this.#intern(`call ${rule.id}`, { kind: "call", rule }, false, false, true);
  }

  machine(machine: Machine, state: string): Expression {
    return this.#intern(
      `machine ${machine.id} ${state}`,
      { kind: "machine", machine, state },
      machine.accepts(state),
      true,
      true,
    );
  }

  jsonText(content: Expression, escape: string, sink: TextSink | undefined): Expression {
    const key = `text ${content.id} ${escape} ${sink === undefined ? "" : `${sink.owner.id} ${sink.bytes}`}`;
    // With a sink, what follows the closing quote may call rules.
    return this.#intern(key, { kind: "text", content, escape, sink }, false, sink === undefined, true);
  }

  /** Not nullable; `key` names it among all lazy ones of the pool. */
  lazy(key: string, expand: () => Expression): Expression {
    return this.#intern(`lazy ${key}`, { kind: "lazy", expand }, false, false, true);
  }

  #intern(key: string, shape: Shape, nullable: boolean, callFree: boolean, positive: boolean): Expression {
    const known = this.#table.get(key);
    if (known !== undefined) return known;
    this.fuel.spend(1);
    const memo: Memo = {
      generation: this.#generation,
      partition: undefined,
      next: [],
      table: undefined,
      live: undefined,
      calls: undefined,
      expansion: undefined,
    };
    const made = { ...shape, id: this.#ids++, nullable, callFree, positive, memo } as Expression;
    this.#table.set(key, made);
    return made;
  }
}

function isLiteral(one: Expression): one is Expression & { kind: "words"; words: readonly [ByteString] } {
  return one.kind === "words" && one.words.length === 1;
}

function keyOf(expression: Expression): string {
  return expression.kind === "char" ? `char ${expression.tail} ${expression.set.join(" ")}` : expression.kind;
}

function withoutSurrogates(set: CodePoints): CodePoints {
  const touches = set.some((border, i) => i % 2 === 0 && border < 0xe000 && (set[i + 1] ?? 0) > 0xd800);
  return touches ? invert(unite([invert(set), [0xd800, 0xe000]])) : set;
}
