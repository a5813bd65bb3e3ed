/**
 * The values of a running chat template. Texts carry where their characters come from; everything else is plain data, so
 * that no template reaches an object of JavaScript's. Conversions here, operations in template-texts.ts and beyond.
 */
import { MarkedText, type Origin } from "../tokenizer/marked-text.ts";
import type { Meter } from "./template-meter.ts";

/** A number with a decimal point, which is shown ("2.0"); plain numbers are whole. */
export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}
/** A list or tuple. */
export class List {
  readonly items: Value[];
  constructor(items: Value[]) {
    this.items = items;
  }
}
export class Dict {
  readonly entries: Map<string | number, { readonly key: MarkedText | number; readonly value: Value }>;
  constructor(entries: Iterable<readonly [MarkedText | number, Value]>) {
    this.entries = new Map();
    for (const [key, value] of entries) this.entries.set(keyOf(key), { key, value });
  }
}
/** What an object is looked up by; texts are equal whatever their origin. */
export function keyOf(key: MarkedText | number): string | number {
  return typeof key === "number" ? key : key.value;
}
/** What `namespace()` makes: its fields can be set. */
export class Namespace {
  readonly fields = new Map<string, Value>();
}
/** A loop's own variable. */
export class Loop {
  readonly items: readonly Value[];
  index = 0;
  constructor(items: readonly Value[]) {
    this.items = items;
  }
}
export class Func {
  readonly call: (args: readonly Value[], named: ReadonlyMap<string, Value>) => Value;
  constructor(call: Func["call"]) {
    this.call = call;
  }
}

export type Value = MarkedText | number | Float | boolean | null | undefined | List | Dict | Namespace | Loop | Func;

/** A text of the template's own. */
export function own(text: string): MarkedText {
  return MarkedText.of(text, "template");
}

export function isTrue(value: Value): boolean {
  if (value instanceof MarkedText) return value.length > 0;
  if (value instanceof Float) return value.value !== 0;
  if (value instanceof List) return value.items.length > 0;
  if (value instanceof Dict) return value.entries.size > 0;
  return Boolean(value);
}

/** The number that a value counts as, or undefined. */
export function numberOf(value: Value): number | undefined {
  if (value instanceof Float) return value.value;
  if (typeof value === "boolean") return Number(value);
  return typeof value === "number" ? value : undefined;
}

/** Python's ==. */
export function equals(a: Value, b: Value, meter: Meter, depth = 0): boolean {
  meter.charge(1);
  meter.nest(depth);
  if (a instanceof MarkedText) {
    if (!(b instanceof MarkedText) || a.length !== b.length) return false;
    meter.scan(a.length);
    return a.value === b.value;
  }
  if (a instanceof List)
    return (
      b instanceof List &&
      a.items.length === b.items.length &&
      a.items.every((item, i) => equals(item, b.items[i], meter, depth + 1))
    );
  if (a instanceof Dict) {
    if (!(b instanceof Dict) || a.entries.size !== b.entries.size) return false;
    return [...a.entries].every(([key, { value }]) => {
      const other = b.entries.get(key);
      return other !== undefined && equals(value, other.value, meter, depth + 1);
    });
  }
  const number = numberOf(a);
  return number === undefined ? a === b : number === numberOf(b);
}

/** Less than zero, zero, or more, as for sorting; numbers with numbers, texts with texts. */
export function compare(a: Value, b: Value, caseSensitive: boolean, meter: Meter): number {
  meter.charge(1);
  const [left, right] = [numberOf(a), numberOf(b)];
  if (left !== undefined && right !== undefined) return left - right;
  if (!(a instanceof MarkedText && b instanceof MarkedText))
    throw new Error(`${nameOf(a)} and ${nameOf(b)} can't be compared`);
  meter.scan(a.length + b.length);
  const [first, second] = caseSensitive ? [a.value, b.value] : [a.value.toLowerCase(), b.value.toLowerCase()];
  return first < second ? -1 : first > second ? 1 : 0;
}

/** What a value is, for messages. */
export function nameOf(value: Value): string {
  if (value === undefined) return "an undefined value";
  if (value === null) return "none";
  if (value instanceof MarkedText) return "a text";
  if (value instanceof List) return "a list";
  if (value instanceof Dict) return "an object";
  if (value instanceof Namespace || value instanceof Loop) return "a namespace";
  if (value instanceof Func) return "a function";
  return typeof value === "boolean" ? "a boolean" : "a number";
}

/** A value of one word as Python writes it. */
export function wordOf(value: number | Float | boolean | null): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (!(value instanceof Float)) return String(value);
  if (Object.is(value.value, -0)) return "-0.0";
  return Number.isInteger(value.value) ? value.value.toFixed(1) : String(value.value);
}

/** JavaScript data as a template sees it; its texts, names of fields too, are of this origin. */
export function fromPlain(value: unknown, origin: Origin, meter: Meter, depth = 0): Value {
  meter.charge(1);
  meter.nest(depth);
  switch (typeof value) {
    case "string":
      return MarkedText.of(value, origin);
    case "number":
      return Number.isInteger(value) ? value : new Float(value);
    case "bigint":
      return Number(value);
    case "boolean":
    case "undefined":
      return value;
    case "function":
      return new Func((args) => {
        const plain = args.map((arg) => toPlain(arg, meter));
        const worst = args.map(originOf).reduce(worse, "template");
        return fromPlain(Reflect.apply(value, undefined, plain) ?? null, worst, meter);
      });
    case "object":
      if (value === null) return null;
      if (Array.isArray(value)) return new List(value.map((item) => fromPlain(item, origin, meter, depth + 1)));
      return new Dict(
        Object.entries(value).map(([key, item]) => [
          MarkedText.of(key, origin),
          fromPlain(item, origin, meter, depth + 1),
        ]),
      );
    default:
      throw new Error(`a template can't be given a ${typeof value}`);
  }
}

function toPlain(value: Value, meter: Meter, depth = 0): unknown {
  meter.charge(1);
  meter.nest(depth);
  if (value instanceof MarkedText || value instanceof Float) return value.value;
  if (value instanceof List) return value.items.map((item) => toPlain(item, meter, depth + 1));
  if (value instanceof Dict)
    return Object.fromEntries(
      Array.from(value.entries).map(([key, item]) => [key, toPlain(item.value, meter, depth + 1)]),
    );
  return value instanceof Namespace || value instanceof Loop || value instanceof Func ? null : value;
}

/** The least trusted origin of an argument; lists and objects count as content. */
function originOf(value: Value): Origin {
  if (value instanceof MarkedText) return value.worst();
  return value instanceof List || value instanceof Dict ? "content" : "template";
}

function worse(a: Origin, b: Origin): Origin {
  return a === "content" || b === "template" ? a : b;
}
