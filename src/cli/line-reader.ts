/**
 * The lines that a person types, with editing and the history of earlier chats (arrow-up), or that a pipe brings. While
 * no line is awaited the terminal is left alone, so that Ctrl-C during an answer is an ordinary signal.
 */
import { rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import process from "node:process";
import { createInterface, type Interface } from "node:readline";

import { readNote } from "../artifact/node-file.ts";
import { makeFolder } from "../artifact/node-home.ts";
import { InterruptedError } from "./exit.ts";
import type { Terminal } from "./terminal.ts";

const HISTORY_LINES = 1000;
/** Bytes; a longer file is none of ours. */
const MAX_HISTORY = 16 * 2 ** 20;

export interface LineReader {
  /** The next message; undefined at the end (Ctrl-D, or the pipe's end). Throws InterruptedError on a second Ctrl-C. */
  next(): Promise<string | undefined>;
}

export async function createLineReader(terminal: Terminal, historyFile: string): Promise<LineReader> {
  if (!terminal.inputIsTyped || !terminal.notesAreSeen) return pipedLines(terminal);
  const text = (await readNote(historyFile, MAX_HISTORY)) ?? "";
  return new TypedLines(
    terminal,
    historyFile,
    text.split("\n").filter((line) => line !== ""),
  );
}

function pipedLines(terminal: Terminal): LineReader {
  const lines = terminal.inputLines();
  return {
    async next() {
      const { value, done } = await lines.next();
      terminal.signal.throwIfAborted();
      return done === true ? undefined : value;
    },
  };
}

class TypedLines implements LineReader {
  readonly #terminal: Terminal;
  readonly #file: string;
  /** Newest first, as readline keeps it. */
  #history: string[];
  /** What was pasted behind the last line's end. */
  #rest = "";

  constructor(terminal: Terminal, file: string, oldestFirst: readonly string[]) {
    this.#terminal = terminal;
    this.#file = file;
    this.#history = oldestFirst.slice(-HISTORY_LINES).reverse();
  }

  async next(): Promise<string | undefined> {
    const lines = await this.#read();
    if (lines === undefined) return undefined;
    await this.#save();
    return lines.join("\n");
  }

  /** One line, or several that were pasted at once. */
  #read(): Promise<string[] | undefined> {
    const lines: string[] = [];
    let warned = false;
    return new Promise((resolve, reject) => {
      const reader = createInterface({
        input: process.stdin,
        output: process.stderr,
        prompt: "> ",
        history: [...this.#history],
        historySize: HISTORY_LINES,
        removeHistoryDuplicates: true,
      });
      reader.on("history", (history) => (this.#history = [...history]));
      reader.on("line", (line) => {
        warned = false;
        // The lines of one paste come in one turn of the event loop.
        if (lines.push(line) === 1) setImmediate(() => reader.close());
      });
      reader.on("SIGINT", () => {
        if (reader.line !== "") clearLine(reader);
        else if (warned) {
          reject(new InterruptedError());
          reader.close();
        } else {
          warned = true;
          this.#terminal.note("\n(Ctrl-C again or Ctrl-D leaves)");
          reader.prompt();
        }
      });
      reader.on("close", () => {
        this.#rest = lines.length > 0 ? reader.line : "";
        if (lines.length === 0) this.#terminal.note("");
        resolve(lines.length > 0 ? lines : undefined);
      });
      reader.prompt();
      if (this.#rest !== "") reader.write(this.#rest);
    });
  }

  async #save(): Promise<void> {
    const text = [...this.#history]
      .reverse()
      .map((line) => `${line}\n`)
      .join("");
    const temporary = `${this.#file}.${process.pid}`;
    try {
      await makeFolder(dirname(this.#file));
      await writeFile(temporary, text, { mode: 0o600 });
      await rename(temporary, this.#file);
    } catch {
      // A chat works without its history being kept.
    }
  }
}

function clearLine(reader: Interface): void {
  reader.write(null, { ctrl: true, name: "e" });
  reader.write(null, { ctrl: true, name: "u" });
}
