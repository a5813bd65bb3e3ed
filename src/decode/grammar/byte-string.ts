/**
 * Byte strings as JavaScript strings whose units are 0…255: they compare, slice and serve as keys of maps at the speed of
 * the engine's own strings.
 */
export type ByteString = string;

/** The UTF-8 bytes of a well-formed text. */
export function utf8Bytes(text: string): ByteString {
  let ascii = true;
  for (let i = 0; i < text.length && ascii; i++) ascii = text.charCodeAt(i) < 0x80;
  return ascii ? text : fromBytes(new TextEncoder().encode(text));
}

export function fromBytes(bytes: Uint8Array): ByteString {
  let out = "";
  for (const byte of bytes) out += String.fromCharCode(byte);
  return out;
}

export function toBytes(string: ByteString): Uint8Array {
  return Uint8Array.from(string, (unit) => unit.charCodeAt(0));
}

/** The text of UTF-8 bytes. */
export function toText(string: ByteString): string {
  return new TextDecoder().decode(toBytes(string));
}

/** The bytes of one code point. */
export function codePointBytes(codePoint: number): ByteString {
  return utf8Bytes(String.fromCodePoint(codePoint));
}
