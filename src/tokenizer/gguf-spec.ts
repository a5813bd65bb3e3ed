/**
 * GGUF metadata ("tokenizer.ggml.…") → TokenizerSpec. Every field is checked: a wrong length, a missing list or an id
 * out of range is an ArtifactError that names it.
 */
import type { MetaObject } from "../artifact/artifact.ts";
import { ArtifactError } from "../errors.ts";
import type { AddedToken } from "./added-tokens.ts";
import { idsByText, numbers, PREFIX, readFamily, readFlag } from "./gguf-families.ts";
import { isList, shown } from "./json-fields.ts";
import { type ModelSpec, stopTexts, type TokenizerSpec } from "./spec.ts";

const NORMAL = 1;
const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;
const BYTE = 6;

const SPECIAL_KEYS = ["bos", "eos", "eot", "eom", "unknown", "separator", "seperator", "cls", "padding"] as const;

export function ggufSpec(metadata: MetaObject): TokenizerSpec {
  const kind = metadata[`${PREFIX}model`];
  if (typeof kind !== "string") throw new ArtifactError(`the model has no tokenizer (${PREFIX}model is missing)`);
  const written = readTexts(metadata);
  const types = readTypes(metadata, written.length);
  const family = readFamily(kind, metadata, written, types);
  const { texts } = family;
  const ids = idsByText(texts);

  const named = new Map<string, number>();
  for (const key of SPECIAL_KEYS) {
    const id = readId(metadata, `${PREFIX}${key}_token_id`, texts.length);
    if (id !== undefined) named.set(key, id);
  }
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
  const addEos = readFlag(metadata, `${PREFIX}add_eos_token`, family.addEos ?? false);
  const addSeparator = readFlag(metadata, `${PREFIX}add_sep_token`, family.addSeparator ?? false);
  // The key was misspelt at first.
  const separatorId = named.get("separator") ?? named.get("seperator");
  const firstId = bosId ?? named.get("cls");

  const stopIds = new Set<number>();
  for (const key of ["eos", "eot", "eom"]) {
    const id = named.get(key);
    if (id !== undefined) stopIds.add(id);
  }
  for (const text of stopTexts((text) => ids.has(text))) {
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
    model: withUnknown(family.model, family.decoder.byteLevel ? undefined : named.get("unknown")),
    decoder: family.decoder,
    prefix: addBos && firstId !== undefined ? [firstId] : [],
    suffix: [
      ...(addEos && eosId !== undefined ? [eosId] : []),
      ...(addSeparator && separatorId !== undefined ? [separatorId] : []),
    ],
    bosId,
    eosId,
    stopIds,
  };
}

function withUnknown(model: ModelSpec, unknownId: number | undefined): ModelSpec {
  return model.kind === "greedy" ? model : { ...model, unknownId };
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
