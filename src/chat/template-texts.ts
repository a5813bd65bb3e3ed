/**
 * What templates do to texts: cutting, replacing, joining, writing out as JSON. Every result is put together from pieces
 * of the operands, so each character keeps its origin; every piece is charged.
 */
import { MarkedText } from "../tokenizer/marked-text.ts";
import type { Meter } from "./template-meter.ts";
import { Dict, Float, keyOf, List, nameOf, own, type Value, wordOf } from "./template-values.ts";

const MANY_PARTS = 1024;

/** Gathers a text piece by piece; one that grows too long throws on the way. */
export class TextBuilder {
  readonly #meter: Meter;
  readonly #chunks: MarkedText[] = [];
  #parts: MarkedText[] = [];
  #length = 0;

  constructor(meter: Meter) {
    this.#meter = meter;
  }

  push(part: MarkedText | string): void {
    const text = typeof part === "string" ? own(part) : part;
    if (text.length === 0) return;
    this.#length += text.length;
    this.#meter.size(this.#length);
    this.#meter.charge(text.runCount / 4);
    // Many small pieces weigh more than their text.
    if (this.#parts.push(text) >= MANY_PARTS) this.#flush();
  }

  end(): MarkedText {
    this.#meter.make(this.#length);
    this.#flush();
    return MarkedText.join(this.#chunks);
  }

  #flush(): void {
    this.#chunks.push(MarkedText.join(this.#parts));
    this.#parts = [];
  }
}

/** A list made by a template, which is charged for. */
export function listOf(items: Value[], meter: Meter): List {
  meter.gather(items.length);
  return new List(items);
}

export function joinTexts(parts: Iterable<MarkedText | string>, meter: Meter): MarkedText {
  const builder = new TextBuilder(meter);
  for (const part of parts) builder.push(part);
  return builder.end();
}

/** A value as `{{ value }}` shows it, which is Python's str(). */
export function textOf(value: Value, meter: Meter): MarkedText {
  if (value instanceof MarkedText) return value;
  if (value === undefined) return own("");
  if (value === null || typeof value !== "object" || value instanceof Float) return own(wordOf(value));
  return writeOut(value, PYTHON, meter);
}

/** Each run rewritten by a function of JavaScript's that at most triples it. */
export function rewrite(text: MarkedText, change: (text: string) => string, meter: Meter): MarkedText {
  meter.make(text.length);
  const changed = text.map(change);
  meter.make(changed.length);
  return changed;
}

export function titleCase(text: string): string {
  return text.replace(/\b\w/g, (letter) => letter.toUpperCase());
}

export function capitalize(text: MarkedText, meter: Meter): MarkedText {
  const first = rewrite(text.slice(0, 1), (letter) => letter.toUpperCase(), meter);
  return joinTexts([first, text.slice(1)], meter);
}

/** Where `part` stands, from left to right, at most `limit` times; nothing stands before every character and at the end. */
function occurrences(text: string, part: string, limit: number, meter: Meter): number[] {
  meter.search(text.length, part.length);
  const places: number[] = part === "" ? borders(text).slice(0, limit) : [];
  if (part !== "") {
    for (let at = text.indexOf(part); at >= 0 && places.length < limit; at = text.indexOf(part, at + part.length))
      places.push(at);
  }
  meter.charge(2 * places.length);
  return places;
}

export function contains(text: MarkedText, part: MarkedText, meter: Meter): boolean {
  meter.search(text.length, part.length);
  return text.value.includes(part.value);
}

export function replace(
  text: MarkedText,
  old: MarkedText,
  replacement: MarkedText,
  limit: number,
  meter: Meter,
): MarkedText {
  const result = new TextBuilder(meter);
  let last = 0;
  for (const at of occurrences(text.value, old.value, limit, meter)) {
    result.push(text.slice(last, at));
    result.push(replacement);
    last = at + old.length;
  }
  result.push(text.slice(last));
  return result.end();
}

/** Python's str.split: by a separator, or without one by white space; the rest stays whole after `limit` cuts. */
export function split(text: MarkedText, separator: MarkedText | undefined, limit: number, meter: Meter): List {
  if (separator === undefined) return splitWords(text, limit, meter);
  if (separator.length === 0) throw new Error("split() needs a separator that isn't empty");
  const places = occurrences(text.value, separator.value, limit, meter);
  meter.gather(places.length + 1);
  const starts = [0, ...places.map((at) => at + separator.length)];
  return new List(starts.map((start, i) => text.slice(start, places[i] ?? text.length)));
}

function splitWords(text: MarkedText, limit: number, meter: Meter): List {
  const words: MarkedText[] = [];
  const rest = strip(text, undefined, true, false, meter);
  for (const { 0: word, index } of rest.value.matchAll(/\S+/g)) {
    meter.gather(1);
    const isLast = words.length >= limit;
    words.push(isLast ? rest.slice(index) : rest.slice(index, index + word.length));
    if (isLast) break;
  }
  return new List(words);
}

/** Python's str.strip: without `characters`, of white space. */
export function strip(
  text: MarkedText,
  characters: MarkedText | undefined,
  left: boolean,
  right: boolean,
  meter: Meter,
): MarkedText {
  const { value } = text;
  let start = 0;
  let end = value.length;
  if (characters === undefined) {
    if (left) start = end - value.trimStart().length;
    if (right) end = Math.max(start, value.trimEnd().length);
    meter.scan(value.length);
  } else {
    const set = new Set(characters.value.split(""));
    while (left && start < end && set.has(value.charAt(start))) start++;
    while (right && end > start && set.has(value.charAt(end - 1))) end--;
    meter.charge((start + value.length - end) / 4 + characters.length);
    meter.scan(value.length);
  }
  return text.slice(start, end);
}

/** The beginning of each code point, and the text's end: where Python counts characters. */
function borders(text: string): number[] {
  const places: number[] = [];
  for (let at = 0; at < text.length; at += (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1) places.push(at);
  places.push(text.length);
  return places;
}

export function characters(text: MarkedText, meter: Meter): MarkedText[] {
  meter.gather(text.length);
  const places = borders(text.value);
  return places.slice(1).map((end, i) => text.slice(places[i] ?? 0, end));
}

/** Python's text[start:stop:step]. */
export function sliceText(
  text: MarkedText,
  start: number | undefined,
  stop: number | undefined,
  step: number,
  meter: Meter,
): MarkedText {
  meter.scan(text.length);
  // Without surrogates, code points are code units.
  const places = /[\uD800-\uDFFF]/.test(text.value) ? borders(text.value) : undefined;
  if (places !== undefined) meter.charge(text.length / 4);
  const count = places === undefined ? text.length : places.length - 1;
  const [from, to] = sliceBounds(count, start, stop, step);
  const at = (index: number): number => places?.[index] ?? Math.min(index, text.length);
  if (step === 1) return from < to ? text.slice(at(from), at(to)) : own("");
  const result = new TextBuilder(meter);
  for (let i = from; step > 0 ? i < to : i > to; i += step) {
    meter.charge(1);
    result.push(text.slice(at(i), at(i + 1)));
  }
  return result.end();
}

/** Where a slice of Python's begins and ends (that is, the first index outside). */
export function sliceBounds(
  count: number,
  start: number | undefined,
  stop: number | undefined,
  step: number,
): [from: number, to: number] {
  if (step === 0) throw new Error("a slice's step can't be zero");
  const [lowest, highest] = step > 0 ? [0, count] : [-1, count - 1];
  const clamp = (index: number): number => Math.min(Math.max(index < 0 ? index + count : index, lowest), highest);
  return [
    start === undefined ? (step > 0 ? 0 : count - 1) : clamp(start),
    stop === undefined ? (step > 0 ? count : -1) : clamp(stop),
  ];
}

export function indent(text: MarkedText, width: number, first: boolean, blank: boolean, meter: Meter): MarkedText {
  const space = own(" ".repeat(Math.min(Math.max(width, 0), 64)));
  const result = new TextBuilder(meter);
  const lines = split(text, own("\n"), Infinity, meter).items;
  lines.forEach((line, i) => {
    if (!(line instanceof MarkedText)) return;
    if (i > 0) result.push("\n");
    if ((i > 0 || first) && (line.length > 0 || blank)) result.push(space);
    result.push(line);
  });
  return result.end();
}

/** How data is written. */
interface Notation {
  readonly quoted: (text: string) => string;
  readonly quoteOf: (text: string) => string;
  readonly word: (value: number | Float | boolean | null) => string;
  readonly indent: number;
  readonly sortKeys: boolean;
  readonly item: MarkedText;
  readonly key: MarkedText;
}

const PYTHON: Notation = {
  quoted: pythonEscaped,
  quoteOf: (text) => (text.includes("'") && !text.includes('"') ? '"' : "'"),
  word: wordOf,
  indent: 0,
  sortKeys: false,
  item: own(", "),
  key: own(": "),
};

export interface JsonOptions {
  readonly indent: number;
  readonly ensureAscii: boolean;
  readonly sortKeys: boolean;
  readonly separators?: readonly [item: MarkedText, key: MarkedText];
}

/** Python's json.dumps. */
export function toJson(value: Value, options: JsonOptions, meter: Meter): MarkedText {
  const { indent: width, ensureAscii, sortKeys } = options;
  const [item, key] = options.separators ?? [own(width > 0 ? "," : ", "), own(": ")];
  const word = (single: number | Float | boolean | null): string =>
    single === null || typeof single === "boolean" ? String(single) : wordOf(single);
  const quoted = ensureAscii ? asciiEscaped : escaped;
  return writeOut(value, { quoted, quoteOf: () => '"', word, indent: width, sortKeys, item, key }, meter);
}

function writeOut(value: Value, notation: Notation, meter: Meter): MarkedText {
  const out = new TextBuilder(meter);
  const newLine = (depth: number): void => {
    if (notation.indent > 0) out.push(`\n${" ".repeat(notation.indent * depth)}`);
  };
  const text = (part: MarkedText): void => {
    const quote = notation.quoteOf(part.value);
    const inner = rewrite(part, notation.quoted, meter);
    out.push(quote);
    out.push(quote === "'" ? rewrite(inner, (run) => run.replaceAll("'", "\\'"), meter) : inner);
    out.push(quote);
  };
  const list = <T>(open: string, items: readonly T[], close: string, depth: number, item: (one: T) => void): void => {
    out.push(open);
    items.forEach((one, i) => {
      if (i > 0) out.push(notation.item);
      newLine(depth + 1);
      item(one);
    });
    if (items.length > 0) newLine(depth);
    out.push(close);
  };
  const write = (part: Value, depth: number): void => {
    meter.charge(2);
    meter.nest(depth);
    if (part instanceof MarkedText) text(part);
    else if (part instanceof List) list("[", part.items, "]", depth, (item) => write(item, depth + 1));
    else if (part instanceof Dict) {
      const entries = Array.from(part.entries.values());
      const name = (key: MarkedText | number): string => String(keyOf(key));
      if (notation.sortKeys) entries.sort((a, b) => (name(a.key) < name(b.key) ? -1 : 1));
      list("{", entries, "}", depth, (entry) => {
        if (entry.key instanceof MarkedText || notation !== PYTHON) text(textOf(entry.key, meter));
        else out.push(wordOf(entry.key));
        out.push(notation.key);
        write(entry.value, depth + 1);
      });
    } else if (part === null || typeof part !== "object" || part instanceof Float) {
      // Undefined in a list or object: what json.dumps would refuse is shown as nothing.
      out.push(notation.word(part ?? null));
    } else throw new Error(`${nameOf(part)} can't be written out`);
  };
  write(value, 0);
  return out.end();
}

function escaped(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

function asciiEscaped(text: string): string {
  return escaped(text).replace(/[\x7f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Python's repr() without its quotes, and without what depends on them. */
function pythonEscaped(text: string): string {
  const names: Readonly<Record<string, string>> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" };
  return text.replace(
    /[\\\p{Cc}\u00a0\u00ad]/gu,
    (unit) => names[unit] ?? `\\x${unit.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}
