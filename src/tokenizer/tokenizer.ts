/**
 * Text ↔ token ids. `createTokenizer` reads what a GGUF file or a Hugging Face folder says about its tokenizer and
 * gives one object that encodes, decodes and streams. Chat templates are in chat-template.ts; files are read by
 * artifact/.
 */
import type { TokenizerSource } from "../artifact/artifact.ts";
import { UnsupportedError } from "../errors.ts";

export interface EncodeOptions {
  /** Add BOS/EOS as the model's metadata says. Default true. */
  readonly addSpecial?: boolean;
  /** Parse special tokens written in the text ("<|im_end|>"). Default false. */
  readonly parseSpecial?: boolean;
}

export interface Tokenizer {
  readonly vocabSize: number;
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;
  /** Ids that end a turn or a text: eos, eot, eom and the like. */
  readonly stopIds: ReadonlySet<number>;
  readonly addBos: boolean;
  readonly addEos: boolean;
  encode(text: string, options?: EncodeOptions): Int32Array;
  /** `skipSpecial` leaves out control tokens; default true. */
  decode(ids: ArrayLike<number>, options?: { readonly skipSpecial?: boolean }): string;
  /** The bytes of one token as they appear in text (control tokens: empty unless withSpecial). */
  tokenBytes(id: number, withSpecial?: boolean): Uint8Array;
  /** The id of a special, added or ordinary token by its text. */
  tokenId(piece: string): number | undefined;
  /** For display. */
  tokenText(id: number): string;
  isSpecial(id: number): boolean;
  /** A streaming detokeniser: never emits half a character. */
  stream(options?: { readonly skipSpecial?: boolean }): DetokenizerStream;
}

export interface DetokenizerStream {
  push(id: number): string;
  /** What is left, invalid bytes as U+FFFD. */
  end(): string;
}

/** Throws ArtifactError where the vocabulary is malformed, UnsupportedError where it is of an unknown kind. */
export function createTokenizer(source: TokenizerSource): Tokenizer {
  throw new UnsupportedError(`tokenizers of format ${source.format} are not supported yet`);
}
