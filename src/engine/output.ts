/**
 * The output processor: an answer's token ids → its text as it grows. Detokenises without ever emitting half a
 * character, holds back what may be the beginning of a stop string, and tells a thinking model's reasoning
 * (`<think> … </think>`) from its text.
 */
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

export type TextPart = { readonly type: "text" | "reasoning"; readonly text: string };

export interface OutputOptions {
  readonly stop: readonly string[];
  /** Whether `<think>` means anything; "open" where the prompt itself has opened it. */
  readonly reasoning: "none" | "tagged" | "open";
}

const OPEN = "<think>";
const CLOSE = "</think>";

export class OutputProcessor {
  readonly #detokenizer: ReturnType<Tokenizer["stream"]>;
  readonly #stop: readonly string[];
  /** "start": nothing but white space came yet, a `<think>` may follow. */
  #mode: "start" | "reasoning" | "text";
  /** Newlines that follow a tag belong to neither side. */
  #trim = false;
  /** Decoded text that is not emitted yet. */
  #held = "";
  /** A stop string was met: what follows is not part of the answer. */
  stopped = false;
  text = "";
  reasoning = "";

  constructor(tokenizer: Tokenizer, options: OutputOptions) {
    this.#detokenizer = tokenizer.stream();
    this.#stop = options.stop.filter((text) => text.length > 0);
    this.#mode = options.reasoning === "open" ? "reasoning" : options.reasoning === "tagged" ? "start" : "text";
  }

  push(id: number): TextPart[] {
    if (this.stopped) return [];
    this.#held += this.#detokenizer.push(id);
    return this.#take(false);
  }

  /** The answer's last token was pushed: everything held is due. */
  end(): TextPart[] {
    if (this.stopped) return [];
    this.#held += this.#detokenizer.end();
    return this.#take(true);
  }

  #take(last: boolean): TextPart[] {
    const parts: TextPart[] = [];
    if (this.#mode === "start") {
      const seen = this.#held.trimStart();
      if (seen.startsWith(OPEN)) {
        this.#mode = "reasoning";
        this.#held = seen.slice(OPEN.length);
        this.#trim = true;
      } else if (!last && (seen === "" || OPEN.startsWith(seen))) return parts;
      else this.#mode = "text";
    }
    this.#trimNewlines();
    if (this.#mode === "reasoning") {
      const close = this.#held.indexOf(CLOSE);
      if (close < 0) {
        const keep = last ? 0 : partialSuffix(this.#held, CLOSE);
        this.#emit("reasoning", this.#held.length - keep, parts);
        return parts;
      }
      this.#emit("reasoning", close, parts);
      this.#held = this.#held.slice(CLOSE.length);
      this.#mode = "text";
      this.#trim = true;
    }
    this.#trimNewlines();
    const at = this.#findStop();
    if (at >= 0) {
      this.#emit("text", at, parts);
      this.stopped = true;
      return parts;
    }
    const keep = last ? 0 : Math.max(0, ...this.#stop.map((stop) => partialSuffix(this.#held, stop)));
    this.#emit("text", this.#held.length - keep, parts);
    return parts;
  }

  #trimNewlines(): void {
    if (!this.#trim) return;
    this.#held = this.#held.replace(/^\n+/, "");
    this.#trim = this.#held === "";
  }

  #emit(type: TextPart["type"], length: number, parts: TextPart[]): void {
    const text = this.#held.slice(0, length);
    this.#held = this.#held.slice(length);
    if (text === "") return;
    if (type === "text") this.text += text;
    else this.reasoning += text;
    parts.push({ type, text });
  }

  /** Where the earliest stop string begins, or −1. */
  #findStop(): number {
    let first = -1;
    for (const stop of this.#stop) {
      const at = this.#held.indexOf(stop);
      if (at >= 0 && (first < 0 || at < first)) first = at;
    }
    return first;
  }
}

/** Length of the longest proper beginning of `word` that `text` ends with. */
function partialSuffix(text: string, word: string): number {
  for (let length = Math.min(word.length - 1, text.length); length > 0; length--) {
    if (text.endsWith(word.slice(0, length))) return length;
  }
  return 0;
}
