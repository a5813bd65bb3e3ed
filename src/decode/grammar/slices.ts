/**
 * Which tokens lie wholly inside a JSON string, and where in the trie it may close. That is the same in every context, so it is
 * computed once an expression; for strings without a pattern once a tokenizer (the slices of llguidance: most of a vocabulary
 * is plain text, and is allowed or not as a whole). What may follow the closing quote is left to masks.ts.
 */
import type { ByteString } from "./byte-string.ts";
import { codePointBytes } from "./byte-string.ts";
import { Derivatives } from "./derivative.ts";
import { type Expression, ExpressionPool } from "./expression.ts";
import { Fuel } from "./fuel.ts";
import type { Vocabulary } from "./vocabulary.ts";

export interface Slice {
  /** Tokens after which the expression can still be completed. */
  readonly mask: Uint32Array;
  /** Trie nodes after which it may be complete. */
  readonly exits: Int32Array;
  /** For a JSON string: what was read, decoded, up to each exit. */
  readonly contents: readonly ByteString[];
}

/** The slice of any JSON string, and what it takes to cut it to a length. */
interface TextSlice extends Slice {
  /** Characters begun by each token before a closing quote; 0 for tokens outside. */
  readonly lengths: Uint16Array;
  readonly exitLengths: Uint16Array;
  readonly longest: number;
}

export class Slices {
  readonly #vocabulary: Vocabulary;
  readonly #known = new WeakMap<Expression, Slice>();
  readonly #lengths = new Map<string, Slice>();
  #text: TextSlice | undefined;

  constructor(vocabulary: Vocabulary) {
    this.#vocabulary = vocabulary;
  }

  of(derivatives: Derivatives, expression: Expression): Slice {
    let slice = this.#known.get(expression);
    if (slice === undefined) {
      slice = this.#plainText(derivatives.pool, expression) ?? this.#walk(derivatives, expression);
      this.#known.set(expression, slice);
    }
    return slice;
  }

