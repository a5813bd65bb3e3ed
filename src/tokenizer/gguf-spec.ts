/**
 * GGUF metadata ("tokenizer.ggml.…") → TokenizerSpec. Every field is checked: a wrong length, a missing list or an id
 * out of range is an ArtifactError that names it.
 */
import type { MetaObject, MetaValue } from "../artifact/artifact.ts";
import { ArtifactError, UnsupportedError } from "../errors.ts";
import type { AddedToken } from "./added-tokens.ts";
import { isList, shown } from "./json-fields.ts";
import { parseMerges } from "./merges.ts";
import { namedPreTokenizer } from "./pre-tokenizer-names.ts";
import { type DecoderSpec, type ModelSpec, STOP_TEXTS, type TokenizerSpec } from "./spec.ts";

const NORMAL = 1;
const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;
const BYTE = 6;

const PREFIX = "tokenizer.ggml.";
const SPECIAL_KEYS = ["bos", "eos", "eot", "eom", "unknown", "separator", "padding"] as const;
const MARK_SPACES: MetaObject = { type: "Replace", pattern: { String: " " }, content: "▁" };
const DUMMY_PREFIX: MetaObject = { type: "Prepend", prepend: "▁" };

export function ggufSpec(metadata: MetaObject): TokenizerSpec {
  const kind = metadata[`${PREFIX}model`];
  if (typeof kind !== "string") throw new ArtifactError(`the model has no tokenizer (${PREFIX}model is missing)`);
  const texts = readTexts(metadata);
  const types = readTypes(metadata, texts.length);
  const ids = new Map<string, number>();
  texts.forEach((text, id) => {
    if (!ids.has(text)) ids.set(text, id);
  });

  const named = new Map<string, number>();
  for (const key of SPECIAL_KEYS) {
    const id = readId(metadata, `${PREFIX}${key}_token_id`, texts.length);
    if (id !== undefined) named.set(key, id);
  }
  const family = readFamily(kind, metadata, ids, texts);
  for (const [key, id] of family.defaults) if (!named.has(key) && id < texts.length) named.set(key, id);

  const special = new Set<number>();
  types.forEach((type, id) => {
    if (type === CONTROL || type === UNKNOWN) special.add(id);
  });
  // A stop token is a control token, even where a converter forgot to say so.
  for (const key of ["bos", "eos", "eot", "eom"]) {
    const id = named.get(key);
    if (id !== undefined && types[id] !== BYTE) special.add(id);
  }
  const added = addedTokens(texts, types, special, stripsBehind(metadata));
  const bosId = named.get("bos");
  const eosId = named.get("eos");
  const addBos = readFlag(metadata, `${PREFIX}add_bos_token`, family.addBos);
  const addEos = readFlag(metadata, `${PREFIX}add_eos_token`, false);

  const stopIds = new Set<number>();
  for (const key of ["eos", "eot", "eom"]) {
    const id = named.get(key);
    if (id !== undefined) stopIds.add(id);
  }
  for (const text of STOP_TEXTS) {
    const id = ids.get(text);
    if (id !== undefined && (types[id] === CONTROL || types[id] === USER_DEFINED)) {
      stopIds.add(id);
      // Not to be shown; in a text it counts as its makers say, hence not in `added`.
      special.add(id);
    }
  }

  return {
    texts,
    added,
    special,
    normalizer: family.normalizer,
    preTokenizer: family.preTokenizer,
    // A byte-level vocabulary has no unknown text: a byte that it lacks is dropped, as its makers' tokenizers do.
    model: { ...family.model, unknownId: family.decoder.byteLevel ? undefined : named.get("unknown") },
    decoder: family.decoder,
    prefix: addBos && bosId !== undefined ? [bosId] : [],
    suffix: addEos && eosId !== undefined ? [eosId] : [],
    bosId,
    eosId,
    stopIds,
  };
}

interface Family {
  readonly normalizer: MetaObject | undefined;
  readonly preTokenizer: MetaObject | undefined;
  readonly model: ModelSpec;
  readonly decoder: DecoderSpec;
  readonly addBos: boolean;
  /** Ids of named tokens where the metadata gives none. */
  readonly defaults: readonly (readonly [string, number])[];
}

