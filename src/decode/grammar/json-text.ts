/**
 * Inside a JSON string: bytes are decoded, escapes and surrogate pairs too, and the decoded text is held against an
 * expression. So a pattern, a length or a list of keys already used is enforced however the string is spelled.
 *
 * The escape state is the raw text of an escape so far: "" outside, "\", "\u1", …; after a high surrogate that surrogate
 * stands before the second escape ("\ud83d", "\ud83d\u").
 */
import { codePointBytes } from "./byte-string.ts";
import type { Expression } from "./expression.ts";
import type { ExpressionPool } from "./expression-pool.ts";

/** What this file needs of derivative.ts. */
export interface ContentReader {
  readonly pool: ExpressionPool;
  step(expression: Expression, byte: number): Expression;
  live(expression: Expression): boolean;
}

type JsonText = Expression & { kind: "text" };

const SHORT: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};
const HIGH = /^\\u(d[89ab]..)/;

/** A JSON string whose decoded content matches; its opening quote is still to come. */
export function jsonString(pool: ExpressionPool, content: Expression): Expression {
  if (content === pool.none) return pool.none;
  // A finite set is written as JSON.stringify writes it, so that its text is forced where only one is left.
  if (content.kind === "words") {
    const decoder = new TextDecoder();
    const quoted = content.words.map((word) =>
      JSON.stringify(decoder.decode(Uint8Array.from(word, (unit) => unit.charCodeAt(0)))),
    );
    return pool.alternatives(quoted.map((word) => pool.text(word)));
  }
  return pool.concat(pool.text('"'), pool.jsonText(content, "", undefined));
}

export function stepJsonText(reader: ContentReader, text: JsonText, byte: number): Expression {
  const { pool } = reader;
  const { content, escape, sink } = text;
  if (escape !== "") return byte < 0x80 ? stepEscape(reader, text, String.fromCharCode(byte)) : pool.none;
  if (byte === 0x22) {
    if (!content.nullable) return pool.none;
    return sink === undefined ? pool.empty : sink.owner.finish(sink.bytes);
  }
  if (byte < 0x20) return pool.none;
  if (byte === 0x5c) {
    return rangeLive(reader, content, 0, 0x110000) ? pool.jsonText(content, "\\", sink) : pool.none;
  }
  return feed(reader, text, String.fromCharCode(byte));
}

function stepEscape(reader: ContentReader, text: JsonText, char: string): Expression {
  const { pool } = reader;
  const { content, escape, sink } = text;
  const high = HIGH.exec(escape)?.[1];
  const tail = high === undefined ? escape : escape.slice(6);
  const waits = (next: string): Expression => pool.jsonText(content, next, sink);
  if (tail === "") return char === "\\" ? waits(escape + char) : pool.none;
  if (tail === "\\") {
    if (char === "u") return waits(escape + char);
    const short = high === undefined ? SHORT[char] : undefined;
    return short === undefined ? pool.none : feed(reader, text, short);
  }
  if (!/[0-9a-fA-F]/.test(char)) return pool.none;
  const digits = (tail + char.toLowerCase()).slice(2);
  const first = Number.parseInt(digits.padEnd(4, "0"), 16);
  const last = Number.parseInt(digits.padEnd(4, "f"), 16);
  const next = `${high === undefined ? "" : `\\u${high}`}\\u${digits}`;
  if (high !== undefined) {
    const base = 0x10000 + (Number.parseInt(high, 16) - 0xd800) * 0x400 - 0xdc00;
    const from = Math.max(first, 0xdc00);
    const to = Math.min(last, 0xdfff);
    if (from > to || !rangeLive(reader, content, base + from, base + to + 1)) return pool.none;
    return digits.length < 4 ? waits(next) : feed(reader, text, codePointBytes(base + first));
  }
  const highFrom = Math.max(first, 0xd800);
  const highTo = Math.min(last, 0xdbff);
  const pairs =
    highFrom <= highTo &&
    rangeLive(reader, content, 0x10000 + (highFrom - 0xd800) * 0x400, 0x10000 + (highTo - 0xd800 + 1) * 0x400);
  if (!pairs && !rangeLive(reader, content, first, last + 1)) return pool.none;
  return digits.length < 4 || pairs ? waits(next) : feed(reader, text, codePointBytes(first));
}

/** Feeds decoded bytes to the content. */
function feed(reader: ContentReader, text: JsonText, bytes: string): Expression {
  const { pool } = reader;
  let { content } = text;
  for (let i = 0; i < bytes.length; i++) content = reader.step(content, bytes.charCodeAt(i));
  if (content === pool.none) return pool.none;
  const { sink } = text;
  return pool.jsonText(content, "", sink && { owner: sink.owner, bytes: sink.bytes + bytes });
}

/** May a character from `from` up to before `to` come next? */
function rangeLive(reader: ContentReader, content: Expression, from: number, to: number): boolean {
  const { pool } = reader;
  const next = pool.char([from, to]);
  if (next === pool.none) return false;
  if (content === pool.anyText) return true;
  return reader.live(pool.both([content, pool.concat(next, pool.anyText)]));
}
