/**
 * WordPiece (Schuster & Nakajima 2012, as BERT uses it): a word is cut from the left, each time the longest token that
 * fits; inside of a word tokens carry a prefix ("##ing"). A word that can't be cut so is one unknown token.
 */
import type { IdBuffer } from "./id-buffer.ts";
import { createPieceEncoder, type PieceEncoder } from "./piece-encoder.ts";
import type { PreTokenizer } from "./pre-tokenizer.ts";
import type { WordPieceSpec } from "./spec.ts";

export function createWordPieceModel(
  spec: WordPieceSpec,
  idOf: (text: string) => number | undefined,
  preTokenizer: PreTokenizer,
): PieceEncoder {
  const { prefix, unknownId, longestWord } = spec;

  const encodeWord = (word: string, out: IdBuffer): void => {
    const before = out.length;
    let unknown = characters(word) > longestWord;
    for (let start = 0; start < word.length && !unknown;) {
      let end = word.length;
      let id: number | undefined;
      while (start < end) {
        const part = word.slice(start, end);
        id = idOf(start === 0 ? part : prefix + part);
        if (id !== undefined) break;
        end -= (word.charCodeAt(end - 1) & 0xfc00) === 0xdc00 ? 2 : 1;
      }
      if (id === undefined) unknown = true;
      else out.push(id);
      start = end;
    }
    if (!unknown) return;
    out.length = before;
    if (unknownId !== undefined) out.push(unknownId);
  };

  return createPieceEncoder(encodeWord, preTokenizer.refine, [], false);
}

function characters(word: string): number {
  let count = 0;
  for (let at = 0; at < word.length; at++) if ((word.charCodeAt(at) & 0xfc00) !== 0xdc00) count++;
  return count;
}
