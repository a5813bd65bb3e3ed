/**
 * Token ids → text. Tokens are bytes; text comes out as soon as its bytes are whole characters, so that a stream
 * never shows half a character.
 */
import { type ByteAlphabet, fromByteChars } from "./byte-alphabet.ts";
import { type DecoderSpec, fallbackByte, type TokenizerSpec } from "./spec.ts";

export interface Detokenizer {
  /** The bytes that a token adds to a text; of a control token its name. */
  bytes(id: number): Uint8Array;
}

/** `normalize`: of an added token that is matched in normalised text, that is what it stands for. */
export function createDetokenizer(
  spec: TokenizerSpec,
  normalize: (text: string) => string,
  alphabet: ByteAlphabet,
): Detokenizer {
  const { decoder, texts } = spec;
  const utf8 = new TextEncoder();
  const added = new Map(
    spec.added.map((token) => [token.id, token.normalized ? normalize(token.content) : token.content]),
  );
  const known: (Uint8Array | undefined)[] = [];

  const ordinary = (text: string): Uint8Array => {
    if (decoder.wordPiece !== undefined) return utf8.encode(wordPieceText(text, decoder.wordPiece));
    if (decoder.byteLevel) return fromByteChars(text, alphabet) ?? utf8.encode(text);
    const byte = decoder.byteFallback ? fallbackByte(text) : -1;
    return byte >= 0 ? Uint8Array.of(byte) : utf8.encode(replaced(text));
  };
  const replaced = (text: string): string =>
    decoder.replacements.reduce((current, [from, to]) => current.replaceAll(from, () => to), text);

  /**
   * A vocabulary's own token for a byte may be listed as an added one too. The bytes that never occur in UTF-8 are
   * the exception: only the character itself can have been meant (DeepSeek Coder's "õ").
   */
  const isByte = (content: string, id: number): boolean => {
    const byte = decoder.byteLevel && content.length === 1 ? (alphabet.bytes[content.charCodeAt(0)] ?? -1) : -1;
    return byte >= 0 && byte !== 0xc0 && byte !== 0xc1 && byte < 0xf5 && texts.indexOf(content) === id;
  };

  return {
    bytes(id) {
      let bytes = known[id];
      if (bytes === undefined) {
        const content = added.get(id);
        if (content === undefined || isByte(content, id) || decoder.wordPiece !== undefined)
          bytes = ordinary(texts[id] ?? "");
        else bytes = utf8.encode(spec.special.has(id) || decoder.byteLevel ? content : replaced(content));
        if (id >= 0 && id < texts.length) known[id] = bytes;
      }
      return bytes;
    },
  };
}

/** What BERT's decoder leaves out before marks and in contractions. */
const CLEANUPS: readonly (readonly [string, string])[] = [
  [" .", "."],
  [" ?", "?"],
  [" !", "!"],
  [" ,", ","],
  [" ' ", "'"],
  [" n't", "n't"],
  [" 'm", "'m"],
  [" do not", " don't"],
  [" 's", "'s"],
  [" 've", "'ve"],
  [" 're", "'re"],
];

/** A token goes on with a word, or begins one; the space at the beginning of a text is dropped elsewhere. */
function wordPieceText(text: string, { prefix, cleanup }: NonNullable<DecoderSpec["wordPiece"]>): string {
  const spaced = prefix !== "" && text.startsWith(prefix) ? text.slice(prefix.length) : ` ${text}`;
  if (!cleanup) return spaced;
  return CLEANUPS.reduce((current, [from, to]) => current.replaceAll(from, () => to), spaced);
}

/** Puts the bytes of tokens together to text. */
export class TextAssembler {
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  #dropSpace: boolean;

  /** `dropSpace`: the text's first character, where it is a space, stands for what encoding added. */
  constructor(dropSpace: boolean) {
    this.#dropSpace = dropSpace;
  }

  push(bytes: Uint8Array): string {
    return this.#trim(this.#decoder.decode(bytes, { stream: true }));
  }

  end(): string {
    return this.#trim(this.#decoder.decode());
  }

  #trim(text: string): string {
    if (!this.#dropSpace || text === "") return text;
    this.#dropSpace = false;
    return text.startsWith(" ") ? text.slice(1) : text;
  }
}
