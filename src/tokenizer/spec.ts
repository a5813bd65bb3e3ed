/**
 * TokenizerSpec: what a tokenizer is, whichever file it came from. gguf-spec.ts and hf-spec.ts make one; tokenizer.ts
 * builds the tokenizer from it. Normalizer and pre-tokenizer are described in tokenizer.json's terms in both cases.
 */
import type { MetaValue } from "../artifact/artifact.ts";
import type { AddedToken } from "./added-tokens.ts";

export interface TokenizerSpec {
  /** The vocabulary's own writing of each token; undefined where an id is not used. */
  readonly texts: readonly (string | undefined)[];
  readonly added: readonly AddedToken[];
  /** Control tokens: not part of decoded text. */
  readonly special: ReadonlySet<number>;
  readonly normalizer: MetaValue | undefined;
  readonly preTokenizer: MetaValue | undefined;
  readonly model: ModelSpec;
  readonly decoder: DecoderSpec;
  /** Ids put before and behind a text. */
  readonly prefix: readonly number[];
  readonly suffix: readonly number[];
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;
  readonly stopIds: ReadonlySet<number>;
}

/** How a piece of text becomes tokens. */
export type ModelSpec = BpeSpec | WordPieceSpec | UnigramSpec | GreedySpec;

export interface BpeSpec {
  readonly kind: "bpe";
  /** Left, right and result ids in order of rank; or the score of each token (SentencePiece). */
  readonly merges:
    | { readonly kind: "list"; readonly triples: Int32Array }
    | { readonly kind: "scores"; readonly scores: Float32Array };
  /** An unknown character becomes the tokens <0x00> … <0xFF> of its UTF-8 bytes. */
  readonly byteFallback: boolean;
  readonly unknownId: number | undefined;
  /** Several unknown characters in a row are one token. */
  readonly fuseUnknown: boolean;
  /** A piece that is a token stays whole, whatever the merges. */
  readonly ignoreMerges: boolean;
}

/** BERT's: the longest token that fits, again and again; a word that can't be put together is unknown as a whole. */
export interface WordPieceSpec {
  readonly kind: "wordPiece";
  /** What stands before a token that goes on with a word ("##"). */
  readonly prefix: string;
  readonly unknownId: number | undefined;
  /** Longer words, in characters, are unknown. */
  readonly longestWord: number;
}

/** SentencePiece's: the tokens whose scores (logarithms of probabilities) sum up to the most (Kudo 2018). */
export interface UnigramSpec {
  readonly kind: "unigram";
  /** By id. */
  readonly scores: ArrayLike<number>;
  readonly unknownId: number | undefined;
  /** Unknown characters become the tokens <0x00> … <0xFF> of their UTF-8 bytes. */
  readonly byteFallback: boolean;
}

/** RWKV's: the longest token that fits, byte by byte; tokens are written in GPT-2's byte alphabet. */
export interface GreedySpec {
  readonly kind: "greedy";
}

export interface DecoderSpec {
  /** Tokens are written in GPT-2's byte alphabet. */
  readonly byteLevel: boolean;
  /** <0x00> … <0xFF> stand for bytes. */
  readonly byteFallback: boolean;
  /** Texts replaced in each token, in this order ("▁" by " "). */
  readonly replacements: readonly (readonly [string, string])[];
  /** Drop one space at the beginning of a decoded text: it stands for the one that encoding put there. */
  readonly stripLeadingSpace: boolean;
  /** Tokens with this prefix go on with a word, the others begin one behind a space; `cleanup` puts marks to the word before. */
  readonly wordPiece?: { readonly prefix: string; readonly cleanup: boolean };
}

/**
 * The control tokens by which published models end a turn or a text, beside the one that the metadata names. `has`: what the
 * vocabulary holds. In gpt-oss's "<|end|>" ends one of several messages, and others end the answer.
 */
export function stopTexts(has: (text: string) => boolean): ReadonlySet<string> {
  if (!has("<|return|>") || !has("<|call|>")) return STOP_TEXTS;
  return new Set([...STOP_TEXTS].filter((text) => text !== "<|end|>"));
}

const STOP_TEXTS: ReadonlySet<string> = new Set([
  "<|eot_id|>",
  "<|eom_id|>",
  "<|im_end|>",
  "<|end|>",
  "<|return|>",
  "<|call|>",
  "<end_of_turn>",
  "<turn|>",
  "<|endoftext|>",
  "<|end_of_text|>",
  "<|eos|>",
  "<EOT>",
  "<|EOT|>",
  "_<EOT>",
  "[EOT]",
  "[EOS]",
  "</s>",
  "<eos>",
  "<｜end▁of▁sentence｜>",
  "<|end_of_sentence|>",
  "<end_of_utterance>",
  "<|END_OF_TURN_TOKEN|>",
]);

/** The byte of a token "<0x0A>", or −1. */
export function fallbackByte(text: string): number {
  return /^<0x[0-9A-F]{2}>$/.test(text) ? Number.parseInt(text.slice(3, 5), 16) : -1;
}
