/**
 * A pull scanner for JSON text in bytes, for headers whose form is known: the caller says what comes next, and nothing
 * is made but what it asks for, so that hostile text can't grow in memory as it would under JSON.parse. Strict, and
 * able to see repeated keys. Errors are ArtifactErrors that name the byte.
 */
import { ArtifactError } from "../errors.ts";
import { Utf8Decoder } from "./utf8.ts";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

export class JsonScanner {
  readonly #what: string;
  readonly #bytes: Uint8Array;
  readonly #decoder = new Utf8Decoder();
  #at = 0;

  /** `what` names the text in errors. */
  constructor(what: string, bytes: Uint8Array) {
    this.#what = what;
    this.#bytes = bytes;
  }

  /** Calls `entry` at each value of an object; it must consume the value. */
  object(entry: (key: string) => void): void {
    this.#sequence("{", "}", () => {
      const key = this.string();
      this.#expect(":");
      entry(key);
    });
  }

  /** Calls `item` at each value of an array; it must consume the value. */
  array(item: () => void): void {
    this.#sequence("[", "]", item);
  }

  string(): string {
    this.#space();
    const start = this.#at;
    if (this.#bytes[start] !== QUOTE) throw this.error("a string");
    let escaped = false;
    for (let i = start + 1; ; i++) {
      const byte = this.#bytes[i];
      if (byte === undefined || byte < 0x20) throw this.error("the end of a string");
      if (byte === BACKSLASH) {
        escaped = true;
        i++;
      } else if (byte === QUOTE) {
        this.#at = i + 1;
        break;
      }
    }
    try {
      const text = this.#decoder.decodeStrict(this.#bytes, start + 1, this.#at - 1);
      return escaped ? unescape(text) : text;
    } catch (cause) {
      this.#at = start;
      throw this.error("a valid string", cause);
    }
  }

  /** A whole number from 0 to 2^53 - 1. */
  integer(): number {
    this.#space();
    const start = this.#at;
    let value = 0;
    for (; ; this.#at++) {
      const digit = (this.#bytes[this.#at] ?? 0) - 0x30;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
    }
    if (this.#at === start || !Number.isSafeInteger(value)) {
      this.#at = start;
      throw this.error("a whole number");
    }
    return value;
  }

  /** After the value, only spaces may follow. */
  end(): void {
    this.#space();
    if (this.#at !== this.#bytes.length) throw this.error("the end");
  }

  error(expected: string, cause?: unknown): ArtifactError {
    return new ArtifactError(`${this.#what}: byte ${this.#at}: expected ${expected}`, { cause });
  }

  #sequence(open: string, close: string, item: () => void): void {
    this.#expect(open);
    if (this.#skip(close)) return;
    do item();
    while (this.#skip(","));
    this.#expect(close);
  }

  #space(): void {
    for (;;) {
      const byte = this.#bytes[this.#at];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
      this.#at++;
    }
  }

  #skip(character: string): boolean {
    this.#space();
    if (this.#bytes[this.#at] !== character.charCodeAt(0)) return false;
    this.#at++;
    return true;
  }

  #expect(character: string): void {
    if (!this.#skip(character)) throw this.error(`"${character}"`);
  }
}

/** The inside of a JSON string with escapes; throws SyntaxError. */
function unescape(text: string): string {
  const value: unknown = JSON.parse(`"${text}"`);
  return String(value);
}
