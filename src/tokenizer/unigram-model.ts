/**
 * Unigram (Kudo 2018): of all ways to cut a piece into tokens the one whose scores sum up to the most, found from left to
 * right (Viterbi 1967). A character that no token begins and ends with costs more than any token; runs of such are one
 * unknown token, or their bytes.
 */
import type { IdBuffer } from "./id-buffer.ts";
import { createPieceEncoder, type PieceEncoder } from "./piece-encoder.ts";
import type { PreTokenizer } from "./pre-tokenizer.ts";
import { fallbackByte, type TokenizerSpec, type UnigramSpec } from "./spec.ts";
import { UnitTrie } from "./unit-trie.ts";

/** An unknown character scores so much less than the least likely token (SentencePiece's constant). */
const UNKNOWN_PENALTY = 10;
const UNKNOWN = -1;

export function createUnigramModel(
  texts: TokenizerSpec["texts"],
  spec: UnigramSpec,
  idOf: (text: string) => number | undefined,
  preTokenizer: PreTokenizer,
): PieceEncoder {
  const { scores, unknownId, byteFallback } = spec;
  const trie = new UnitTrie();
  let least = 0;
  texts.forEach((text, id) => {
    least = Math.min(least, scores[id] ?? 0);
    if (text === undefined || text === "" || idOf(text) !== id || (byteFallback && fallbackByte(text) >= 0)) return;
    trie.add(unitsOf(text), id);
  });
  const unknownScore = least - UNKNOWN_PENALTY;
  const utf8 = new TextEncoder();
  const byteIds = Array.from({ length: 256 }, (_, byte) => (byteFallback ? idOf(byteText(byte)) : undefined) ?? -1);
  // For each place of a word: the best score of a cut that ends here, where its last token begins, and that token.
  let best = new Float64Array(256);
  let begins = new Int32Array(256);
  let tokens = new Int32Array(256);

  const offer = (end: number, score: number, begin: number, token: number): void => {
    if ((begins[end] ?? -1) >= 0 && score <= (best[end] ?? 0)) return;
    best[end] = score;
    begins[end] = begin;
    tokens[end] = token;
  };

  const pushUnknown = (text: string, out: IdBuffer): void => {
    const bytes = byteFallback ? utf8.encode(text) : [];
    if (byteFallback && bytes.every((byte) => (byteIds[byte] ?? -1) >= 0))
      for (const byte of bytes) out.push(byteIds[byte] ?? -1);
    else if (unknownId !== undefined) out.push(unknownId);
  };

  const encodeWord = (word: string, out: IdBuffer): void => {
    if (word.length + 1 > best.length) {
      const size = 2 * word.length;
      [best, begins, tokens] = [new Float64Array(size), new Int32Array(size), new Int32Array(size)];
    }
    best[0] = 0;
    begins.fill(-1, 0, word.length + 1);
    for (let at = 0; at < word.length;) {
      const score = best[at] ?? 0;
      const next = at + ((word.charCodeAt(at) & 0xfc00) === 0xd800 ? 2 : 1);
      let single = false;
      let node = trie.child(0, word.charCodeAt(at));
      for (let end = at + 1; node !== 0; end++) {
        const token = trie.token(node);
        if (token >= 0) {
          offer(end, score + (scores[token] ?? 0), at, token);
          single ||= end === next;
        }
        node = end < word.length ? trie.child(node, word.charCodeAt(end)) : 0;
      }
      if (!single) offer(next, score + unknownScore, at, UNKNOWN);
      at = next;
    }

    // Backwards along the cut; then its tokens in order, unknown neighbours joined.
    let count = 0;
    for (let end = word.length; end > 0; end = begins[end] ?? 0) best[count++] = end;
    for (let i = count - 1; i >= 0; i--) {
      let end = best[i] ?? 0;
      const token = tokens[end] ?? UNKNOWN;
      if (token !== UNKNOWN) {
        out.push(token);
        continue;
      }
      const begin = begins[end] ?? 0;
      while (i > 0 && tokens[best[i - 1] ?? 0] === UNKNOWN) end = best[--i] ?? 0;
      pushUnknown(word.slice(begin, end), out);
    }
  };

  // A whole text is never cut at its marks: among equal cuts the rounding of the sum decides, which begins with the text.
  return createPieceEncoder(encodeWord, preTokenizer.refine, texts, false);
}

function byteText(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
}

function unitsOf(text: string): Uint16Array {
  return Uint16Array.from({ length: text.length }, (_, i) => text.charCodeAt(i));
}
