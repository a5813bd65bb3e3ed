/**
 * Text ↔ token ids. `createTokenizer` reads what a GGUF file, a Hugging Face folder or tekken.json says about its
 * tokenizer (gguf-spec.ts, hf-spec.ts, tekken-spec.ts) and puts the parts together: added tokens → normalizer →
 * pre-tokenizer → model, and back. Chat templates are chat/'s; files are read by artifact/.
 */
import type { TokenizerSource } from "../artifact/artifact.ts";
import { ArtifactError, MillraceError, UnsupportedError } from "../errors.ts";
import { type AddedToken, createAddedTokenMatcher } from "./added-tokens.ts";
import { createBpeModel } from "./bpe-model.ts";
import { type ByteAlphabet, byteAlphabet } from "./byte-alphabet.ts";
import { unicodeClasses } from "./code-points.ts";
import { createDetokenizer, TextAssembler } from "./detokenizer.ts";
import { createGreedyModel } from "./greedy-model.ts";
import { ggufSpec } from "./gguf-spec.ts";
import { hfSpec } from "./hf-spec.ts";
import { IdBuffer } from "./id-buffer.ts";
import type { MarkedText } from "./marked-text.ts";
import { createNormalizer } from "./normalizer.ts";
import type { PieceEncoder } from "./piece-encoder.ts";
import { createPreTokenizer, type PreTokenizer } from "./pre-tokenizer.ts";
import type { TokenizerSpec } from "./spec.ts";
import { tekkenSpec } from "./tekken-spec.ts";
import { isMarker, mayName } from "./token-trust.ts";
import { createUnigramModel } from "./unigram-model.ts";
import { createWordPieceModel } from "./word-piece-model.ts";

export interface EncodeOptions {
  /** Add BOS/EOS as the model's metadata says. Default true. */
  readonly addSpecial?: boolean;
  /** Parse special tokens written in the text ("<|im_end|>"). Default false. */
  readonly parseSpecial?: boolean;
}

export interface DecodeOptions {
  /** Leave out control tokens. Default true. */
  readonly skipSpecial?: boolean;
  /**
   * The ids go on after other text. Default false: where encoding puts a space before a text (Llama 2), decoding
   * drops it again.
   */
  readonly continues?: boolean;
  /** Control tokens that are part of the text all the same. Default: none. */
  readonly shows?: ReadonlySet<number>;
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
  /**
   * The ids of a text that a chat template made: those of `encode(text, {addSpecial: false, parseSpecial: true})`,
   * except that a message can't name tokens that its origin may not (token-trust.ts); there they are ordinary text.
   */
  encodeMarked(text: MarkedText): Int32Array;
  /** Invalid bytes become U+FFFD, ids beyond the vocabulary nothing. */
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string;
  /** The bytes of one token as they appear in text (control tokens: empty unless withSpecial). */
  tokenBytes(id: number, withSpecial?: boolean): Uint8Array;
  /** The id of a token by its text in the vocabulary: a special, added or ordinary one. */
  tokenId(piece: string): number | undefined;
  /** For display. */
  tokenText(id: number): string;
  isSpecial(id: number): boolean;
  /** A streaming detokeniser: never emits half a character. */
  stream(options?: DecodeOptions): DetokenizerStream;
}

export interface DetokenizerStream {
  push(id: number): string;
  /** What is left, invalid bytes as U+FFFD. */
  end(): string;
}

/** Throws ArtifactError where the vocabulary is malformed, UnsupportedError where it is of an unknown kind. */
export function createTokenizer(source: TokenizerSource): Tokenizer {
  try {
    return fromSpec(specOf(source));
  } catch (error) {
    if (source.name === undefined || !(error instanceof MillraceError)) throw error;
    const Kind = error instanceof UnsupportedError ? UnsupportedError : ArtifactError;
    throw new Kind(`${source.name}: ${error.message}`, { cause: error });
  }
}

function specOf(source: TokenizerSource): TokenizerSpec {
  switch (source.format) {
    case "gguf":
      return ggufSpec(source.metadata);
    case "hf":
      return hfSpec(source.tokenizer, source.config);
    case "tekken":
      return tekkenSpec(source.tekken);
    default:
      return source satisfies never;
  }
}

function createModel(
  { texts, model }: TokenizerSpec,
  ordinaryId: (text: string) => number | undefined,
  reserved: ReadonlySet<number>,
  alphabet: ByteAlphabet,
  preTokenizer: PreTokenizer,
): PieceEncoder {
  switch (model.kind) {
    case "bpe":
      return createBpeModel(texts, model, ordinaryId, reserved, alphabet, preTokenizer);
    case "wordPiece":
      return createWordPieceModel(model, ordinaryId, preTokenizer);
    case "unigram":
      return createUnigramModel(texts, model, ordinaryId, preTokenizer);
    case "greedy":
      return createGreedyModel(texts, ordinaryId, alphabet);
    default:
      return model satisfies never;
  }
}

