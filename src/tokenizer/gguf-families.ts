/**
 * The kinds of tokenizer that a GGUF file names in "tokenizer.ggml.model": what each makes of the metadata, and how its
 * tokens are written. gguf-spec.ts reads what all of them share.
 */
import type { MetaObject, MetaValue } from "../artifact/artifact.ts";
import { ArtifactError, UnsupportedError } from "../errors.ts";
import { byteAlphabet } from "./byte-alphabet.ts";
import { isList, shown } from "./json-fields.ts";
import { parseMerges } from "./merges.ts";
import { namedPreTokenizer } from "./pre-tokenizer-names.ts";
import type { BpeSpec, DecoderSpec, ModelSpec } from "./spec.ts";

export const PREFIX = "tokenizer.ggml.";
const NORMAL = 1;
const MARK_SPACES: MetaObject = { type: "Replace", pattern: { String: " " }, content: "▁" };
const DUMMY_PREFIX: MetaObject = { type: "Prepend", prepend: "▁" };
/** BERT's limit, which GGUF has no key for. */
const LONGEST_WORD = 100;

export interface Family {
  /** The vocabulary as the model reads it. */
  readonly texts: readonly string[];
  readonly normalizer: MetaObject | undefined;
  readonly preTokenizer: MetaObject | undefined;
  readonly model: ModelSpec;
  readonly decoder: DecoderSpec;
  readonly addBos: boolean;
  readonly addEos?: boolean;
  /** BERT's: a separator behind the text. */
  readonly addSeparator?: boolean;
  /** Ids of named tokens where the metadata gives none. */
  readonly defaults: readonly (readonly [string, number])[];
}

/** `texts` and `types`: the tokens as the file writes them. */
export function readFamily(
  kind: string,
  metadata: MetaObject,
  texts: readonly string[],
  types: ArrayLike<number>,
): Family {
  switch (kind) {
    case "gpt2":
      return byteLevelFamily(metadata, texts);
    case "llama":
      return sentencePieceFamily(metadata, texts);
    case "bert":
      return wordPieceFamily(metadata, texts, types);
    case "t5":
      return unigramFamily(metadata, texts);
    case "rwkv":
      return rwkvFamily(texts, types);
    case "gemma4":
      return {
        texts,
        normalizer: MARK_SPACES,
        preTokenizer: { type: "Split", pattern: { Regex: "[^\\n]+|[\\n]+" }, behavior: "Isolated", invert: false },
        model: {
          kind: "bpe",
          merges: readMerges(metadata, idsByText(texts)),
          byteFallback: true,
          unknownId: undefined,
          fuseUnknown: true,
          ignoreMerges: false,
        },
        decoder: { byteLevel: false, byteFallback: true, replacements: [["▁", " "]], stripLeadingSpace: false },
        addBos: true,
        defaults: [],
      };
    default:
      throw new UnsupportedError(
        `the tokenizer model ${JSON.stringify(kind)} is not supported; Millrace reads "gpt2" (byte-level BPE), "llama" (SentencePiece BPE), "gemma4", "bert" (WordPiece), "t5" (Unigram) and "rwkv"`,
      );
  }
}

function byteLevelFamily(metadata: MetaObject, texts: readonly string[]): Family {
  const name = metadata[`${PREFIX}pre`] ?? "default";
  const known = typeof name === "string" ? namedPreTokenizer(name) : undefined;
  if (known === undefined)
    throw new UnsupportedError(`the pre-tokenizer ${shown(name)} (${PREFIX}pre) is not supported`);
  return {
    texts,
    normalizer: known.normalizer,
    preTokenizer: known.preTokenizer,
    model: {
      kind: "bpe",
      merges: readMerges(metadata, idsByText(texts)),
      byteFallback: false,
      unknownId: undefined,
      fuseUnknown: false,
      ignoreMerges: known.ignoreMerges ?? false,
    },
    decoder: { byteLevel: true, byteFallback: false, replacements: [], stripLeadingSpace: false },
    addBos: known.addBos ?? false,
    defaults: [],
  };
}

function sentencePieceFamily(metadata: MetaObject, texts: readonly string[]): Family {
  const dummy = readFlag(metadata, `${PREFIX}add_space_prefix`, true);
  return {
    texts,
    normalizer: dummy ? { type: "Sequence", normalizers: [DUMMY_PREFIX, MARK_SPACES] } : MARK_SPACES,
    preTokenizer: undefined,
    model: {
      kind: "bpe",
      merges: { kind: "scores", scores: readScores(metadata, texts.length) },
      byteFallback: true,
      unknownId: undefined,
      fuseUnknown: true,
      ignoreMerges: false,
    },
    decoder: { byteLevel: false, byteFallback: true, replacements: [["▁", " "]], stripLeadingSpace: dummy },
    addBos: true,
    defaults: [
      ["unknown", 0],
      ["bos", 1],
      ["eos", 2],
    ],
  };
}

