/**
 * tekken.json, the file of Mistral's own tokenizers → TokenizerSpec: byte-level BPE in tiktoken's form, where a token's
 * rank says when its parts merge, and control tokens come before all others.
 */
import type { MetaObject, MetaValue } from "../artifact/artifact.ts";
import { ArtifactError } from "../errors.ts";
import type { AddedToken } from "./added-tokens.ts";
import { byteAlphabet } from "./byte-alphabet.ts";
import { isObject, listField, objectField, shown, stringField } from "./json-fields.ts";
import { stopTexts, type TokenizerSpec } from "./spec.ts";

const FILE = "tekken.json";
const MAX_TOKENS = 1 << 22;
/** The first control tokens of files that don't list them. */
const FIRST_SPECIALS = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"];

export function tekkenSpec(document: MetaObject): TokenizerSpec {
  const config = objectField(document, "config", FILE);
  const specialCount = count(config, "default_num_special_tokens");
  const size = count(config, "default_vocab_size");
  if (specialCount > size)
    throw new ArtifactError(`${FILE}: ${specialCount} control tokens in a vocabulary of ${size}`);
  const specials = specialTexts(document, specialCount);
  const { chars } = byteAlphabet();
  // A file may hold more tokens than the model has.
  const vocab = listField(document, "vocab", FILE).slice(0, size - specialCount);
  const ordinary = vocab.map((entry, rank) =>
    Array.from(tokenBytes(entry, rank), (byte) => chars[byte] ?? "").join(""),
  );

  const texts = [...specials, ...ordinary];
  const added = specials.map((content, id): AddedToken => {
    return { id, content, special: true, lstrip: false, rstrip: false, singleWord: false, normalized: false };
  });
  const idOf = (text: string): number | undefined => {
    const id = specials.indexOf(text);
    return id < 0 ? undefined : id;
  };
  const bosId = idOf("<s>");
  const eosId = idOf("</s>");
  const stops = stopTexts((text) => specials.includes(text));
  const stopIds = new Set(specials.flatMap((text, id) => (stops.has(text) ? [id] : [])));
  return {
    texts,
    added,
    special: new Set(specials.keys()),
    normalizer: undefined,
    preTokenizer: {
      type: "Sequence",
      pretokenizers: [
        {
          type: "Split",
          pattern: { Regex: stringField(config, "pattern", FILE) },
          behavior: "Isolated",
          invert: false,
        },
        { type: "ByteLevel", add_prefix_space: false, use_regex: false },
      ],
    },
    model: {
      kind: "bpe",
      // The lower rank merges first.
      merges: { kind: "scores", scores: Float32Array.from(texts, (_, id) => -id) },
      byteFallback: false,
      unknownId: undefined,
      fuseUnknown: false,
      ignoreMerges: true,
    },
    decoder: { byteLevel: true, byteFallback: false, replacements: [], stripLeadingSpace: false },
    prefix: bosId === undefined ? [] : [bosId],
    suffix: [],
    bosId,
    eosId,
    stopIds,
  };
}

/** The control tokens by rank; places that the file doesn't name have names of their own. */
function specialTexts(document: MetaObject, length: number): string[] {
  const listed = document["special_tokens"];
  const named = new Map<number, string>(FIRST_SPECIALS.entries());
  if (listed !== undefined && listed !== null) {
    named.clear();
    for (const entry of listField(document, "special_tokens", FILE)) {
      if (!isObject(entry))
        throw new ArtifactError(`${FILE}: special_tokens should hold objects, found ${shown(entry)}`);
      named.set(Number(entry["rank"]), stringField(entry, "token_str", FILE));
    }
  }
  return Array.from({ length }, (_, id) => named.get(id) ?? `<SPECIAL_${id}>`);
}

function tokenBytes(entry: MetaValue, rank: number): Uint8Array {
  const where = `${FILE}, vocab[${rank}]`;
  if (!isObject(entry) || entry["rank"] !== rank)
    throw new ArtifactError(`${where} should be the token of rank ${rank}, found ${shown(entry)}`);
  const text = stringField(entry, "token_bytes", where);
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) throw new ArtifactError(`${where}: token_bytes is not base64`);
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}

function count(config: MetaObject, key: string): number {
  const value = config[key];
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= MAX_TOKENS) return value;
  throw new ArtifactError(`${FILE}: ${key} should be a whole number up to ${MAX_TOKENS}, found ${shown(value)}`);
}
