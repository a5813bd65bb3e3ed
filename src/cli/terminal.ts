/**
 * The streams of a command and the rules about them: results go to stdout, everything else to stderr; a reader that has
 * gone (`| head`) ends the program quietly; Ctrl-C is a signal that the work under way listens to.
 */
import process from "node:process";

import { EXIT, InterruptedError } from "./exit.ts";

export class Terminal {
  readonly #interrupt = new AbortController();
  #onInterrupt: (() => void) | undefined;
  #onTerminate: (() => void) | undefined;

  constructor() {
    for (const stream of [process.stdout, process.stderr]) {
      stream.on("error", (error: NodeJS.ErrnoException) => {
        // Nobody reads any more. What was written until then was wanted, so this is no failure.
        if (error.code === "EPIPE") process.exit(EXIT.success);
        process.stderr.write(`millrace: the output can't be written: ${error.message}\n`);
        process.exit(EXIT.failure);
      });
    }
    process.on("SIGINT", () => (this.#onInterrupt ?? (() => this.interrupt()))());
    process.on("SIGTERM", () => (this.#onTerminate ?? (() => this.interrupt()))());
  }

  /** Aborted by Ctrl-C, with an InterruptedError as the reason. */
  get signal(): AbortSignal {
    return this.#interrupt.signal;
  }

  interrupt(): void {
    // A second one doesn't wait for anything.
    if (this.signal.aborted) process.exit(EXIT.interrupted);
    this.#interrupt.abort(new InterruptedError());
  }

  /** While `work` runs, Ctrl-C calls `handler` and ends nothing else. */
  async withInterrupt<T>(handler: () => void, work: () => Promise<T>): Promise<T> {
    const before = this.#onInterrupt;
    this.#onInterrupt = handler;
    try {
      return await work();
    } finally {
      this.#onInterrupt = before;
    }
  }

  /** While `work` runs, Ctrl-C and SIGTERM call `handler`: for a program that runs until it is told to stop. */
  async withStop<T>(handler: () => void, work: () => Promise<T>): Promise<T> {
    this.#onTerminate = handler;
    try {
      return await this.withInterrupt(handler, work);
    } finally {
      this.#onTerminate = undefined;
    }
  }

  /** Results: to the letter into a file or pipe; on a screen, control characters are shown rather than obeyed. */
  write(text: string): void {
    process.stdout.write(this.outputIsSeen ? printable(text) : text);
  }

  /** The one object of `--json`. */
  writeJson(value: unknown): void {
    this.write(`${JSON.stringify(value)}\n`);
  }

  /** A line for the person. */
  note(text: string): void {
    process.stderr.write(`${printable(text)}\n`);
  }

  /** Text of a model's that belongs to the person but is no line: its thoughts. */
  noteText(text: string): void {
    process.stderr.write(printable(text));
  }

  /** Our own control sequences: colour, and the progress line's return to its beginning. */
  noteControl(sequence: string): void {
    process.stderr.write(sequence);
  }

  get notesAreSeen(): boolean {
    return process.stderr.isTTY;
  }

  get inputIsTyped(): boolean {
    return process.stdin.isTTY;
  }

  get outputIsSeen(): boolean {
    return process.stdout.isTTY;
  }

  /** All of stdin as text; throws where it isn't UTF-8. */
  async readInput(): Promise<string> {
    const parts: Uint8Array[] = [];
    for await (const part of this.#inputBytes()) parts.push(part);
    return decodeUtf8(Buffer.concat(parts), INPUT);
  }

  /** The lines of stdin, without their ends; throws where one isn't UTF-8, or has no end for too long. */
  async *inputLines(): AsyncGenerator<string> {
    let open: Uint8Array = new Uint8Array(0);
    for await (const part of this.#inputBytes()) {
      open = Buffer.concat([open, part]);
      let start = 0;
      for (let end = open.indexOf(10); end >= 0; end = open.indexOf(10, start)) {
        yield decodeUtf8(open.subarray(start, end), INPUT).replace(/\r$/, "");
        start = end + 1;
      }
      open = open.subarray(start);
      if (open.byteLength > MAX_LINE) throw new Error(`${INPUT} has a line of more than ${MAX_LINE} bytes`);
    }
    if (open.byteLength > 0) yield decodeUtf8(open, INPUT);
  }

  /** Ends with the signal's reason where that comes first. */
  async *#inputBytes(): AsyncGenerator<Uint8Array> {
    const stop = (): void => void process.stdin.destroy();
    this.signal.addEventListener("abort", stop, { once: true });
    try {
      for await (const part of process.stdin) yield part as Buffer;
    } catch (error) {
      this.signal.throwIfAborted();
      throw error;
    } finally {
      this.signal.removeEventListener("abort", stop);
    }
    this.signal.throwIfAborted();
  }
}

const INPUT = "standard input";
/** Bytes. */
const MAX_LINE = 16 * 2 ** 20;

/**
 * Names from files and a model's words may hold control characters, which could steer the terminal, or turn the order
 * of what is read: they are shown as escapes.
 */
export function printable(text: string): string {
  return text.replaceAll(/[^\P{Cc}\t\n]|[\u202a-\u202e\u2066-\u2069]/gu, (c) => {
    const code = c.charCodeAt(0).toString(16);
    return code.length <= 2 ? `\\x${code.padStart(2, "0")}` : `\\u${code.padStart(4, "0")}`;
  });
}

export function decodeUtf8(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Error(`${name} isn't UTF-8 text`);
  }
}
