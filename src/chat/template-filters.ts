/**
 * Jinja's filters and tests, as far as chat templates use them. A filter is a function of its operand and arguments; an
 * unknown one is an error, so that no template is rendered by half.
 */
import { MarkedText } from "../tokenizer/marked-text.ts";
import type { Meter } from "./template-meter.ts";
import {
  attribute,
  itemsOf,
  keysOf,
  type Method,
  type Named,
  optionalText,
  TEXT_METHODS,
  textArg,
  wholeArg,
} from "./template-methods.ts";
import { textOf, toJson } from "./template-notation.ts";
import { characters, indent, joinTexts, listOf, replace, strip } from "./template-texts.ts";
import {
  compare,
  Dict,
  equals,
  Float,
  Func,
  isTrue,
  List,
  nameOf,
  numberOf,
  own,
  type Value,
} from "./template-values.ts";

const MAX_INDENT = 64;

export type Test = (value: Value, other: Value, meter: Meter) => boolean;

export const TESTS: ReadonlyMap<string, Test> = new Map<string, Test>([
  ["boolean", (value) => typeof value === "boolean"],
  ["callable", (value) => value instanceof Func],
  ["odd", (value) => Math.abs(wholeArg(value, 0)) % 2 === 1],
  ["even", (value) => wholeArg(value, 0) % 2 === 0],
  ["false", (value) => value === false],
  ["true", (value) => value === true],
  ["none", (value) => value === null],
  ["string", (value) => value instanceof MarkedText],
  ["number", (value) => typeof value === "number" || value instanceof Float],
  ["integer", (value) => typeof value === "number"],
  ["float", (value) => value instanceof Float],
  ["iterable", (value) => value instanceof List || value instanceof MarkedText || value instanceof Dict],
  ["mapping", (value) => value instanceof Dict],
  ["sequence", (value) => value instanceof List || value instanceof Dict || value instanceof MarkedText],
  ["lower", (value, _other, meter) => isUnchanged(value, (text) => text.toLowerCase(), meter)],
  ["upper", (value, _other, meter) => isUnchanged(value, (text) => text.toUpperCase(), meter)],
  ["defined", (value) => value !== undefined],
  ["undefined", (value) => value === undefined],
  ["equalto", equals],
  ["eq", equals],
  ["in", (value, other, meter) => other instanceof List && other.items.some((item) => equals(item, value, meter))],
]);

export const FILTERS: ReadonlyMap<string, Method<Value>> = new Map<string, Method<Value>>([
  ["safe", (value) => value],
  ["string", (value, _args, _named, meter) => textOf(value, meter)],
  ["default", defaulted],
  ["d", defaulted],
  ["tojson", json],
  ["length", (value) => lengthOf(value)],
  ["count", (value) => lengthOf(value)],
  ["list", (value, _args, _named, meter) => listOf([...itemsIn(value, meter)], meter)],
  ["first", (value, _args, _named, meter) => itemsIn(value, meter)[0]],
  ["last", (value, _args, _named, meter) => itemsIn(value, meter).at(-1)],
  ["reverse", (value, _args, _named, meter) => listOf(itemsIn(value, meter).toReversed(), meter)],
  ["unique", unique],
  ["join", join],
  ["sort", sort],
  ["dictsort", dictSort],
  [
    "items",
    (value, _args, _named, meter) => (value === undefined ? listOf([], meter) : itemsOf(dictArg(value), meter)),
  ],
  ["map", map],
  ["selectattr", (value, args, _named, meter) => selectByField(value, args, true, meter)],
  ["rejectattr", (value, args, _named, meter) => selectByField(value, args, false, meter)],
  ["select", (value, args, _named, meter) => select(value, args, true, meter)],
  ["reject", (value, args, _named, meter) => select(value, args, false, meter)],
  ["int", (value, args, named) => toNumber(value, args[0] ?? named.get("default") ?? 0, true)],
  ["float", (value, args, named) => toNumber(value, args[0] ?? named.get("default") ?? new Float(0), false)],
  ["abs", (value) => (value instanceof Float ? new Float(Math.abs(value.value)) : Math.abs(wholeArg(value, 0)))],
  ["bool", (value) => isTrue(value)],
  ["trim", (value, [set], _named, meter) => strip(textOf(value, meter), optionalText(set), true, true, meter)],
  [
    "indent",
    (value, args, named, meter) => {
      const width = wholeArg(args[0] ?? named.get("width"), 4);
      if (width > MAX_INDENT) throw new Error(`it indents by ${width}, more than ${MAX_INDENT}`);
      const [first, blank] = [args[1] ?? named.get("first"), args[2] ?? named.get("blank")];
      return indent(textArg(value), width, isTrue(first), isTrue(blank), meter);
    },
  ],
  [
    "replace",
    (value, [old, replacement, count], named, meter) => {
      const limit = wholeArg(count ?? named.get("count"), -1);
      return replace(textOf(value, meter), textArg(old), textArg(replacement), limit < 0 ? Infinity : limit, meter);
    },
  ],
  ...["upper", "lower", "title", "capitalize"].map((name): [string, Method<Value>] => [
    name,
    (value, args, named, meter) => TEXT_METHODS.get(name)?.(textOf(value, meter), args, named, meter),
  ]),
]);

