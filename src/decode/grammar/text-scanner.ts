/** Walks over a grammar's source text, character by character or by sticky patterns; its errors say where. */
import { RequestError } from "../../errors.ts";

export class TextScanner {
  readonly text: string;
  readonly #what: string;
  readonly #path: string;
  position = 0;

  /** `what` and `path` name the text in errors. */
  constructor(text: string, what: string, path: string) {
    this.text = text;
    this.#what = what;
    this.#path = path;
  }

  get done(): boolean {
    return this.position >= this.text.length;
  }

  /** The next character (a whole code point), "" at the end. */
  peek(): string {
    const code = this.text.codePointAt(this.position);
    return code === undefined ? "" : String.fromCodePoint(code);
  }

  next(): string {
    const char = this.peek();
    if (char === "") this.fail("it ends too early");
    this.position += char.length;
    return char;
  }

  /** The next `count` units. */
  rest(count: number): string {
    return this.text.slice(this.position, this.position + count);
  }

  /** Goes past a text if it stands here. */
  skip(text: string): boolean {
    if (!this.text.startsWith(text, this.position)) return false;
    this.position += text.length;
    return true;
  }

  /** Goes past what a sticky pattern matches here. */
  match(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.position;
    const match = pattern.exec(this.text);
    if (match === null) return undefined;
    this.position += match[0].length;
    return match;
  }

  /** Goes past `end`; gives what stands before it. */
  until(end: string): string {
    const at = this.text.indexOf(end, this.position);
    if (at < 0) this.fail(`"${end}" is missing`);
    const between = this.text.slice(this.position, at);
    this.position = at + end.length;
    return between;
  }

  fail(message: string): never {
    const before = this.text.slice(0, this.position).split("\n");
    const where = this.text.includes("\n")
      ? `line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}`
      : `character ${this.position}`;
    const at = this.#path === "" ? "" : ` at ${this.#path}`;
    throw new RequestError(`${this.#what}${at} is malformed: ${message} (${where})`);
  }
}
