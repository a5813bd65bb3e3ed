/** The fixture of recipes/tokenizers/record_pieces.py, and each of its tokenizers as its makers' files give it. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import type { MetaObject, TokenizerSource } from "../../src/artifact/artifact.ts";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.ts";

export interface RecordedPieces {
  readonly made_with: string;
  /** The strings are randomText(seed, 0 … count − 1); `texts` are those whose ids are kept. */
  readonly seed: number;
  readonly count: number;
  readonly texts: readonly string[];
  /** Strings under one hash. */
  readonly block: number;
  readonly tokenizers: readonly RecordedTokenizer[];
}

/** One of the three descriptions is there. */
export interface RecordedTokenizer {
  readonly name: string;
  readonly tokenizer?: MetaObject;
  readonly gguf?: MetaObject;
  readonly tekken?: MetaObject;
  readonly ids: readonly (readonly number[])[];
  readonly decoded: readonly string[];
  readonly with_special?: readonly number[];
  /** Base64 of u32: a hash of the ids of each block. */
  readonly hashes: string;
}

export function recordedPieces(): RecordedPieces {
  const file = new URL("../fixtures/tokenizers/pieces.json.gz", import.meta.url);
  return JSON.parse(gunzipSync(readFileSync(file)).toString()) as RecordedPieces;
}

/** Does a text hold, as plain text, the name of a control token or of a byte that the vocabulary has? */
export function forges(text: string, tokenizer: Tokenizer, parseSpecial: boolean): boolean {
  const names = text.match(parseSpecial ? /<0x[0-9A-F]{2}>/g : /<0x[0-9A-F]{2}>|<\/?s>|<pad>|<unk>/g) ?? [];
  return names.some((name) => tokenizer.tokenId(name) !== undefined);
}

export function sourceOf({ name, tokenizer, gguf, tekken }: RecordedTokenizer): TokenizerSource {
  if (tokenizer !== undefined) return { format: "hf", tokenizer, config: {} };
  if (gguf !== undefined) return { format: "gguf", metadata: gguf };
  if (tekken !== undefined) return { format: "tekken", tekken };
  throw new Error(`the recorded tokenizer ${name} has no description`);
}
