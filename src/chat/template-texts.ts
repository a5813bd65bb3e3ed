/**
 * What templates do to texts: cutting, replacing, joining. Every result is put together from pieces of the operands, so each
 * character keeps its origin; every piece is charged. How values become texts is template-notation.ts.
 */
import { MarkedText } from "../tokenizer/marked-text.ts";
import type { Meter } from "./template-meter.ts";
import { List, own, type Value } from "./template-values.ts";

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
