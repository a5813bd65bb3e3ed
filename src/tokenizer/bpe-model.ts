/**
 * The model of a tokenizer: a piece of text → token ids, by byte-pair merging. Symbols are bytes (byte-level
 * vocabularies) or characters (SentencePiece ones, with bytes for what is unknown). Words are remembered, so that
 * running text costs one look-up a word.
 */
import type { ByteAlphabet } from "./byte-alphabet.ts";
import { toByteChars } from "./byte-alphabet.ts";
import { IdBuffer } from "./id-buffer.ts";
import { type MergeTable, mergeTableFromList, mergeTableFromScores } from "./merge-table.ts";
import { mergeSymbols } from "./merger.ts";
import { fallbackByte, type TokenizerSpec } from "./spec.ts";

export interface BpeModel {
  /** Appends the ids of `text[start, end)`, one piece of the pre-tokenizer. */
  encode(text: string, start: number, end: number, out: IdBuffer): void;
}

const CACHED_WORDS = 1 << 16;
const CACHED_LENGTH = 64;
const MARK = "▁";

/** `bytes`: pieces are plain text whose UTF-8 bytes are the symbols. */
export function createBpeModel(spec: TokenizerSpec, idOf: (text: string) => number | undefined, alphabet: ByteAlphabet, bytes: boolean): BpeModel {
  const { model, texts } = spec;
  const unknown = model.unknownId ?? -1;
  const symbolTexts = [...texts];
  const chars = charIds(spec, idOf, symbolTexts);
  const table = mergeTable(spec, idOf, symbolTexts);
  const byteIds = Int32Array.from({ length: 256 }, (_, byte) => (bytes ? idOf(alphabet.chars[byte] ?? "") : undefined) ?? -1);
  const fallbackIds = Int32Array.from({ length: 256 }, (_, byte) => idOf(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`) ?? -1);
  const canFallBack = model.byteFallback;
  const marksAreSafeAfter = bytes || model.ignoreMerges ? undefined : safeBeforeMark(symbolTexts);
  const utf8 = new TextEncoder();
  const cache = new Map<string, Int32Array>();

  /** A character that the vocabulary lacks, as its bytes or as the unknown token. */
  const pushUnknown = (char: string, symbols: IdBuffer): void => {
    if (canFallBack) {
      const encoded = utf8.encode(char);
      if (encoded.every((byte) => (fallbackIds[byte] ?? -1) >= 0)) {
        for (const byte of encoded) symbols.push(fallbackIds[byte] ?? 0);
        return;
      }
    }
    if (unknown >= 0 && !(model.fuseUnknown && symbols.last() === unknown)) symbols.push(unknown);
  };

  const byteSymbols = (word: string, symbols: IdBuffer): void => {
    for (const byte of utf8.encode(word)) {
      const id = byteIds[byte] ?? -1;
      if (id >= 0) symbols.push(id);
      else pushUnknown(alphabet.chars[byte] ?? "", symbols);
    }
  };

  const charSymbols = (word: string, symbols: IdBuffer): void => {
    for (let at = 0; at < word.length; at++) {
      const unit = word.charCodeAt(at);
      let id = chars.basic[unit] ?? -1;
      if ((unit & 0xfc00) === 0xd800) {
        const char = word.slice(at, at + 2);
        at++;
        id = chars.beyond.get(char) ?? -1;
        if (id < 0) pushUnknown(char, symbols);
      } else if (id < 0) pushUnknown(word.charAt(at), symbols);
      if (id >= 0) symbols.push(id);
    }
  };

  const encodeWord = (word: string, out: IdBuffer): void => {
    if (model.ignoreMerges) {
      const whole = idOf(bytes ? toByteChars(word, alphabet) : word);
      if (whole !== undefined) {
        out.push(whole);
        return;
      }
    }
    const symbols = new IdBuffer();
    if (bytes) byteSymbols(word, symbols);
    else charSymbols(word, symbols);
    const merged = symbols.slice(0);
    const count = mergeSymbols(merged, merged.length, table);
    for (let i = 0; i < count; i++) {
      const id = merged[i] ?? 0;
      // Beyond the vocabulary: a character that only longer tokens hold, and that stayed alone.
      if (id >= texts.length) pushUnknown(symbolTexts[id] ?? "", out);
      else out.push(id);
    }
  };

  const encodeCached = (word: string, out: IdBuffer): void => {
    if (word.length > CACHED_LENGTH) {
      encodeWord(word, out);
      return;
    }
    const known = cache.get(word);
    if (known !== undefined) {
      if (known.length === 1) out.push(known[0] ?? 0);
      else out.append(known);
      return;
    }
    const before = out.length;
    encodeWord(word, out);
    if (cache.size >= CACHED_WORDS) cache.clear();
    cache.set(word, out.slice(before));
  };

  return {
    encode(text, start, end, out) {
      let from = start;
      if (marksAreSafeAfter !== undefined) {
        for (let at = text.indexOf(MARK, start + 1); at >= 0 && at < end; at = text.indexOf(MARK, at + 1)) {
          if (marksAreSafeAfter[text.charCodeAt(at - 1)] !== 1) continue;
          encodeCached(text.slice(from, at), out);
          from = at;
        }
      }
      if (from < end) encodeCached(text.slice(from, end), out);
    },
  };
}

/** Symbols of single characters; those that only longer tokens hold get ids beyond the vocabulary. */
function charIds(spec: TokenizerSpec, idOf: (text: string) => number | undefined, symbolTexts: (string | undefined)[]): { basic: Int32Array; beyond: Map<string, number> } {
  const basic = new Int32Array(0x10000).fill(-1);
  const beyond = new Map<string, number>();
  const set = (char: string, id: number): void => {
    if (char.length === 1) basic[char.charCodeAt(0)] = id;
    else beyond.set(char, id);
  };
  const known = (char: string): boolean => (char.length === 1 ? (basic[char.charCodeAt(0)] ?? -1) >= 0 : beyond.has(char));
  for (const text of spec.texts) {
    if (text === undefined || text.length > 2 || text.length === 0) continue;
    const id = idOf(text);
    if (id !== undefined && text.length === ((text.codePointAt(0) ?? 0) > 0xffff ? 2 : 1)) set(text, id);
  }
  if (spec.model.merges.kind === "list") return { basic, beyond };
  for (const text of spec.texts) {
    for (const char of text ?? "") if (!known(char)) set(char, symbolTexts.push(char) - 1);
  }
  return { basic, beyond };
}

/** No merge gives a control token: text can't forge one. */
function mergeTable(spec: TokenizerSpec, idOf: (text: string) => number | undefined, symbolTexts: readonly (string | undefined)[]): MergeTable {
  const { merges } = spec.model;
  if (merges.kind === "list") return mergeTableFromList(merges.triples);
  const mergeable = (text: string): number | undefined => {
    const id = idOf(text);
    return id === undefined || spec.special.has(id) || fallbackByte(text) >= 0 ? undefined : id;
  };
  return mergeTableFromScores(symbolTexts, mergeable, merges.scores);
}

/**
 * Which code units (1) never stand before "▁" inside a token: there no merge can cross, and a text without spaces
 * of its own falls into words.
 */
function safeBeforeMark(texts: readonly (string | undefined)[]): Uint8Array | undefined {
  const safe = new Uint8Array(0x10000).fill(1);
  let marks = false;
  for (const text of texts) {
    if (text === undefined) continue;
    for (let at = text.indexOf(MARK); at >= 0; at = text.indexOf(MARK, at + 1)) {
      marks = true;
      if (at > 0) safe[text.charCodeAt(at - 1)] = 0;
    }
  }
  return marks ? safe : undefined;
}
