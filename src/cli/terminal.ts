/**
 * The streams of a command and the rules about them: results go to stdout, everything else to stderr; a reader that has
 * gone (`| head`) ends the program quietly; Ctrl-C is a signal that the work under way listens to.
 */
import process from "node:process";

import { EXIT, InterruptedError } from "./exit.ts";

export class Terminal {
  readonly #interrupt = new AbortController();
  #onInterrupt: (() => void) | undefined;

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
    process.on("SIGTERM", () => this.interrupt());
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

  /** Results. */
  write(text: string): void {
    process.stdout.write(text);
  }

  /** The one object of `--json`. */
  writeJson(value: unknown): void {
    this.write(`${JSON.stringify(value)}\n`);
  }

  /** A line for the person. */
  note(text: string): void {
    process.stderr.write(`${printable(text)}\n`);
  }

  /** Text that belongs to the person but is no line: progress, a model's thoughts. */
  noteText(text: string): void {
    process.stderr.write(text);
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
    const parts: Buffer[] = [];
    const stop = (): void => void process.stdin.destroy();
    this.signal.addEventListener("abort", stop, { once: true });
    try {
      for await (const part of process.stdin) parts.push(part as Buffer);
    } catch (error) {
      this.signal.throwIfAborted();
      throw error;
    } finally {
      this.signal.removeEventListener("abort", stop);
    }
    this.signal.throwIfAborted();
    return decodeUtf8(Buffer.concat(parts), "standard input");
  }
}

/** Names from files may hold control characters, which could steer the terminal: they are shown as escapes. */
export function printable(text: string): string {
  return text.replaceAll(/[^\P{Cc}\t\n]/gu, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

export function decodeUtf8(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Error(`${name} isn't UTF-8 text`);
  }
}