function readFamily(
  kind: string,
  metadata: MetaObject,
  ids: ReadonlyMap<string, number>,
  texts: readonly string[],
): Family {
  switch (kind) {
    case "gpt2":
      return byteLevelFamily(metadata, ids);
    case "llama":
      return sentencePieceFamily(metadata, texts.length);
    case "gemma4":
      return {
        normalizer: MARK_SPACES,
        preTokenizer: { type: "Split", pattern: { Regex: "[^\\n]+|[\\n]+" }, behavior: "Isolated", invert: false },
        model: {
          merges: readMerges(metadata, ids),
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
        `the tokenizer model ${JSON.stringify(kind)} is not supported; Millrace reads "gpt2" (byte-level BPE), "llama" (SentencePiece BPE) and "gemma4"`,
      );
  }
}

function byteLevelFamily(metadata: MetaObject, ids: ReadonlyMap<string, number>): Family {
  const name = metadata[`${PREFIX}pre`] ?? "default";
  const known = typeof name === "string" ? namedPreTokenizer(name) : undefined;
  if (known === undefined)
    throw new UnsupportedError(`the pre-tokenizer ${shown(name)} (${PREFIX}pre) is not supported`);
  return {
    normalizer: known.normalizer,
    preTokenizer: known.preTokenizer,
    model: {
      merges: readMerges(metadata, ids),
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

function sentencePieceFamily(metadata: MetaObject, count: number): Family {
  const dummy = readFlag(metadata, `${PREFIX}add_space_prefix`, true);
  return {
    normalizer: dummy ? { type: "Sequence", normalizers: [DUMMY_PREFIX, MARK_SPACES] } : MARK_SPACES,
    preTokenizer: undefined,
    model: {
      merges: { kind: "scores", scores: readScores(metadata, count) },
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

function addedTokens(
  texts: readonly string[],
  types: ArrayLike<number>,
  special: ReadonlySet<number>,
  rstrip: (text: string) => boolean,
): AddedToken[] {
  const added: AddedToken[] = [];
  texts.forEach((content, id) => {
    if (types[id] !== USER_DEFINED && !special.has(id)) return;
    added.push({
      id,
      content,
      special: special.has(id),
      lstrip: false,
      rstrip: special.has(id) && rstrip(content),
      singleWord: false,
      normalized: false,
    });
  });
  return added;
}

/** Phi-3's control tokens swallow the white space behind them; GGUF has no field for that, only the model's name. */
function stripsBehind(metadata: MetaObject): (text: string) => boolean {
  const name = metadata["general.name"];
  const isPhi3 = typeof name === "string" && /phi-?3/i.test(name);
  return (text) => isPhi3 && !["<unk>", "<s>", "<|endoftext|>"].includes(text);
}

function readTexts(metadata: MetaObject): string[] {
  const key = `${PREFIX}tokens`;
  const list = metadata[key];
  if (!isList(list) || list.length === 0)
    throw new ArtifactError(`${key} should be a list of texts, found ${shown(list)}`);
  return list.map((text, id) => {
    if (typeof text !== "string") throw new ArtifactError(`${key}[${id}] should be a text, found ${shown(text)}`);
    return text === "" ? `[EMPTY_${id}]` : text;
  });
}

function readTypes(metadata: MetaObject, count: number): Int32Array {
  const key = `${PREFIX}token_type`;
  const list = metadata[key];
  return list === undefined ? new Int32Array(count).fill(NORMAL) : Int32Array.from(numbers(list, key, count));
}

function readScores(metadata: MetaObject, count: number): Float32Array {
  const key = `${PREFIX}scores`;
  const scores = Float32Array.from(numbers(metadata[key], key, count));
  const bad = scores.findIndex(Number.isNaN);
  if (bad >= 0) throw new ArtifactError(`${key}[${bad}] should be a number, found NaN`);
  return scores;
}

function numbers(list: MetaValue | undefined, key: string, count: number): ArrayLike<number> {
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

function readMerges(metadata: MetaObject, ids: ReadonlyMap<string, number>): ModelSpec["merges"] {
  const key = `${PREFIX}merges`;
  const list = metadata[key];
  if (!isList(list)) throw new ArtifactError(`${key} should be a list of texts, found ${shown(list)}`);
  return { kind: "list", triples: parseMerges(list, key, (text) => ids.get(text)) };
}

function readId(metadata: MetaObject, key: string, count: number): number | undefined {
  const id = metadata[key];
  if (id === undefined) return undefined;
  if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= count) {
    // 2^32 − 1 is how some converters write "none".
    if (id === 0xffffffff || id === -1) return undefined;
    throw new ArtifactError(`${key} should be a token id below ${count}, found ${shown(id)}`);
  }
  return id;
}

function readFlag(metadata: MetaObject, key: string, missing: boolean): boolean {
  const value = metadata[key];
  if (value === undefined) return missing;
  if (typeof value !== "boolean") throw new ArtifactError(`${key} should be true or false, found ${shown(value)}`);
  return value;
}
