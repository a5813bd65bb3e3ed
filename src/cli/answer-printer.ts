/**
 * Prints an answer as it comes: its text to stdout, then its calls of tools, each on a line of its own as NAME(ARGUMENTS); what
 * the model thinks before them to stderr (dim, where seen).
 */
import process from "node:process";

import type { AnswerPart } from "../engine/llm.ts";
import type { Terminal } from "./terminal.ts";

export class AnswerPrinter {
  readonly #terminal: Terminal;
  readonly #dim: boolean;
  #thinking = false;
  #text = "";

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
    this.#dim = terminal.notesAreSeen && !process.env["NO_COLOR"];
  }

  /** What stdout got so far. */
  get text(): string {
    return this.#text;
  }

  print(part: AnswerPart): void {
    if (part.type === "tool-call") {
      this.#endThought();
      if (this.#text !== "" && !this.#text.endsWith("\n")) this.#write("\n");
      this.#write(`${part.name}(${JSON.stringify(part.arguments)})`);
      return;
    }
    if ((part.type !== "text" && part.type !== "reasoning") || part.text === "") return;
    if (part.type === "reasoning") {
      if (!this.#thinking && this.#dim) this.#terminal.noteControl("\x1b[2m");
      this.#thinking = true;
      this.#terminal.noteText(part.text);
      return;
    }
    this.#endThought();
    this.#write(part.text);
  }

  #write(text: string): void {
    this.#terminal.write(text);
    this.#text += text;
  }

  /** Closes the line, also after an answer that broke off. */
  end(): void {
    this.#endThought();
    if (this.#text !== "") this.#terminal.write("\n");
  }

  #endThought(): void {
    if (this.#thinking) this.#terminal.noteControl(this.#dim ? "\x1b[22m\n" : "\n");
    this.#thinking = false;
  }
}
