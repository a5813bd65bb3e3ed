/**
 * A tokenizer's vocabulary as a byte trie, for masks: built once a tokenizer, shared by all grammars. A control token stands
 * in it as its name between two bytes that no text has, so that text never matches it and a grammar can still ask for it.
 * Tokens without bytes, and those that end an answer, are not in it.
 */
import { fromBytes, type ByteString, utf8Bytes } from "./byte-string.ts";

/** How a control token is written: these bytes never occur in UTF-8. */
export const SPECIAL = { open: "\xff", close: "\xfe", split: /(\xff[^\xfe]*\xfe)/ } as const;

/** What matches the control token of this name, and nothing else. */
export function specialBytes(name: string): ByteString {
  return `${SPECIAL.open}${utf8Bytes(name)}${SPECIAL.close}`;
}

/** What a mask needs of a tokenizer; `Tokenizer` fits. */
export interface TokenTable {
  readonly vocabSize: number;
  /** These end an answer: allowed where the text may end. */
  readonly stopIds: ReadonlySet<number>;
  tokenBytes(id: number): Uint8Array;
  isSpecial(id: number): boolean;
  /** The name of a control token. */
  tokenText(id: number): string;
}

/** The nodes in depth-first order: a node's subtree is the range from it up to before its `end`. */
export interface Trie {
  readonly size: number;
  readonly byte: Uint8Array;
  /** From 0 for the first byte of a token. */
  readonly depth: Uint16Array;
  readonly end: Int32Array;
  /** The token that ends here, or −1. */
  readonly token: Int32Array;
}

const NONE: readonly number[] = [];

export class Vocabulary {
  readonly size: number;
  /** 32-bit words of a mask. */
  readonly words: number;
  readonly stopIds: ReadonlySet<number>;
  readonly trie: Trie;
  readonly #bytes: readonly ByteString[];
  /** Ids whose bytes another, smaller id has too, by that id; and by id, whether it has any. */
  readonly #same = new Map<number, number[]>();
  readonly #hasSame: Uint8Array;

  constructor(table: TokenTable) {
    this.size = table.vocabSize;
    this.words = Math.ceil(table.vocabSize / 32);
    this.stopIds = table.stopIds;
    const bytes: ByteString[] = [];
    const tokens: { bytes: ByteString; id: number }[] = [];
    for (let id = 0; id < table.vocabSize; id++) {
      const text = table.stopIds.has(id) ? "" : bytesOf(table, id);
      bytes.push(text);
      if (text !== "") tokens.push({ bytes: text, id });
    }
    tokens.sort((a, b) => (a.bytes < b.bytes ? -1 : a.bytes > b.bytes ? 1 : a.id - b.id));
    this.#bytes = bytes;
    this.trie = buildTrie(tokens, this.#same);
    this.#hasSame = new Uint8Array(table.vocabSize);
    for (const id of this.#same.keys()) this.#hasSame[id] = 1;
  }

  /** A token's bytes; "" for a token that matches no text. */
  bytes(id: number): ByteString {
    return this.#bytes[id] ?? "";
  }

  /** Sets a token's bit, and those of its equals. */
  allow(mask: Uint32Array, id: number): void {
    set(mask, id);
    for (const other of this.equals(id)) set(mask, other);
  }

  /** The other tokens with the same bytes. */
  equals(id: number): readonly number[] {
    return this.#hasSame[id] === 1 ? (this.#same.get(id) ?? NONE) : NONE;
  }

  forbid(mask: Uint32Array, id: number): void {
    clear(mask, id);
    for (const other of this.equals(id)) clear(mask, other);
  }
}

/** Bytes that never occur in UTF-8 match no text either. */
function bytesOf(table: TokenTable, id: number): ByteString {
  if (table.isSpecial(id)) return specialBytes(table.tokenText(id));
  const bytes = fromBytes(table.tokenBytes(id));
  return /[\xfe\xff]/.test(bytes) ? "" : bytes;
}

/** Is a token in a mask? */
export function allows(mask: Uint32Array, id: number): boolean {
  return (((mask[id >>> 5] ?? 0) >>> (id & 31)) & 1) === 1;
}

function set(mask: Uint32Array, id: number): void {
  mask[id >>> 5] = (mask[id >>> 5] ?? 0) | (1 << (id & 31));
}

function clear(mask: Uint32Array, id: number): void {
  mask[id >>> 5] = (mask[id >>> 5] ?? 0) & ~(1 << (id & 31));
}

function buildTrie(tokens: readonly { bytes: ByteString; id: number }[], same: Map<number, number[]>): Trie {
  const room = tokens.reduce((sum, { bytes }) => sum + bytes.length, 0);
  const byte = new Uint8Array(room);
  const depth = new Uint16Array(room);
  const end = new Int32Array(room);
  const token = new Int32Array(room).fill(-1);
  let size = 0;
  let before = "";
  let path: number[] = [];
  for (const { bytes, id } of tokens) {
    let shared = 0;
    while (shared < before.length && bytes.charCodeAt(shared) === before.charCodeAt(shared)) shared++;
    for (const node of path.slice(shared)) end[node] = size;
    path = path.slice(0, shared);
    for (let at = shared; at < bytes.length; at++) {
      byte[size] = bytes.charCodeAt(at);
      depth[size] = at;
      path.push(size++);
    }
    const last = path.at(-1) ?? 0;
    const first = token[last] ?? -1;
    if (first < 0) token[last] = id;
    else same.set(first, [...(same.get(first) ?? []), id]);
    before = bytes;
  }
  for (const node of path) end[node] = size;
  return {
    size,
    byte: byte.slice(0, size),
    depth: depth.slice(0, size),
    end: end.slice(0, size),
    token: token.slice(0, size),
  };
}