function fromSpec(spec: TokenizerSpec): Tokenizer {
  const { special, texts } = spec;
  const classes = unicodeClasses();
  const alphabet = byteAlphabet();
  const ids = new Map<string, number>();
  texts.forEach((text, id) => {
    if (text !== undefined && !ids.has(text)) ids.set(text, id);
  });
  const normalizer = createNormalizer(spec.normalizer, classes);
  const preTokenizer = createPreTokenizer(spec.preTokenizer, classes, alphabet);
  // Control tokens and markers come from added tokens only: no text is merged into one.
  const reserved = new Set(special);
  for (const token of spec.added) if (isMarker(token)) reserved.add(token.id);
  const ordinaryId = (text: string): number | undefined => {
    const id = ids.get(text);
    return id === undefined || reserved.has(id) ? undefined : id;
  };
  const model = createModel(spec, ordinaryId, reserved, alphabet, preTokenizer);
  const before = createAddedTokenMatcher(
    spec.added.filter((token) => !token.normalized),
    (content) => content,
    classes,
  );
  const after = createAddedTokenMatcher(
    spec.added.filter((token) => token.normalized),
    normalizer.plain,
    classes,
  );
  const detokenizer = createDetokenizer(spec, normalizer.plain, alphabet);
  const nothing = new Uint8Array(0);

  const encodeSegment = (segment: string, atStart: boolean, out: IdBuffer): void => {
    const pieces = preTokenizer.split(segment, atStart);
    for (let i = 0; i < pieces.starts.length; i++)
      model.encode(pieces.text, pieces.starts[i] ?? 0, pieces.ends[i] ?? 0, out);
  };

  const tokenBytes = (id: number, withSpecial = false): Uint8Array =>
    special.has(id) && !withSpecial ? nothing : detokenizer.bytes(id);

  const dropsSpace = (options: DecodeOptions | undefined): boolean =>
    spec.decoder.stripLeadingSpace && options?.continues !== true;

  const stream = (options: DecodeOptions = {}): DetokenizerStream => {
    const { skipSpecial = true, shows } = options;
    const assembler = new TextAssembler(dropsSpace(options));
    const shown = (id: number): boolean => !skipSpecial || shows?.has(id) === true;
    return { push: (id) => assembler.push(tokenBytes(id, shown(id))), end: () => assembler.end() };
  };

  return {
    vocabSize: texts.length,
    bosId: spec.bosId,
    eosId: spec.eosId,
    stopIds: spec.stopIds,
    addBos: spec.prefix.length > 0,
    addEos: spec.suffix.length > 0,

    encode(text, options = {}) {
      const { addSpecial = true, parseSpecial = false } = options;
      const out = new IdBuffer();
      if (addSpecial) for (const id of spec.prefix) out.push(id);
      const whole = text.toWellFormed();
      before.split(whole, parseSpecial, (from, to, id) => {
        if (id >= 0) {
          out.push(id);
          return;
        }
        const segment = normalizer.plain(whole.slice(from, to));
        after.split(segment, parseSpecial, (innerFrom, innerTo, innerId) => {
          if (innerId >= 0) out.push(innerId);
          else encodeSegment(segment.slice(innerFrom, innerTo), from === 0 && innerFrom === 0, out);
        });
      });
      if (addSpecial) for (const id of spec.suffix) out.push(id);
      return out.slice(0);
    },

    encodeMarked(text) {
      const out = new IdBuffer();
      const whole = text.toWellFormed();
      const allowsIn =
        (where: MarkedText) =>
        (token: AddedToken, from: number, to: number): boolean =>
          mayName(token, special.has(token.id), where, from, to);
      const splitNormalized = (segment: MarkedText, atStart: boolean): void =>
        after.split(
          segment.value,
          true,
          (from, to, id) => {
            if (id >= 0) out.push(id);
            else encodeSegment(segment.value.slice(from, to), atStart && from === 0, out);
          },
          allowsIn(segment),
        );
      before.split(
        whole.value,
        true,
        (from, to, id) => {
          if (id >= 0) out.push(id);
          else splitNormalized(normalizer.marked(whole.slice(from, to)), from === 0);
        },
        allowsIn(whole),
      );
      return out.slice(0);
    },

    decode(list, options) {
      const withSpecial = options?.skipSpecial === false;
      let length = 0;
      for (let i = 0; i < list.length; i++) length += tokenBytes(list[i] ?? -1, withSpecial).length;
      const bytes = new Uint8Array(length);
      let at = 0;
      for (let i = 0; i < list.length; i++) {
        const token = tokenBytes(list[i] ?? -1, withSpecial);
        bytes.set(token, at);
        at += token.length;
      }
      const assembler = new TextAssembler(dropsSpace(options));
      return assembler.push(bytes) + assembler.end();
    },

    tokenBytes,
    tokenId: (piece) => ids.get(piece),
    tokenText: (id) => new TextDecoder().decode(tokenBytes(id, true)),
    isSpecial: (id) => special.has(id),
    stream,
  };
}
