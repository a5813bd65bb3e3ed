/**
 * A tokenizer's vocabulary as a byte trie, for masks: built once a tokenizer, shared by all grammars. Control tokens are not
 * in it, since no text matches them; neither are tokens without bytes.
 */
import { fromBytes, type ByteString } from "./byte-string.ts";

/** What a mask needs of a tokenizer; `Tokenizer` fits. */
export interface TokenTable {
  readonly vocabSize: number;
  /** These end an answer: allowed where the text may end. */
  readonly stopIds: ReadonlySet<number>;
  tokenBytes(id: number): Uint8Array;
  isSpecial(id: number): boolean;
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
      const text = table.isSpecial(id) || table.stopIds.has(id) ? "" : fromBytes(table.tokenBytes(id));
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
    if (this.#hasSame[id] === 1) for (const other of this.#same.get(id) ?? []) set(mask, other);
  }

  forbid(mask: Uint32Array, id: number): void {
    clear(mask, id);
    for (const other of this.#same.get(id) ?? []) clear(mask, other);
  }
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
