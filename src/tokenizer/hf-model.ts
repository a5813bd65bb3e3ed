/**
 * The model of a tokenizer.json (BPE, WordPiece or Unigram) and its vocabulary. A kind or an option that Millrace doesn't
 * know is an UnsupportedError, malformed fields are ArtifactErrors.
 */
import type { MetaObject, MetaValue } from "../artifact/artifact.ts";
import { ArtifactError, UnsupportedError } from "../errors.ts";
import { flag, isList, listField, objectField, shown, stringField } from "./json-fields.ts";
import { parseMerges } from "./merges.ts";
import type { ModelSpec, UnigramSpec } from "./spec.ts";

const WHERE = "tokenizer.json, model";
/** Far above any published vocabulary: bounds the tables that an id indexes. */
const MAX_ID = 1 << 22;
/** BERT's limit where a file is silent. */
const LONGEST_WORD = 100;

interface ModelAndTexts {
  readonly texts: (string | undefined)[];
  readonly model: ModelSpec;
}

export function readId(id: MetaValue | undefined, where: string): number {
  if (typeof id === "number" && Number.isInteger(id) && id >= 0 && id < MAX_ID) return id;
  throw new ArtifactError(`${where}: a token's id should be a whole number below ${MAX_ID}, found ${shown(id)}`);
}

export function readModel(model: MetaObject): ModelAndTexts {
  // Old files don't say: only Unigram's vocabulary is a list, only WordPiece has a longest word.
  const guess = isList(model["vocab"]) ? "Unigram" : "max_input_chars_per_word" in model ? "WordPiece" : "BPE";
  const type = stringField(model, "type", WHERE, guess);
  switch (type) {
    case "BPE":
      return readBpe(model);
    case "WordPiece":
      return readWordPiece(model);
    case "Unigram":
      return readUnigram(model);
    default:
      throw new UnsupportedError(
        `the tokenizer model ${JSON.stringify(type)} is not supported; Millrace reads BPE, WordPiece and Unigram`,
      );
  }
}

function readBpe(model: MetaObject): ModelAndTexts {
  for (const key of ["continuing_subword_prefix", "end_of_word_suffix"]) {
    if (typeof model[key] === "string" && model[key] !== "")
      throw new UnsupportedError(`the tokenizer's ${key} is not supported`);
  }
  const { ids, texts } = readVocabulary(model);
  const triples = parseMerges(listField(model, "merges", WHERE), `${WHERE}.merges`, (text) => ids.get(text));
  const unknown = model["unk_token"];
  return {
    texts,
    model: {
      kind: "bpe",
      merges: { kind: "list", triples },
      byteFallback: flag(model, "byte_fallback", WHERE, false),
      unknownId: typeof unknown === "string" ? ids.get(unknown) : undefined,
      fuseUnknown: flag(model, "fuse_unk", WHERE, false),
      ignoreMerges: flag(model, "ignore_merges", WHERE, false),
    },
  };
}

function readWordPiece(model: MetaObject): ModelAndTexts {
  const { ids, texts } = readVocabulary(model);
  const longest = model["max_input_chars_per_word"] ?? LONGEST_WORD;
  if (typeof longest !== "number" || !(longest >= 0))
    throw new ArtifactError(`${WHERE}: max_input_chars_per_word should be a number, found ${shown(longest)}`);
  return {
    texts,
    model: {
      kind: "wordPiece",
      prefix: stringField(model, "continuing_subword_prefix", WHERE, "##"),
      unknownId: ids.get(stringField(model, "unk_token", WHERE, "[UNK]")),
      longestWord: longest,
    },
  };
}

/** `vocab`: [text, score] for each id. */
function readUnigram(model: MetaObject): ModelAndTexts {
  const vocab = listField(model, "vocab", WHERE);
  if (vocab.length === 0) throw new ArtifactError(`${WHERE}: vocab is empty`);
  if (vocab.length > MAX_ID)
    throw new ArtifactError(`${WHERE}: vocab has ${vocab.length} entries, more than ${MAX_ID}`);
  const scores = new Float64Array(vocab.length);
  const texts = vocab.map((entry, id) => {
    const [text, score] = isList(entry) ? entry : [];
    if (typeof text !== "string" || typeof score !== "number" || !Number.isFinite(score))
      throw new ArtifactError(`${WHERE}: vocab[${id}] should be a text and a number, found ${shown(entry)}`);
    scores[id] = roundedTwice(score);
    return text;
  });
  const spec: UnigramSpec = {
    kind: "unigram",
    scores,
    unknownId: typeof model["unk_id"] === "number" ? unknownOf(model["unk_id"], vocab.length) : undefined,
    byteFallback: flag(model, "byte_fallback", WHERE, false),
  };
  return { texts, model: spec };
}

/**
 * A number as Hugging Face's reader of JSON takes it: the digits as a whole number, rounded, divided by a power of ten,
 * rounded again. Cuts that consist of equal tokens in another order differ by such roundings alone.
 */
function roundedTwice(score: number): number {
  const [, whole = "0", fraction = "", power = "0"] =
    /^(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(Math.abs(score))) ?? [];
  const exponent = Number(power) - fraction.length;
  const digits = Number(whole + fraction);
  const value = exponent < 0 ? digits / Number(`1e${-exponent}`) : digits * Number(`1e${exponent}`);
  return score < 0 ? -value : value;
}

function unknownOf(value: number, count: number): number {
  const id = readId(value, WHERE);
  if (id >= count) throw new ArtifactError(`${WHERE}: unk_id ${id} is beyond the vocabulary of ${count} tokens`);
  return id;
}

function readVocabulary(model: MetaObject): {
  readonly ids: ReadonlyMap<string, number>;
  readonly texts: (string | undefined)[];
} {
  const ids = new Map<string, number>();
  const texts: (string | undefined)[] = [];
  for (const [text, value] of Object.entries(objectField(model, "vocab", WHERE))) {
    const id = readId(value, `${WHERE}.vocab`);
    ids.set(text, id);
    texts[id] = text;
  }
  if (ids.size === 0) throw new ArtifactError(`${WHERE}: vocab is empty`);
  // Holes become plain undefined, so that the list is dense.
  return { ids, texts: Array.from(texts, (text) => text) };
}
