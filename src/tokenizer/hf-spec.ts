/**
 * tokenizer.json and tokenizer_config.json → TokenizerSpec. Models are read by hf-model.ts; a component that Millrace
 * doesn't know is an UnsupportedError that names it, never ignored.
 */
import type { MetaObject, MetaValue } from "../artifact/artifact.ts";
import { ArtifactError, UnsupportedError } from "../errors.ts";
import type { AddedToken } from "./added-tokens.ts";
import { checkComponent } from "./component-limits.ts";
import { flag, isObject, listField, objectField, shown, stringField, wrong } from "./json-fields.ts";
import { readId, readModel } from "./hf-model.ts";
import { prependScheme } from "./pre-tokenizer.ts";
import { type DecoderSpec, stopTexts, type TokenizerSpec } from "./spec.ts";

const FILE = "tokenizer.json";
const CONFIG = "tokenizer_config.json";
/** Real ones put one or two. */
const MAX_AFFIXES = 64;

export function hfSpec(tokenizer: MetaObject, config: MetaObject): TokenizerSpec {
  for (const part of ["normalizer", "pre_tokenizer", "post_processor", "decoder"])
    checkComponent(tokenizer[part], `${FILE}, ${part}`);
  const added = readAdded(tokenizer);
  const { texts, model } = readModel(objectField(tokenizer, "model", FILE));
  for (const token of added) texts[token.id] = token.content;

  const special = new Set(added.filter((token) => token.special).map((token) => token.id));
  const byContent = new Map(added.map((token) => [token.content, token.id]));
  const named = (key: string): number | undefined => {
    const value = config[key];
    const content = isObject(value) ? value["content"] : value;
    return typeof content === "string" ? (byContent.get(content) ?? indexOrUndefined(texts, content)) : undefined;
  };
  const bosId = named("bos_token");
  const eosId = named("eos_token");

  const stopIds = new Set<number>();
  if (eosId !== undefined) stopIds.add(eosId);
  const stops = stopTexts((text) => byContent.has(text));
  for (const token of added) if (stops.has(token.content)) stopIds.add(token.id);

  let { prefix, suffix } = readPostProcessor(tokenizer["post_processor"], texts.length);
  // Llama's tokenizer class in transformers puts these two flags above the file's own template.
  const classOverrides = /^(?:Code)?(?:Llama|Gemma)Tokenizer/.test(stringField(config, "tokenizer_class", CONFIG, ""));
  if (classOverrides && typeof config["add_bos_token"] === "boolean")
    prefix = config["add_bos_token"] && bosId !== undefined ? [bosId] : [];
  if (classOverrides && typeof config["add_eos_token"] === "boolean")
    suffix = config["add_eos_token"] && eosId !== undefined ? [eosId] : [];

  return {
    texts,
    added,
    special,
    normalizer: tokenizer["normalizer"],
    preTokenizer: tokenizer["pre_tokenizer"],
    model,
    decoder: readDecoder(tokenizer["decoder"]),
    prefix,
    suffix,
    bosId,
    eosId,
    stopIds,
  };
}

function indexOrUndefined(texts: readonly (string | undefined)[], text: string): number | undefined {
  const id = texts.indexOf(text);
  return id < 0 ? undefined : id;
}

function readAdded(tokenizer: MetaObject): AddedToken[] {
  const where = `${FILE}, added_tokens`;
  const list = tokenizer["added_tokens"];
  if (list === undefined || list === null) return [];
  return listField(tokenizer, "added_tokens", FILE).map((token) => {
    if (!isObject(token)) return wrong(FILE, "added_tokens", "a list of objects", token);
    const special = flag(token, "special", where, false);
    return {
      id: readId(token["id"], where),
      content: stringField(token, "content", where),
      special,
      lstrip: flag(token, "lstrip", where, false),
      rstrip: flag(token, "rstrip", where, false),
      singleWord: flag(token, "single_word", where, false),
      normalized: flag(token, "normalized", where, !special),
    };
  });
}

