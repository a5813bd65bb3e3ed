/**
 * What follows a dot: the methods of texts, lists and objects that published templates call, as Python has them. A method
 * takes its arguments as they come, each checked where it is used; an unknown one is undefined.
 */
import { MarkedText } from "../tokenizer/marked-text.ts";
import type { Meter } from "./template-meter.ts";
import { capitalize, listOf, replace, rewrite, split, strip, titleCase } from "./template-texts.ts";
import { Dict, Func, keyOf, List, Loop, nameOf, Namespace, numberOf, type Value } from "./template-values.ts";

export type Named = ReadonlyMap<string, Value>;
export type Method<T> = (subject: T, args: readonly Value[], named: Named, meter: Meter) => Value;

export const TEXT_METHODS: ReadonlyMap<string, Method<MarkedText>> = new Map<string, Method<MarkedText>>([
  ["upper", (text, _args, _named, meter) => rewrite(text, (run) => run.toUpperCase(), meter)],
  ["lower", (text, _args, _named, meter) => rewrite(text, (run) => run.toLowerCase(), meter)],
  ["title", (text, _args, _named, meter) => rewrite(text, titleCase, meter)],
  ["capitalize", (text, _args, _named, meter) => capitalize(text, meter)],
  ["strip", (text, [set], _named, meter) => strip(text, optionalText(set), true, true, meter)],
  ["lstrip", (text, [set], _named, meter) => strip(text, optionalText(set), true, false, meter)],
  ["rstrip", (text, [set], _named, meter) => strip(text, optionalText(set), false, true, meter)],
  ["startswith", (text, [part], _named, meter) => oneOf(part, (word) => text.value.startsWith(word), meter)],
  ["endswith", (text, [part], _named, meter) => oneOf(part, (word) => text.value.endsWith(word), meter)],
  [
    "split",
    (text, args, named, meter) =>
      split(text, optionalText(args[0] ?? named.get("sep")), limitOf(args[1] ?? named.get("maxsplit")), meter),
  ],
  [
    "replace",
    (text, [old, replacement, count], named, meter) =>
      replace(text, textArg(old), textArg(replacement), limitOf(count ?? named.get("count")), meter),
  ],
]);

const DICT_METHODS: ReadonlyMap<string, Method<Dict>> = new Map<string, Method<Dict>>([
  ["get", (dict, [key, missing]) => lookUp(dict, key) ?? missing ?? null],
  ["items", (dict, _args, _named, meter) => itemsOf(dict, meter)],
  ["keys", (dict, _args, _named, meter) => keysOf(dict, meter)],
  [
    "values",
    (dict, _args, _named, meter) =>
      listOf(
        Array.from(dict.entries.values(), ({ value }) => value),
        meter,
      ),
  ],
]);

const LIST_METHODS: ReadonlyMap<string, Method<List>> = new Map<string, Method<List>>([
  [
    "append",
    (list, [item], _named, meter) => {
      meter.gather(1);
      list.items.push(item);
      return null;
    },
  ],
  [
    "pop",
    (list, [index = -1]) => {
      const at = numberOf(index) ?? Number.NaN;
      const { length } = list.items;
      if (!Number.isInteger(at) || at < -length || at >= length) throw new Error("pop() of an item that isn't there");
      const [item] = list.items.splice(at, 1);
      return item;
    },
  ],
]);

/** `subject.name`; of an object, its methods come first, as in Python. */
export function attribute(subject: Value, name: string, meter: Meter): Value {
  if (subject instanceof Dict) return bound(DICT_METHODS, subject, name, meter) ?? subject.entries.get(name)?.value;
  if (subject instanceof Namespace) return subject.fields.get(name);
  if (subject instanceof Loop) return loopField(subject, name);
  if (subject instanceof MarkedText)
    return name === "length" ? subject.length : bound(TEXT_METHODS, subject, name, meter);
  if (subject instanceof List)
    return name === "length" ? subject.items.length : bound(LIST_METHODS, subject, name, meter);
  return undefined;
}

/** `dict[key]`. */
export function lookUp(dict: Dict, key: Value): Value {
  return typeof key === "number" || key instanceof MarkedText ? dict.entries.get(keyOf(key))?.value : undefined;
}

function bound<T>(methods: ReadonlyMap<string, Method<T>>, subject: T, name: string, meter: Meter): Value {
  const method = methods.get(name);
  return method && new Func((args, named) => method(subject, args, named, meter));
}

function loopField({ items, index }: Loop, name: string): Value {
  switch (name) {
    case "index":
      return index + 1;
    case "index0":
      return index;
    case "revindex":
      return items.length - index;
    case "revindex0":
      return items.length - index - 1;
    case "first":
      return index === 0;
    case "last":
      return index === items.length - 1;
    case "length":
      return items.length;
    case "previtem":
      return index > 0 ? items[index - 1] : undefined;
    case "nextitem":
      return items[index + 1];
    default:
      return undefined;
  }
}

export function itemsOf(dict: Dict, meter: Meter): List {
  return listOf(
    Array.from(dict.entries.values(), ({ key, value }) => listOf([key, value], meter)),
    meter,
  );
}

export function keysOf(dict: Dict, meter: Meter): List {
  return listOf(
    Array.from(dict.entries.values(), ({ key }) => key),
    meter,
  );
}

export function textArg(value: Value): MarkedText {
  if (value instanceof MarkedText) return value;
  throw new Error(`a text is expected as an argument, not ${nameOf(value)}`);
}

/** Undefined or none: as if it weren't there. */
export function optionalText(value: Value): MarkedText | undefined {
  return value === undefined || value === null ? undefined : textArg(value);
}

export function wholeArg(value: Value, missing: number): number {
  if (value === undefined || value === null) return missing;
  if (typeof value === "number") return value;
  throw new Error(`a whole number is expected as an argument, not ${nameOf(value)}`);
}

/** How often: none and negative numbers mean without end. */
function limitOf(value: Value): number {
  const limit = wholeArg(value, -1);
  return limit < 0 ? Infinity : limit;
}

/** Whether it holds for a text, or for one of a tuple. */
function oneOf(part: Value, holds: (word: string) => boolean, meter: Meter): boolean {
  const words = part instanceof List ? part.items : [part];
  return words.some((word) => {
    meter.charge(1);
    meter.scan(textArg(word).length);
    return holds(textArg(word).value);
  });
}