  /** A string that is bounded in length only, or that isn't one of some words. */
  #plainText(pool: ExpressionPool, expression: Expression): Slice | undefined {
    if (expression.kind !== "text" || expression.escape !== "") return undefined;
    const { content } = expression;
    if (content === pool.anyText) return this.#anyText();
    if (content.kind === "repeat" && content.of === pool.anyChar) return this.#bounded(content.min, content.max);
    if (content.kind !== "both" || content.list.length !== 2 || !content.list.includes(pool.anyText)) return undefined;
    const excluded = content.list.find((one) => one.kind === "complement");
    return excluded?.of.kind === "words" ? this.#except(new Set(excluded.of.words)) : undefined;
  }

  #anyText(): TextSlice {
    if (this.#text !== undefined) return this.#text;
    // In a pool of its own: this slice outlives the grammar that asks first.
    const pool = new ExpressionPool(new Fuel(Infinity));
    const slice = this.#walk(new Derivatives(pool), pool.jsonText(pool.anyText, "", undefined));
    const lengths = new Uint16Array(this.#vocabulary.size);
    for (let id = 0; id < lengths.length; id++) {
      const [inside = ""] = this.#vocabulary.bytes(id).split('"', 1);
      lengths[id] = characters(decodeEscapes(inside));
    }
    const exitLengths = Uint16Array.from(slice.contents, characters);
    const longest = lengths.reduce((most, length) => Math.max(most, length), 0);
    this.#text = { ...slice, lengths, exitLengths, longest };
    return this.#text;
  }

  #bounded(min: number, max: number): Slice {
    const all = this.#anyText();
    const key = `${Math.min(min, all.longest + 1)} ${Math.min(max, all.longest)}`;
    let slice = this.#lengths.get(key);
    if (slice !== undefined) return slice;
    const { lengths, exitLengths, contents } = all;
    const mask = all.mask.slice();
    if (max < all.longest) {
      for (let id = 0; id < lengths.length; id++) {
        if ((lengths[id] ?? 0) > max) mask[id >>> 5] = (mask[id >>> 5] ?? 0) & ~(1 << (id & 31));
      }
    }
    slice = this.#keep({ mask, exits: all.exits, contents }, (i) => {
      const length = exitLengths[i] ?? 0;
      return length >= min && length <= max;
    });
    this.#lengths.set(key, slice);
    return slice;
  }

  #except(words: ReadonlySet<ByteString>): Slice {
    const all = this.#anyText();
    return this.#keep({ mask: all.mask.slice(), exits: all.exits, contents: all.contents }, (i) => {
      const content = all.contents[i];
      return content !== undefined && !words.has(content);
    });
  }

  /** Drops the other exits, and the tokens that end there, from a slice whose mask is its own. */
  #keep(slice: Slice, stays: (exit: number) => boolean): Slice {
    const { token } = this.#vocabulary.trie;
    const kept: number[] = [];
    slice.exits.forEach((node, i) => {
      if (stays(i)) kept.push(i);
      else if ((token[node] ?? -1) >= 0) this.#vocabulary.forbid(slice.mask, token[node] ?? 0);
    });
    return {
      mask: slice.mask,
      exits: Int32Array.from(kept, (i) => slice.exits[i] ?? 0),
      contents: kept.map((i) => slice.contents[i] ?? ""),
    };
  }

  #walk(derivatives: Derivatives, start: Expression): Slice {
    const { trie, words } = this.#vocabulary;
    const { none } = derivatives.pool;
    const mask = new Uint32Array(words);
    const exits: number[] = [];
    const contents: ByteString[] = [];
    const states: Expression[] = [start];
    for (let node = 0; node < trie.size;) {
      const depth = trie.depth[node] ?? 0;
      const state = derivatives.step(states[depth] ?? none, trie.byte[node] ?? 0);
      if (state === none) {
        node = trie.end[node] ?? trie.size;
        continue;
      }
      const token = trie.token[node] ?? -1;
      if (token >= 0) this.#vocabulary.allow(mask, token);
      if (state.nullable) {
        exits.push(node);
        if (start.kind === "text") contents.push(decodeEscapes(start.escape + this.#path(node).slice(0, -1)));
      }
      states[depth + 1] = state;
      node++;
    }
    return { mask, exits: Int32Array.from(exits), contents };
  }

  /** The bytes from the root to a node. */
  #path(node: number): ByteString {
    const { trie } = this.#vocabulary;
    let path = "";
    let depth = trie.depth[node] ?? 0;
    for (let at = node; depth >= 0; at--) {
      if (trie.depth[at] !== depth) continue;
      path = String.fromCharCode(trie.byte[at] ?? 0) + path;
      depth--;
    }
    return path;
  }
}

/** Characters that begin in some UTF-8 bytes. */
function characters(bytes: ByteString): number {
  let count = 0;
  for (let i = 0; i < bytes.length; i++) if ((bytes.charCodeAt(i) & 0xc0) !== 0x80) count++;
  return count;
}

const ESCAPE = /\\u(d[89ab]..)\\u(....)|\\u(....)|\\([^u])|\\.*$/gis;
const SHORT: Readonly<Record<string, string>> = { b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };

/** The content of a JSON string's inner bytes; an escape that isn't complete counts as one character. */
function decodeEscapes(bytes: ByteString): ByteString {
  if (!bytes.includes("\\")) return bytes;
  return bytes.replace(ESCAPE, (_, high?: string, low?: string, unit?: string, char?: string) => {
    if (high !== undefined && low !== undefined) {
      const point = ((Number.parseInt(high, 16) - 0xd800) << 10) + (Number.parseInt(low, 16) - 0xdc00) + 0x10000;
      return Number.isNaN(point) || point > 0x10ffff ? "?" : codePointBytes(point);
    }
    if (unit !== undefined) return codePointBytes(Number.parseInt(unit, 16) || 0);
    return char === undefined ? "?" : (SHORT[char] ?? char);
  });
}