/** What a post-processor puts before and behind a single text. */
function readPostProcessor(
  processor: MetaValue | undefined,
  count: number,
): { prefix: readonly number[]; suffix: readonly number[] } {
  const where = `${FILE}, post_processor`;
  if (processor === undefined || processor === null) return { prefix: [], suffix: [] };
  if (!isObject(processor)) return wrong(FILE, "post_processor", "an object", processor);
  const type = stringField(processor, "type", where);
  switch (type) {
    case "ByteLevel":
      return { prefix: [], suffix: [] };
    case "Sequence": {
      const parts = listField(processor, "processors", where).map((part) => readPostProcessor(part, count));
      return {
        prefix: parts.toReversed().flatMap((part) => part.prefix),
        suffix: parts.flatMap((part) => part.suffix),
      };
    }
    case "BertProcessing":
    case "RobertaProcessing":
      return { prefix: [pairedId(processor, "cls", count)], suffix: [pairedId(processor, "sep", count)] };
    case "TemplateProcessing": {
      const tokens = objectField(processor, "special_tokens", where);
      const sides: { prefix: number[]; suffix: number[] } = { prefix: [], suffix: [] };
      let behind = false;
      for (const piece of listField(processor, "single", where)) {
        if (!isObject(piece)) return wrong(where, "single", "a list of objects", piece);
        if (isObject(piece["Sequence"])) behind = true;
        else {
          const ids = templateIds(objectField(piece, "SpecialToken", where), tokens, count);
          for (const id of ids) (behind ? sides.suffix : sides.prefix).push(id);
        }
      }
      if (sides.prefix.length + sides.suffix.length > MAX_AFFIXES)
        throw new ArtifactError(`${where}: more than ${MAX_AFFIXES} tokens are put around a text`);
      return sides;
    }
    default:
      throw new UnsupportedError(`the post-processor ${JSON.stringify(type)} is not supported`);
  }
}

/** `[text, id]`, as the older post-processors name a token. */
function pairedId(processor: MetaObject, key: string, count: number): number {
  const where = `${FILE}, post_processor`;
  return knownId(listField(processor, key, where)[1], where, count);
}

function knownId(value: MetaValue | undefined, where: string, count: number): number {
  const id = readId(value, where);
  if (id >= count) throw new ArtifactError(`${where}: id ${id} is beyond the vocabulary of ${count} tokens`);
  return id;
}

function templateIds(piece: MetaObject, tokens: MetaObject, count: number): number[] {
  const where = `${FILE}, post_processor`;
  const token = objectField(tokens, stringField(piece, "id", where), where);
  return listField(token, "ids", where).map((value) => knownId(value, where, count));
}

function readDecoder(decoder: MetaValue | undefined): DecoderSpec {
  const where = `${FILE}, decoder`;
  const parts: {
    byteLevel: boolean;
    byteFallback: boolean;
    replacements: [string, string][];
    stripLeadingSpace: boolean;
    wordPiece?: NonNullable<DecoderSpec["wordPiece"]>;
  } = {
    byteLevel: false,
    byteFallback: false,
    replacements: [],
    stripLeadingSpace: false,
  };
  const read = (part: MetaValue): void => {
    if (!isObject(part)) return wrong(FILE, "decoder", "an object", part);
    const type = stringField(part, "type", where);
    switch (type) {
      case "Sequence":
        listField(part, "decoders", where).forEach(read);
        return;
      case "ByteLevel":
        parts.byteLevel = true;
        return;
      case "ByteFallback":
        parts.byteFallback = true;
        return;
      case "Fuse":
        return;
      case "Replace":
        parts.replacements.push([
          stringField(objectField(part, "pattern", where), "String", where),
          stringField(part, "content", where),
        ]);
        return;
      case "Metaspace":
        parts.replacements.push([stringField(part, "replacement", where, "▁"), " "]);
        parts.stripLeadingSpace = prependScheme(part) !== "never";
        return;
      case "WordPiece":
        parts.wordPiece = {
          prefix: stringField(part, "prefix", where, "##"),
          cleanup: flag(part, "cleanup", where, true),
        };
        parts.stripLeadingSpace = true;
        return;
      case "Strip":
        if (part["content"] !== " " || part["stop"] !== 0 || (part["start"] !== 0 && part["start"] !== 1)) {
          throw new UnsupportedError(
            `the decoder "Strip" with ${shown(part["content"])}, ${shown(part["start"])} and ${shown(part["stop"])} is not supported`,
          );
        }
        parts.stripLeadingSpace = part["start"] === 1;
        return;
      default:
        throw new UnsupportedError(`the decoder ${JSON.stringify(type)} is not supported`);
    }
  };
  if (decoder !== undefined && decoder !== null) read(decoder);
  return parts;
}