function isUnchanged(value: Value, change: (text: string) => string, meter: Meter): boolean {
  if (!(value instanceof MarkedText)) return false;
  meter.make(value.length);
  return value.value === change(value.value);
}

function defaulted(value: Value, args: readonly Value[], named: Named): Value {
  const missing = args[0] ?? named.get("default_value") ?? own("");
  const falseToo = isTrue(args[1] ?? named.get("boolean"));
  return value === undefined || (falseToo && !isTrue(value)) ? missing : value;
}

function json(value: Value, _args: readonly Value[], named: Named, meter: Meter): Value {
  const width = wholeArg(named.get("indent"), 0);
  if (width > MAX_INDENT) throw new Error(`it indents by ${width}, more than ${MAX_INDENT}`);
  const separators = named.get("separators");
  const [item, key] = separators instanceof List ? separators.items : [];
  return toJson(
    value,
    {
      indent: width,
      ensureAscii: isTrue(named.get("ensure_ascii")),
      sortKeys: isTrue(named.get("sort_keys")),
      ...(separators instanceof List && { separators: [textArg(item), textArg(key)] as const }),
    },
    meter,
  );
}

function lengthOf(value: Value): number {
  if (value instanceof MarkedText) return value.length;
  if (value instanceof List) return value.items.length;
  if (value instanceof Dict) return value.entries.size;
  if (value === undefined) return 0;
  throw new Error(`${nameOf(value)} has no length`);
}

/** What a loop goes through: items, an object's keys, a text's characters. */
export function itemsIn(value: Value, meter: Meter): readonly Value[] {
  if (value instanceof List) return value.items;
  if (value instanceof Dict) return keysOf(value, meter).items;
  if (value instanceof MarkedText) return characters(value, meter);
  if (value === undefined) return [];
  throw new Error(`${nameOf(value)} can't be looped over`);
}

/** As jinja2 does for the filters that pick and map: nothing of none. */
function itemsOrNone(value: Value, meter: Meter): readonly Value[] {
  return isTrue(value) ? itemsIn(value, meter) : [];
}

function dictArg(value: Value): Dict {
  if (value instanceof Dict) return value;
  throw new Error(`an object is expected, not ${nameOf(value)}`);
}

function unique(value: Value, _args: readonly Value[], _named: Named, meter: Meter): Value {
  const found: Value[] = [];
  for (const item of itemsIn(value, meter)) if (!found.some((other) => equals(other, item, meter))) found.push(item);
  return listOf(found, meter);
}