/** The converter writes "▁word" for a token that begins a word, and what goes on with one without its "##". */
function wordPieceFamily(metadata: MetaObject, texts: readonly string[], types: ArrayLike<number>): Family {
  const lower = readFlag(metadata, `${PREFIX}normalizer.lowercase`, true);
  return {
    texts: texts.map((text, id) => {
      if (types[id] !== NORMAL) return text;
      return text.startsWith("▁") ? text.slice(1) : `##${text}`;
    }),
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: readFlag(metadata, `${PREFIX}normalizer.strip_accents`, lower),
      lowercase: lower,
    },
    preTokenizer: { type: "BertPreTokenizer" },
    model: { kind: "wordPiece", prefix: "##", unknownId: undefined, longestWord: LONGEST_WORD },
    decoder: {
      byteLevel: false,
      byteFallback: false,
      replacements: [],
      stripLeadingSpace: true,
      wordPiece: { prefix: "##", cleanup: true },
    },
    addBos: true,
    addSeparator: true,
    defaults: [
      ["unknown", 100],
      ["cls", 101],
      ["separator", 102],
    ],
  };
}

function unigramFamily(metadata: MetaObject, texts: readonly string[]): Family {
  const dummy = readFlag(metadata, `${PREFIX}add_space_prefix`, true);
  const map = metadata[`${PREFIX}precompiled_charsmap`];
  const steps: MetaObject[] = [];
  if (map !== undefined) steps.push({ type: "Precompiled", precompiled_charsmap: map });
  if (readFlag(metadata, `${PREFIX}remove_extra_whitespaces`, false)) {
    steps.push({ type: "Strip", strip_left: true, strip_right: true });
    steps.push({ type: "Replace", pattern: { Regex: " {2,}" }, content: " " });
  }
  return {
    texts,
    normalizer: { type: "Sequence", normalizers: steps },
    preTokenizer: {
      type: "Metaspace",
      replacement: "▁",
      prepend_scheme: dummy ? "always" : "never",
      split: true,
    },
    model: { kind: "unigram", scores: readScores(metadata, texts.length), unknownId: undefined, byteFallback: false },
    decoder: { byteLevel: false, byteFallback: false, replacements: [["▁", " "]], stripLeadingSpace: dummy },
    addBos: false,
    addEos: true,
    defaults: [
      ["unknown", 2],
      ["eos", 1],
    ],
  };
}

/** Tokens are bytes, written as Python would: "\\xe4\\xbd", "\\n". */
function rwkvFamily(texts: readonly string[], types: ArrayLike<number>): Family {
  const { chars } = byteAlphabet();
  const utf8 = new TextEncoder();
  return {
    texts: texts.map((text, id) => {
      if (types[id] !== NORMAL) return text;
      return Array.from(unescaped(text, utf8), (byte) => chars[byte] ?? "").join("");
    }),
    normalizer: undefined,
    preTokenizer: undefined,
    model: { kind: "greedy" },
    decoder: { byteLevel: true, byteFallback: false, replacements: [], stripLeadingSpace: false },
    addBos: false,
    defaults: [],
  };
}

const ESCAPES: Readonly<Record<string, number>> = { t: 9, n: 10, r: 13 };

function unescaped(text: string, utf8: TextEncoder): number[] {
  const bytes: number[] = [];
  for (const [, hex, escape, plain] of text.matchAll(/\\x([0-9a-fA-F]{2})|\\(.)|([^\\]+|\\)/gsu)) {
    if (hex !== undefined) bytes.push(Number.parseInt(hex, 16));
    else if (escape !== undefined)
      bytes.push(...(ESCAPES[escape] === undefined ? utf8.encode(escape) : [ESCAPES[escape]]));
    else bytes.push(...utf8.encode(plain ?? ""));
  }
  return bytes;
}

/** The first id of each text. */
export function idsByText(texts: readonly string[]): Map<string, number> {
  const ids = new Map<string, number>();
  texts.forEach((text, id) => {
    if (!ids.has(text)) ids.set(text, id);
  });
  return ids;
}

function readScores(metadata: MetaObject, count: number): Float32Array {
  const key = `${PREFIX}scores`;
  const scores = Float32Array.from(numbers(metadata[key], key, count));
  const bad = scores.findIndex(Number.isNaN);
  if (bad >= 0) throw new ArtifactError(`${key}[${bad}] should be a number, found NaN`);
  return scores;
}

export function numbers(list: MetaValue | undefined, key: string, count: number): ArrayLike<number> {
  const found = isList(list) || ArrayBuffer.isView(list) ? list.length : undefined;
  if (found !== count)
    throw new ArtifactError(`${key} should hold ${count} numbers, one for each token, found ${found ?? "no list"}`);
  if (ArrayBuffer.isView(list)) return list;
  if (!isList(list)) throw new ArtifactError(`${key} should be a list`);
  return list.map((value) => {
    if (typeof value !== "number") throw new ArtifactError(`${key} should hold numbers, found ${shown(value)}`);
    return value;
  });
}

function readMerges(metadata: MetaObject, ids: ReadonlyMap<string, number>): BpeSpec["merges"] {
  const key = `${PREFIX}merges`;
  const list = metadata[key];
  if (!isList(list)) throw new ArtifactError(`${key} should be a list of texts, found ${shown(list)}`);
  return { kind: "list", triples: parseMerges(list, key, (text) => ids.get(text)) };
}

export function readFlag(metadata: MetaObject, key: string, missing: boolean): boolean {
  const value = metadata[key];
  if (value === undefined) return missing;
  if (typeof value !== "boolean") throw new ArtifactError(`${key} should be true or false, found ${shown(value)}`);
  return value;
}
