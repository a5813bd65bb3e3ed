/**
 * Normalizers of tokenizer.json: text → text, before anything is split. They are described in tokenizer.json's own
 * terms, whatever file the tokenizer came from. Each comes in two forms that give the same text: a fast one for plain
 * texts, and one that carries along where every character is from.
 */
import type { MetaObject, MetaValue } from "../artifact/artifact.ts";
import { UnsupportedError } from "../errors.ts";
import { bertNormalizer } from "./bert-normalizer.ts";
import { ACCENTS } from "./bert-table.ts";
import { charsmapNormalizer } from "./charsmap.ts";
import { fromRuns, type UnicodeClasses } from "./code-points.ts";
import { isObject, listField, objectField, stringField, wrong } from "./json-fields.ts";
import { MarkedText } from "./marked-text.ts";
import { compilePattern } from "./pattern.ts";
import { lowercase, normalizeKnown, without } from "./unicode-forms.ts";

export interface Normalizer {
  readonly plain: (text: string) => string;
  readonly marked: (text: MarkedText) => MarkedText;
}

const WHERE = "tokenizer.json, normalizer";

export function createNormalizer(description: MetaValue | undefined, classes: UnicodeClasses): Normalizer {
  if (description === undefined || description === null) return { plain: (text) => text, marked: (text) => text };
  if (!isObject(description)) return wrong("tokenizer.json", "normalizer", "an object", description);
  const type = stringField(description, "type", WHERE);
  switch (type) {
    case "Sequence": {
      const steps = listField(description, "normalizers", WHERE).map((step) => createNormalizer(step, classes));
      return {
        plain: (text) => steps.reduce((current, step) => step.plain(current), text),
        marked: (text) => steps.reduce((current, step) => step.marked(current), text),
      };
    }
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD":
      return byRuns((text) => normalizeKnown(text, type, classes.notNormalized));
    case "Lowercase":
      return byRuns(lowercase);
    case "StripAccents": {
      const accents = fromRuns(ACCENTS);
      return byRuns((text) => without(text, accents));
    }
    case "BertNormalizer":
      return byRuns(bertNormalizer(description, classes));
    case "Precompiled": {
      const map = description["precompiled_charsmap"];
      // An empty table is written as null.
      if (map === undefined || map === null) return byRuns((text) => text);
      return byRuns(charsmapNormalizer(charsmapBytes(map), WHERE));
    }
    case "Prepend": {
      const prefix = stringField(description, "prepend", WHERE);
      return {
        plain: (text) => (text === "" ? text : prefix + text),
        marked: (text) => (text.value === "" ? text : MarkedText.join([MarkedText.of(prefix, text.worst(0, 1)), text])),
      };
    }
    case "Strip": {
      const left = description["strip_left"] === true;
      const right = description["strip_right"] === true;
      return {
        plain: (text) => text.slice(...unstripped(text, left, right)),
        marked: (text) => text.slice(...unstripped(text.value, left, right)),
      };
    }
    case "Replace":
      return replacer(description, WHERE, classes);
    default:
      throw new UnsupportedError(`the tokenizer's normalizer ${JSON.stringify(type)} is not supported`);
  }
}

/** Run by run: a message that begins with a combining mark must not change the template's last character. */
function byRuns(plain: (text: string) => string): Normalizer {
  return { plain, marked: (text) => text.map(plain) };
}

/** Base64 in tokenizer.json, bytes in GGUF. */
function charsmapBytes(map: MetaValue): Uint8Array {
  if (map instanceof Uint8Array || map instanceof Int8Array)
    return new Uint8Array(map.buffer, map.byteOffset, map.length);
  if (typeof map !== "string" || !/^[A-Za-z0-9+/]*={0,2}$/.test(map))
    return wrong(WHERE, "precompiled_charsmap", "a text in base64", map);
  return Uint8Array.from(atob(map), (char) => char.charCodeAt(0));
}

/** `{pattern: {String | Regex}, content}`, in normalizers and decoders alike. */
export function replacer(description: MetaObject, where: string, classes: UnicodeClasses): Normalizer {
  const content = stringField(description, "content", where);
  const pattern = objectField(description, "pattern", where);
  const literal = pattern["String"];
  if (typeof literal === "string") {
    if (literal === "") return { plain: (text) => text, marked: (text) => text };
    const places = (text: string, onPlace: (from: number, to: number) => void): void => {
      for (let at = text.indexOf(literal); at >= 0; at = text.indexOf(literal, at + literal.length))
        onPlace(at, at + literal.length);
    };
    return {
      plain: (text) => text.replaceAll(literal, () => content),
      marked: (text) => replaceMarked(text, content, places),
    };
  }
  const compiled = compilePattern(stringField(pattern, "Regex", where), classes);
  const places = (text: string, onPlace: (from: number, to: number) => void): void =>
    compiled.findAll(text, 0, text.length, onPlace);
  return {
    plain(text) {
      let result = "";
      let last = 0;
      places(text, (from, to) => {
        result += text.slice(last, from) + content;
        last = to;
      });
      return result + text.slice(last);
    },
    marked: (text) => replaceMarked(text, content, places),
  };
}

/** What replaces a piece is trusted no more than the piece was. */
function replaceMarked(
  text: MarkedText,
  content: string,
  places: (text: string, onPlace: (from: number, to: number) => void) => void,
): MarkedText {
  const parts: MarkedText[] = [];
  let last = 0;
  places(text.value, (from, to) => {
    parts.push(text.slice(last, from), MarkedText.of(content, text.worst(from, Math.max(to, from + 1))));
    last = to;
  });
  return MarkedText.join([...parts, text.slice(last)]);
}

/** What is left of Unicode's white space at the ends, of which JavaScript's `trim` has another idea (U+0085, U+FEFF). */
function unstripped(text: string, left: boolean, right: boolean): [start: number, end: number] {
  const isSpace = (at: number): boolean => {
    const unit = text.charCodeAt(at);
    return unit === 0x85 || (unit !== 0xfeff && /\s/.test(text.charAt(at)));
  };
  let start = 0;
  let end = text.length;
  while (left && start < end && isSpace(start)) start++;
  while (right && end > start && isSpace(end - 1)) end--;
  return [start, end];
}
