/**
 * Normalizers of tokenizer.json: text → text, before anything is split. They are described in tokenizer.json's own
 * terms, whatever file the tokenizer came from.
 */
import type { MetaObject, MetaValue } from "../artifact/artifact.ts";
import { UnsupportedError } from "../errors.ts";
import { type CodePoints, has, type UnicodeClasses } from "./code-points.ts";
import { isObject, listField, objectField, stringField, wrong } from "./json-fields.ts";
import { compilePattern } from "./pattern.ts";

export type Normalizer = (text: string) => string;

const WHERE = "tokenizer.json, normalizer";

export function createNormalizer(description: MetaValue | undefined, classes: UnicodeClasses): Normalizer {
  if (description === undefined || description === null) return (text) => text;
  if (!isObject(description)) return wrong("tokenizer.json", "normalizer", "an object", description);
  const type = stringField(description, "type", WHERE);
  switch (type) {
    case "Sequence": {
      const steps = listField(description, "normalizers", WHERE).map((step) => createNormalizer(step, classes));
      return (text) => steps.reduce((current, step) => step(current), text);
    }
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD":
      return (text) => normalizeKnown(text, type, classes.notNormalized);
    case "Lowercase":
      return (text) => text.toLowerCase();
    case "Prepend": {
      const prefix = stringField(description, "prepend", WHERE);
      return (text) => (text === "" ? text : prefix + text);
    }
    case "Strip": {
      const left = description["strip_left"] === true;
      const right = description["strip_right"] === true;
      return (text) => stripSpace(text, left, right);
    }
    case "Replace":
      return replacer(description, WHERE, classes);
    default:
      throw new UnsupportedError(`the tokenizer's normalizer ${JSON.stringify(type)} is not supported`);
  }
}

/** `{pattern: {String | Regex}, content}`, in normalizers and decoders alike. */
export function replacer(description: MetaObject, where: string, classes: UnicodeClasses): Normalizer {
  const content = stringField(description, "content", where);
  const pattern = objectField(description, "pattern", where);
  const literal = pattern["String"];
  if (typeof literal === "string")
    return literal === "" ? (text) => text : (text) => text.replaceAll(literal, () => content);
  const compiled = compilePattern(stringField(pattern, "Regex", where), classes);
  return (text) => {
    let result = "";
    let last = 0;
    compiled.findAll(text, 0, text.length, (from, to) => {
      result += text.slice(last, from) + content;
      last = to;
    });
    return result + text.slice(last);
  };
}

/**
 * Unicode normalisation, except that it leaves alone the characters of `untouched` (those too new for Hugging Face's
 * tables): what lies between them is normalised by itself.
 */
function normalizeKnown(text: string, form: "NFC" | "NFD" | "NFKC" | "NFKD", untouched: CodePoints): string {
  const first = untouched[0] ?? 0x110000;
  let result = "";
  let last = 0;
  for (let at = 0; at < text.length;) {
    const unit = text.charCodeAt(at);
    const length = (unit & 0xfc00) === 0xd800 ? 2 : 1;
    if (unit >= first && has(untouched, text.codePointAt(at) ?? 0)) {
      result += text.slice(last, at).normalize(form) + text.slice(at, at + length);
      last = at + length;
    }
    at += length;
  }
  return last === 0 ? text.normalize(form) : result + text.slice(last).normalize(form);
}

/** Strips Unicode's white space, of which JavaScript's `trim` has a slightly different idea (U+0085, U+FEFF). */
function stripSpace(text: string, left: boolean, right: boolean): string {
  const isSpace = (at: number): boolean => {
    const unit = text.charCodeAt(at);
    return unit === 0x85 || (unit !== 0xfeff && /\s/.test(text.charAt(at)));
  };
  let start = 0;
  let end = text.length;
  while (left && start < end && isSpace(start)) start++;
  while (right && end > start && isSpace(end - 1)) end--;
  return text.slice(start, end);
}
