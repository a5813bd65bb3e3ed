/**
 * How templates write values out: as Python shows them, and as JSON. Texts inside keep the origin of their characters, what is put
 * around them is the template's.
 */
import { MarkedText } from "../tokenizer/marked-text.ts";
import type { Meter } from "./template-meter.ts";
import { rewrite, TextBuilder } from "./template-texts.ts";
import { Dict, Float, keyOf, List, nameOf, own, type Value, wordOf } from "./template-values.ts";

/** A value as `{{ value }}` shows it, which is Python's str(). */
export function textOf(value: Value, meter: Meter): MarkedText {
  if (value instanceof MarkedText) return value;
  if (value === undefined) return own("");
  if (value === null || typeof value !== "object" || value instanceof Float) return own(wordOf(value));
  return writeOut(value, PYTHON, meter);
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
