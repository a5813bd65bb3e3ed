/**
 * A datastore for drafting: texts as token ids with their suffix array, in a file that is searched where it lies. Numbers are
 * little-endian 32-bit: magic (2 words), how many tokens, the vocabulary's size and check word, then where in the
 * suffix array each first token begins (vocabulary + 2 words, the last token being the border between texts), the tokens, the
 * suffix array.
 */
import { RequestError } from "../../errors.ts";
import { suffixArray } from "./suffix-array.ts";

const MAGIC = [0x524c4c4d, 0x31534452] as const;
const HEADER = 5;

/** What a vocabulary is told apart by. */
export interface DatastoreVocabulary {
  readonly size: number;
  /** FNV-1a of the tokens' texts. */
  readonly check: number;
}

/** Reads words, numbered from the file's beginning. */
export interface WordReader {
  readonly length: number;
  read(first: number, count: number): Int32Array;
  close(): void;
}

export function vocabularyOf(size: number, tokenText: (id: number) => string): DatastoreVocabulary {
  let check = 2166136261;
  for (let id = 0; id < size; id++)
    for (const letter of `${tokenText(id)}\n`) check = Math.imul(check ^ (letter.codePointAt(0) ?? 0), 16777619);
  return { size, check };
}

/** The words of a datastore over some texts. */
export function buildDatastore(texts: readonly Int32Array[], { size, check }: DatastoreVocabulary): Int32Array[] {
  const tokens = new Int32Array(texts.reduce((sum, text) => sum + text.length + 1, 0)).fill(size);
  let end = 0;
  for (const text of texts) {
    tokens.set(text, end);
    end += text.length + 1;
  }
  const starts = new Int32Array(size + 2);
  for (const token of tokens) starts[token + 1] = (starts[token + 1] ?? 0) + 1;
  for (let token = 0; token <= size; token++) starts[token + 1] = (starts[token + 1] ?? 0) + (starts[token] ?? 0);
  return [Int32Array.of(...MAGIC, tokens.length, size, check), starts, tokens, suffixArray(tokens)];
}

export class Datastore {
  readonly #file: WordReader;
  readonly #tokens: number;
  readonly #starts: Int32Array;
  readonly #size: number;
  /** Words before the tokens. */
  readonly #base: number;

  /** @throws RequestError where the file is no datastore, or one of other tokens. */
  constructor(file: WordReader, name: string, vocabulary: DatastoreVocabulary) {
    const [first, second, tokens = 0, size = 0, check] = file.length < HEADER ? [] : file.read(0, HEADER);
    this.#base = HEADER + size + 2;
    const isWhole = tokens > 0 && size > 0 && this.#base + 2 * tokens === file.length;
    if (first !== MAGIC[0] || second !== MAGIC[1] || !isWhole)
      throw new RequestError(`${name} is no datastore (or not a whole one); \`millrace datastore build\` makes one`);
    if (size !== vocabulary.size || check !== vocabulary.check)
      throw new RequestError(`${name} was built for a model with other tokens; build it anew with --model`);
    this.#file = file;
    this.#tokens = tokens;
    this.#size = size;
    this.#starts = file.read(HEADER, size + 2);
    const inOrder = this.#starts.every((start, i) => start >= (this.#starts[i - 1] ?? 0) && start <= tokens);
    if (!inOrder) throw new RequestError(`${name} is damaged: its index is not in order; build it anew`);
  }

  /** How many of the last tokens of `tail` stand anywhere, `most` at most, and where in the suffix array they do. */
  find(tail: Int32Array, most: number): { readonly length: number; readonly from: number; readonly to: number } {
    // If an ending occurs, so do all shorter ones.
    let found = { length: 0, from: 0, to: 0 };
    let [low, high] = [0, Math.min(most, tail.length)];
    while (low < high) {
      const length = (low + high + 1) >> 1;
      const range = this.#range(tail.subarray(tail.length - length));
      if (range.to > range.from) {
        found = { length, ...range };
        low = length;
      } else high = length - 1;
    }
    return found;
  }

  /** What follows a text of `length` tokens at an entry of the suffix array, up to where its own text ends. */
  after(entry: number, length: number, count: number): Int32Array {
    const place = this.#placeOf(entry) + length;
    const tokens = this.#tokensAt(place, count);
    const end = tokens.findIndex((token) => token < 0 || token >= this.#size);
    return end < 0 ? tokens : tokens.subarray(0, end);
  }

  close(): void {
    this.#file.close();
  }

  #range(text: Int32Array): { readonly from: number; readonly to: number } {
    const first = text[0] ?? 0;
    const from = this.#starts[first] ?? 0;
    const to = this.#starts[first + 1] ?? from;
    const bound = (isLeft: (order: number) => boolean): number => {
      let [low, high] = [from, to];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (isLeft(this.#compare(this.#placeOf(middle), text))) low = middle + 1;
        else high = middle;
      }
      return low;
    };
    return { from: bound((order) => order < 0), to: bound((order) => order <= 0) };
  }

  /** Below 0: what stands at a place comes before the text, 0: it begins with it. */
  #compare(place: number, text: Int32Array): number {
    const there = this.#tokensAt(place, text.length);
    for (const [i, token] of text.entries()) {
      const difference = (there[i] ?? -1) - token;
      if (difference !== 0) return difference;
    }
    return 0;
  }

  #placeOf(entry: number): number {
    return this.#file.read(this.#base + this.#tokens + entry, 1)[0] ?? 0;
  }

  #tokensAt(place: number, count: number): Int32Array {
    if (place < 0 || place >= this.#tokens) return new Int32Array();
    return this.#file.read(this.#base + place, Math.min(count, this.#tokens - place));
  }
}
