/**
 * Which tokens lie wholly inside a JSON string, and where in the trie it may close. That is the same in every context, so it is
 * computed once an expression; for strings without a pattern once a tokenizer (the slices of llguidance: most of a vocabulary
 * is plain text, and is allowed or not as a whole). What may follow the closing quote is left to masks.ts.
 */
import type { ByteString } from "./byte-string.ts";
import { codePointBytes } from "./byte-string.ts";
import { Derivatives } from "./derivative.ts";
import type { Expression } from "./expression.ts";
import { ExpressionPool } from "./expression-pool.ts";
import { Fuel } from "./fuel.ts";
import type { Vocabulary } from "./vocabulary.ts";

export interface Slice {
  /** Tokens after which the expression can still be completed. */
  readonly mask: Uint32Array;
  /** Trie nodes after which it is closed. */
  readonly exits: Int32Array;
  /** What was read, decoded, up to each exit. */
  readonly contents: readonly ByteString[];
  /** Indices of the exits that tokens go on from; and of those, where a colon or white space comes next, as after a key. */
  readonly onward: readonly number[];
  readonly keyLike: readonly number[];
  /** Indices of exits that don't count. */
  readonly dropped: ReadonlySet<number>;
}

/** The slice of any JSON string, and what it takes to cut it to a length. */
interface TextSlice extends Slice {
  /** Characters begun by each token before a closing quote; 0 for tokens outside. */
  readonly lengths: Uint16Array;
  readonly exitLengths: Uint16Array;
  readonly longest: number;
  readonly byContent: ReadonlyMap<ByteString, readonly number[]>;
}

export class Slices {
  readonly #vocabulary: Vocabulary;
  readonly #known = new WeakMap<Expression, Slice>();
  readonly #lengths = new Map<string, Slice>();
  readonly #text: TextSlice;

  constructor(vocabulary: Vocabulary) {
    this.#vocabulary = vocabulary;
    this.#text = this.#anyText();
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
    if (content === pool.anyText) return this.#text;
    if (content.kind === "repeat" && content.of === pool.anyChar) return this.#bounded(content.min, content.max);
    if (content.kind !== "both" || content.list.length !== 2 || !content.list.includes(pool.anyText)) return undefined;
    const excluded = content.list.find((one) => one.kind === "complement");
    if (excluded?.of === pool.empty) return this.#except(new Set([""]));
    return excluded?.of.kind === "words" ? this.#except(new Set(excluded.of.words)) : undefined;
  }

  #anyText(): TextSlice {
    // In a pool of its own: this slice is every grammar's.
    const pool = new ExpressionPool(new Fuel(Infinity));
    const slice = this.#walk(new Derivatives(pool), pool.jsonText(pool.anyText, "", undefined));
    const lengths = new Uint16Array(this.#vocabulary.size);
    for (let id = 0; id < lengths.length; id++) {
      const [inside = ""] = this.#vocabulary.bytes(id).split('"', 1);
      lengths[id] = characters(decodeEscapes(inside));
    }
    const exitLengths = Uint16Array.from(slice.contents, characters);
    const longest = lengths.reduce((most, length) => Math.max(most, length), 0);
    const byContent = new Map<ByteString, number[]>();
    slice.contents.forEach((content, i) => byContent.set(content, [...(byContent.get(content) ?? []), i]));
    return { ...slice, lengths, exitLengths, longest, byContent };
  }

  #bounded(min: number, max: number): Slice {
    const all = this.#text;
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
    const dropped = contents.flatMap((_, i) => {
      const length = exitLengths[i] ?? 0;
      return length >= min && length <= max ? [] : [i];
    });
    slice = this.#drop(all, mask, dropped);
    this.#lengths.set(key, slice);
    return slice;
  }

  #except(words: ReadonlySet<ByteString>): Slice {
    const all = this.#text;
    return this.#drop(
      all,
      all.mask.slice(),
      [...words].flatMap((word) => all.byContent.get(word) ?? []),
    );
  }

  /** Without some exits, and without the tokens that end there; the mask is the new slice's own. */
  #drop(slice: Slice, mask: Uint32Array, exits: readonly number[]): Slice {
    const { token } = this.#vocabulary.trie;
    for (const i of exits) {
      const id = token[slice.exits[i] ?? -1] ?? -1;
      if (id >= 0) this.#vocabulary.forbid(mask, id);
    }
    return { ...slice, mask, dropped: new Set(exits) };
  }

  #walk(derivatives: Derivatives, start: Expression): Slice {
    const { trie, words } = this.#vocabulary;
    const { none } = derivatives.pool;
    const { byte, depth, end, token, size } = trie;
    const mask = new Uint32Array(words);
    const exits: number[] = [];
    const contents: ByteString[] = [];
    const escape = start.kind === "text" ? start.escape : "";
    // By depth: the expression there, and what each byte makes of it.
    const states: Expression[] = [start];
    const tables: (Expression | undefined)[][] = [derivatives.table(start)];
    let entered = 0;
    for (let node = 0; node < size;) {
      const at = depth[node] ?? 0;
      if (at > entered) {
        tables[at] = derivatives.table(states[at] ?? none);
        entered = at;
      }
      const next = byte[node] ?? 0;
      let state = tables[at]?.[next];
      if (state === undefined) {
        state = derivatives.step(states[at] ?? none, next);
        const table = tables[at];
        if (table !== undefined) table[next] = state;
      }
      if (state === none) {
        node = end[node] ?? size;
        continue;
      }
      const id = token[node] ?? -1;
      if (id >= 0) this.#vocabulary.allow(mask, id);
      if (state.nullable) {
        exits.push(node);
        contents.push(decodeEscapes(escape + this.#path(node).slice(0, -1)));
      }
      states[at + 1] = state;
      entered = at;
      node++;
    }
    const onward = exits.flatMap((node, i) => ((end[node] ?? 0) > node + 1 ? [i] : []));
    const keyLike = onward.filter((i) => this.#isBeforeColon(exits[i] ?? 0));
    return { mask, exits: Int32Array.from(exits), contents, onward, keyLike, dropped: new Set() };
  }

  #isBeforeColon(exit: number): boolean {
    const { byte, end, size } = this.#vocabulary.trie;
    for (let node = exit + 1; node < (end[exit] ?? 0); node = end[node] ?? size) {
      const next = byte[node] ?? 0;
      if (next === 0x3a || next <= 0x20) return true;
    }
    return false;
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
