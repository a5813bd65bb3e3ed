/** Unicode's normal forms and lower case, as Hugging Face's normalizers take them. */
import { type CodePoints, has } from "./code-points.ts";

export type NormalForm = "NFC" | "NFD" | "NFKC" | "NFKD";

/**
 * Unicode normalisation, except that it leaves alone the characters of `untouched` (those too new for Hugging Face's
 * tables): what lies between them is normalised by itself.
 */
export function normalizeKnown(text: string, form: NormalForm, untouched: CodePoints): string {
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

/** Lower case character by character: a final sigma is a sigma like any other. */
export function lowercase(text: string): string {
  return text.replaceAll("Σ", "σ").toLowerCase();
}

/** The text without the code points of a set. */
export function without(text: string, dropped: CodePoints): string {
  const first = dropped[0] ?? 0x110000;
  let result = "";
  let last = 0;
  for (let at = 0; at < text.length;) {
    const unit = text.charCodeAt(at);
    const length = (unit & 0xfc00) === 0xd800 ? 2 : 1;
    if (unit >= first && has(dropped, text.codePointAt(at) ?? 0)) {
      result += text.slice(last, at);
      last = at + length;
    }
    at += length;
  }
  return last === 0 ? text : result + text.slice(last);
}
