/**
 * Remembers what words become: whatever the model is, running text costs one look-up a word. A piece of the
 * pre-tokenizer is cut further where its own words are known (refinement) or where no token can cross ("▁").
 */
import type { IdBuffer } from "./id-buffer.ts";
import type { PreTokenizer } from "./pre-tokenizer.ts";
import { WordCache } from "./word-cache.ts";

/** Appends the ids of a word. */
export type WordEncoder = (word: string, out: IdBuffer) => void;

export interface PieceEncoder {
  /** Appends the ids of `text[start, end)`, one piece of the pre-tokenizer. */
  encode(text: string, start: number, end: number, out: IdBuffer): void;
}

const MARK = "▁";

/** `cutsAtMarks`: the ids of a text are those of its parts, where it is cut before a "▁" that no token holds inside. */
export function createPieceEncoder(
  encodeWord: WordEncoder,
  refine: PreTokenizer["refine"],
  texts: readonly (string | undefined)[],
  cutsAtMarks: boolean,
): PieceEncoder {
  const marksAreSafeAfter = cutsAtMarks ? safeBeforeMark(texts) : undefined;
  const words = new WordCache();
  const refined = refine === undefined ? undefined : new WordCache();

  /** By the cache where it has the word, else by `encodeNew`, and into the cache. */
  const cached = (
    cache: WordCache,
    encodeNew: WordEncoder,
    text: string,
    start: number,
    end: number,
    out: IdBuffer,
  ): void => {
    if (end - start > WordCache.maxLength) {
      encodeNew(text.slice(start, end), out);
      return;
    }
    const entry = cache.find(text, start, end);
    if (entry >= 0) {
      const first = cache.firstId(entry);
      const count = cache.idCount(entry);
      for (let i = first; i < first + count; i++) out.push(cache.id(i));
      return;
    }
    const hash = cache.lastHash;
    const before = out.length;
    encodeNew(text.slice(start, end), out);
    cache.add(hash, text, start, end, out.view().subarray(before));
  };

  const encodeRefined = (piece: string, out: IdBuffer): void => {
    if (refine === undefined) return;
    const { text, starts, ends } = refine(piece);
    for (let i = 0; i < starts.length; i++) cached(words, encodeWord, text, starts[i] ?? 0, ends[i] ?? 0, out);
  };

  const encodeCached = (text: string, start: number, end: number, out: IdBuffer): void => {
    if (refined === undefined) cached(words, encodeWord, text, start, end, out);
    else cached(refined, encodeRefined, text, start, end, out);
  };

  return {
    encode(text, start, end, out) {
      let from = start;
      if (marksAreSafeAfter !== undefined) {
        for (let at = text.indexOf(MARK, start + 1); at >= 0 && at < end; at = text.indexOf(MARK, at + 1)) {
          if (marksAreSafeAfter[text.charCodeAt(at - 1)] !== 1) continue;
          encodeCached(text, from, at, out);
          from = at;
        }
      }
      if (from < end) encodeCached(text, from, end, out);
    },
  };
}

/**
 * Which code units (1) never stand before "▁" inside a token: there no token can cross, and a text without spaces of its
 * own falls into words.
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
