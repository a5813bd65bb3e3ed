/**
 * The model of a tokenizer: a piece of text → token ids, by byte-pair merging. Symbols are bytes (byte-level
 * vocabularies) or characters (SentencePiece ones, with bytes for what is unknown).
 */
import type { ByteAlphabet } from "./byte-alphabet.ts";
import { toByteChars } from "./byte-alphabet.ts";
import { IdBuffer } from "./id-buffer.ts";
import { type MergeTable, mergeTableFromList, mergeTableFromScores } from "./merge-table.ts";
import { Merger } from "./merger.ts";
import { createPieceEncoder, type PieceEncoder } from "./piece-encoder.ts";
import type { PreTokenizer } from "./pre-tokenizer.ts";
import { type BpeSpec, fallbackByte, type TokenizerSpec } from "./spec.ts";

/** Beyond this many symbols the scratch space is given back. */
const LONG_WORD = 1 << 16;

/** `idOf` knows the tokens that ordinary text may become, by their texts; `reserved` are the others. */
export function createBpeModel(
  texts: TokenizerSpec["texts"],
  model: BpeSpec,
  idOf: (text: string) => number | undefined,
  reserved: ReadonlySet<number>,
  alphabet: ByteAlphabet,
  preTokenizer: PreTokenizer,
): PieceEncoder {
  const { bytes, refine } = preTokenizer;
  const unknown = model.unknownId ?? -1;
  const symbolTexts = [...texts];
  const chars = charIds(texts, model, idOf, symbolTexts);
  const merger = new Merger(mergeTable(model, idOf, reserved, symbolTexts));
  const byteIds = Int32Array.from(
    { length: 256 },
    (_, byte) => (bytes ? idOf(alphabet.chars[byte] ?? "") : undefined) ?? -1,
  );
  const fallbackIds = Int32Array.from(
    { length: 256 },
    (_, byte) => idOf(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`) ?? -1,
  );
  const canFallBack = model.byteFallback;
  const utf8 = new TextEncoder();
  let scratch = new IdBuffer();

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

  const pushByte = (byte: number, symbols: IdBuffer): void => {
    const id = byteIds[byte] ?? -1;
    if (id >= 0) symbols.push(id);
    else pushUnknown(alphabet.chars[byte] ?? "", symbols);
  };

  const byteSymbols = (word: string, symbols: IdBuffer): void => {
    for (let at = 0; at < word.length; at++) {
      const unit = word.charCodeAt(at);
      if (unit >= 0x80) {
        for (const byte of utf8.encode(word.slice(at))) pushByte(byte, symbols);
        return;
      }
      pushByte(unit, symbols);
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
    scratch.clear();
    if (bytes) byteSymbols(word, scratch);
    else charSymbols(word, scratch);
    const symbols = scratch.view();
    const count = merger.merge(symbols, symbols.length);
    for (let i = 0; i < count; i++) {
      const id = symbols[i] ?? 0;
      // Beyond the vocabulary: a character that only longer tokens hold, and that stayed alone.
      if (id >= texts.length) pushUnknown(symbolTexts[id] ?? "", out);
      else out.push(id);
    }
    if (symbols.length > LONG_WORD) scratch = new IdBuffer();
  };

  // A merge that crosses a piece's border, or a whole piece that is a token, forbids to cut.
  return createPieceEncoder(encodeWord, refine, symbolTexts, !bytes && !model.ignoreMerges && refine === undefined);
}

/** Symbols of single characters; those that only longer tokens hold get ids beyond the vocabulary. */
function charIds(
  texts: TokenizerSpec["texts"],
  model: BpeSpec,
  idOf: (text: string) => number | undefined,
  symbolTexts: (string | undefined)[],
): { basic: Int32Array; beyond: Map<string, number> } {
  const basic = new Int32Array(0x10000).fill(-1);
  const beyond = new Map<string, number>();
  const set = (char: string, id: number): void => {
    if (char.length === 1) basic[char.charCodeAt(0)] = id;
    else beyond.set(char, id);
  };
  const known = (char: string): boolean =>
    char.length === 1 ? (basic[char.charCodeAt(0)] ?? -1) >= 0 : beyond.has(char);
  for (const text of texts) {
    if (text === undefined || text.length > 2 || text.length === 0) continue;
    const id = idOf(text);
    if (id !== undefined && text.length === ((text.codePointAt(0) ?? 0) > 0xffff ? 2 : 1)) set(text, id);
  }
  if (model.merges.kind === "list") return { basic, beyond };
  for (const text of texts) {
    for (const char of text ?? "") if (!known(char)) set(char, symbolTexts.push(char) - 1);
  }
  return { basic, beyond };
}

/** No merge gives a reserved token: text can't forge one. */
function mergeTable(
  model: BpeSpec,
  idOf: (text: string) => number | undefined,
  reserved: ReadonlySet<number>,
  symbolTexts: readonly (string | undefined)[],
): MergeTable {
  const { merges } = model;
  if (merges.kind === "list") return mergeTableFromList(merges.triples, reserved);
  const mergeable = (text: string): number | undefined => (fallbackByte(text) >= 0 ? undefined : idOf(text));
  return mergeTableFromScores(symbolTexts, mergeable, merges.scores);
}
