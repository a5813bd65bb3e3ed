/**
 * SentencePiece's normaliser tables (`precompiled_charsmap`): a double-array trie over UTF-8 (Yata et al. 2007) from
 * sequences of characters to what replaces them, and the replacements. Used as Hugging Face does, whose ids decide: a
 * grapheme is replaced as a whole by what the shortest beginning of it that the trie knows stands for, else character by
 * character.
 */
import { ArtifactError } from "../errors.ts";

/** A grapheme of more bytes is never looked up as a whole. */
const LONGEST_GRAPHEME = 5;
/** Real tables replace a character by at most 18: a longer replacement would let a text grow without bounds. */
const LONGEST_REPLACEMENT = 256;
/** Below this no character joins the one before it, but a line feed a carriage return. */
const FIRST_JOINING = 0x300;

/** `bytes`: the length of the trie (u32, little-endian), the trie's units (u32), the replacements with a 0 behind each. */
export function charsmapNormalizer(bytes: Uint8Array, where: string): (text: string) => string {
  const transform = readCharsmap(bytes, where);
  const utf8 = new TextEncoder();
  const segmenter = new Intl.Segmenter("en", { granularity: "grapheme" });
  /** Of each character that stands for itself: undefined unless looked up, null where it is not replaced. */
  const simple: (string | null | undefined)[] = [];

  const ofSimple = (unit: number): string | null => {
    let found = simple[unit];
    if (found === undefined) found = simple[unit] = transform(utf8.encode(String.fromCharCode(unit))) ?? null;
    return found;
  };

  const ofGrapheme = (grapheme: string): string => {
    const encoded = utf8.encode(grapheme);
    const whole = encoded.length <= LONGEST_GRAPHEME ? transform(encoded) : undefined;
    if (whole !== undefined) return whole;
    let out = "";
    for (const char of grapheme) out += transform(utf8.encode(char)) ?? char;
    return out;
  };

  return (text) => {
    let result = "";
    let last = 0;
    let at = 0;
    while (at < text.length) {
      if (standsAlone(text, at)) {
        const found = ofSimple(text.charCodeAt(at));
        if (found !== null) {
          result += text.slice(last, at) + found;
          last = at + 1;
        }
        at++;
        continue;
      }
      let end = at + 1;
      while (end < text.length && !(text.charCodeAt(end - 1) < FIRST_JOINING && standsAlone(text, end))) end++;
      result += text.slice(last, at);
      for (const { segment } of segmenter.segment(text.slice(at, end))) result += ofGrapheme(segment);
      last = at = end;
    }
    return last === 0 ? text : result + text.slice(last);
  };
}

/** The character at `at` is a grapheme, whatever stands behind it. */
function standsAlone(text: string, at: number): boolean {
  const unit = text.charCodeAt(at);
  const next = at + 1 < text.length ? text.charCodeAt(at + 1) : 0;
  return unit < FIRST_JOINING && next < FIRST_JOINING && !(unit === 0x0d && next === 0x0a);
}

/** What a text's shortest known beginning stands for. */
function readCharsmap(bytes: Uint8Array, where: string): (utf8: Uint8Array) => string | undefined {
  const wrong = (what: string): ArtifactError => new ArtifactError(`${where}: the precompiled charsmap ${what}`);
  if (bytes.length < 4) throw wrong("is shorter than its header");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const trieBytes = view.getUint32(0, true);
  if (trieBytes % 4 !== 0 || 4 + trieBytes > bytes.length)
    throw wrong(`has a trie of ${trieBytes} bytes, which don't fit`);
  const units = Uint32Array.from({ length: trieBytes / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
  const replacements = bytes.subarray(4 + trieBytes);
  const decoder = new TextDecoder();
  let start = 0;
  for (let i = 0; i <= replacements.length; i++) {
    if (i < replacements.length && replacements[i] !== 0) continue;
    if (i - start > LONGEST_REPLACEMENT) throw wrong(`replaces a character by ${i - start} bytes`);
    start = i + 1;
  }

  return (utf8) => {
    let node = offset(units[0] ?? 0);
    for (const byte of utf8) {
      if (byte === 0) return undefined;
      node ^= byte;
      const unit = units[node] ?? 0;
      // The label: a byte, and no leaf.
      if ((unit & 0x800000ff) !== byte) return undefined;
      node ^= offset(unit);
      if (((unit >>> 8) & 1) === 0) continue;
      const from = (units[node] ?? 0) & 0x7fffffff;
      const end = replacements.indexOf(0, from);
      return decoder.decode(replacements.subarray(from, end < 0 ? replacements.length : end));
    }
    return undefined;
  };
}

function offset(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6);
}
