/**
 * BertNormalizer of tokenizer.json: control characters dropped and white space made spaces (`clean_text`), spaces around
 * Chinese characters, accents dropped, lower case, in this order. What counts as which is in bert-table.ts.
 */
import type { MetaObject } from "../artifact/artifact.ts";
import { BERT_ACCENTS, UNCLEAN } from "./bert-table.ts";
import { type CodePoints, fromRanges, fromRuns, has, type UnicodeClasses, WHITE_SPACE } from "./code-points.ts";
import { flag } from "./json-fields.ts";
import { lowercase, normalizeKnown, without } from "./unicode-forms.ts";

const WHERE = "tokenizer.json, BertNormalizer";

/** CJK ideographs as BERT's makers listed them. */
const CHINESE: CodePoints = fromRanges([
  [0x4e00, 0x9fff],
  [0x3400, 0x4dbf],
  [0x20000, 0x2a6df],
  [0x2a700, 0x2b73f],
  [0x2b740, 0x2b81f],
  [0x2b920, 0x2ceaf],
  [0xf900, 0xfaff],
  [0x2f800, 0x2fa1f],
]);
const UNUSUAL = /[^\x20-\x7e]+/g;

export function bertNormalizer(description: MetaObject, classes: UnicodeClasses): (text: string) => string {
  const clean = flag(description, "clean_text", WHERE, true);
  const chinese = flag(description, "handle_chinese_chars", WHERE, true);
  const lower = flag(description, "lowercase", WHERE, true);
  const accents = flag(description, "strip_accents", WHERE, lower);
  const unclean = fromRuns(UNCLEAN);
  const bertAccents = fromRuns(BERT_ACCENTS);

  // ASCII's printable characters stand for themselves, whatever is beside them: only what lies between needs a look.
  const unusual = (run: string): string => {
    let out = run;
    if (clean) out = replaced(without(out, unclean), WHITE_SPACE, () => " ");
    if (chinese) out = replaced(out, CHINESE, (char) => ` ${char} `);
    return accents ? without(normalizeKnown(out, "NFD", classes.notNormalized), bertAccents) : out;
  };
  return (text) => {
    const out = text.replaceAll(UNUSUAL, unusual);
    return lower ? lowercase(out) : out;
  };
}

function replaced(text: string, set: CodePoints, by: (char: string) => string): string {
  const first = set[0] ?? 0x110000;
  let result = "";
  let last = 0;
  for (let at = 0; at < text.length;) {
    const unit = text.charCodeAt(at);
    const length = (unit & 0xfc00) === 0xd800 ? 2 : 1;
    if (unit >= first && has(set, text.codePointAt(at) ?? 0)) {
      result += text.slice(last, at) + by(text.slice(at, at + length));
      last = at + length;
    }
    at += length;
  }
  return last === 0 ? text : result + text.slice(last);
}
