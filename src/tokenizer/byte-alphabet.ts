/**
 * GPT-2's byte alphabet: byte-level vocabularies write each byte as one printable character, its own where it has
 * one and U+0100 onwards for the rest (Radford et al. 2019).
 */

export interface ByteAlphabet {
  /** The character of each byte. */
  readonly chars: readonly string[];
  /** The byte of a character's code unit below 0x180, or −1. */
  readonly bytes: Int16Array;
}

export function byteAlphabet(): ByteAlphabet {
  const chars: string[] = [];
  const bytes = new Int16Array(0x180).fill(-1);
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    const unit = printable ? byte : next++;
    chars.push(String.fromCharCode(unit));
    bytes[unit] = byte;
  }
  return { chars, bytes };
}

/** The text as its UTF-8 bytes, each written in the alphabet. */
export function toByteChars(text: string, alphabet: ByteAlphabet): string {
  let result = "";
  for (const byte of new TextEncoder().encode(text)) result += alphabet.chars[byte] ?? "";
  return result;
}

/** The bytes that a text in the alphabet stands for; undefined where a character is not of the alphabet. */
export function fromByteChars(text: string, alphabet: ByteAlphabet): Uint8Array | undefined {
  const result = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const byte = alphabet.bytes[text.charCodeAt(i)] ?? -1;
    if (byte < 0) return undefined;
    result[i] = byte;
  }
  return result;
}