function join(value: Value, args: readonly Value[], named: Named, meter: Meter): Value {
  const separator = textArg(args[0] ?? named.get("d") ?? named.get("separator") ?? own(""));
  const field = named.get("attribute");
  const parts: MarkedText[] = [];
  for (const item of itemsIn(value, meter)) {
    meter.charge(1);
    if (parts.length > 0) parts.push(separator);
    parts.push(textOf(field === undefined ? item : path(item, field, meter), meter));
  }
  return joinTexts(parts, meter);
}

function sorted(
  items: readonly Value[],
  by: (item: Value) => Value,
  caseSensitive: boolean,
  down: boolean,
  meter: Meter,
): List {
  const keyed = items.map((item) => ({ item, key: by(item) }));
  keyed.sort((a, b) => compare(a.key, b.key, caseSensitive, meter) * (down ? -1 : 1));
  return listOf(
    keyed.map(({ item }) => item),
    meter,
  );
}

function sort(value: Value, args: readonly Value[], named: Named, meter: Meter): Value {
  const down = isTrue(args[0] ?? named.get("reverse"));
  const caseSensitive = isTrue(args[1] ?? named.get("case_sensitive"));
  const field = args[2] ?? named.get("attribute") ?? null;
  const by = (item: Value): Value => (field === null ? item : path(item, field, meter));
  return sorted(itemsIn(value, meter), by, caseSensitive, down, meter);
}

function dictSort(value: Value, args: readonly Value[], named: Named, meter: Meter): Value {
  const caseSensitive = isTrue(args[0] ?? named.get("case_sensitive"));
  const place = textArg(args[1] ?? named.get("by") ?? own("key")).value === "value" ? 1 : 0;
  const down = isTrue(args[2] ?? named.get("reverse"));
  const by = (item: Value): Value => (item instanceof List ? item.items[place] : undefined);
  return sorted(itemsOf(dictArg(value), meter).items, by, caseSensitive, down, meter);
}

/** "a.b.0" of a value. */
function path(value: Value, field: Value, meter: Meter): Value {
  const names = typeof field === "number" ? [String(field)] : textArg(field).value.split(".");
  meter.charge(names.length);
  let current = value;
  for (const name of names) {
    if (current instanceof List) current = current.items[Number(name)];
    else current = current instanceof Dict ? current.entries.get(name)?.value : attribute(current, name, meter);
  }
  return current;
}

function map(value: Value, args: readonly Value[], named: Named, meter: Meter): Value {
  const field = named.get("attribute");
  const filter = field === undefined ? FILTERS.get(textArg(args[0]).value) : undefined;
  if (field === undefined && filter === undefined) throw new Error(`the filter "map" has no attribute and no filter`);
  const mapped = itemsOrNone(value, meter).map((item) => {
    meter.charge(1);
    if (filter !== undefined) return filter(item, args.slice(1), named, meter);
    return path(item, field, meter) ?? named.get("default");
  });
  return listOf(mapped, meter);
}

function testNamed(name: Value): Test {
  if (name === undefined) return isTrue;
  const test = TESTS.get(textArg(name).value);
  if (test === undefined) throw new Error(`the test "${textArg(name).value}" is unknown`);
  return test;
}

function select(value: Value, [name, other]: readonly Value[], wanted: boolean, meter: Meter): Value {
  const test = testNamed(name);
  const found = itemsOrNone(value, meter).filter((item) => {
    meter.charge(1);
    return test(item, other, meter) === wanted;
  });
  return listOf(found, meter);
}

function selectByField(value: Value, [field, name, other]: readonly Value[], wanted: boolean, meter: Meter): Value {
  const test = testNamed(name);
  const found = itemsOrNone(value, meter).filter((item) => {
    meter.charge(1);
    return test(path(item, field, meter), other, meter) === wanted;
  });
  return listOf(found, meter);
}

function toNumber(value: Value, missing: Value, whole: boolean): Value {
  const text = value instanceof MarkedText ? value.value.slice(0, 400) : undefined;
  const number = text === undefined ? numberOf(value) : whole ? Number.parseInt(text, 10) : Number.parseFloat(text);
  if (number === undefined || Number.isNaN(number)) return missing;
  return whole ? Math.trunc(number) : new Float(number);
}
