/**
 * The output processor: an answer's token ids → its text as it grows. Detokenises without ever emitting half a
 * character, has the reasoning told from the text (chat/), and holds back what may be the beginning of a stop string.
 */
import { partialSuffix, type ReasoningFormat, ReasoningParser, type TextPart } from "../chat/reasoning.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

export interface OutputOptions {
  /** Texts that end the answer; in reasoning they mean nothing. */
  readonly stop: readonly string[];
  /** How the model marks its reasoning; undefined: all is text. */
  readonly reasoning: ReasoningFormat | undefined;
}

export class OutputProcessor {
  readonly #detokenizer: ReturnType<Tokenizer["stream"]>;
  readonly #stop: readonly string[];
  readonly #parser: ReasoningParser | undefined;
  /** Text that may be the beginning of a stop string. */
  #held = "";
  /** The stop string that was met: what follows is not part of the answer. */
  stopText: string | undefined;
  text = "";
  reasoning = "";

  constructor(tokenizer: Tokenizer, options: OutputOptions) {
    this.#detokenizer = tokenizer.stream();
    this.#stop = options.stop.filter((text) => text.length > 0);
    this.#parser = options.reasoning && new ReasoningParser(options.reasoning);
  }

  get stopped(): boolean {
    return this.stopText !== undefined;
  }

  push(id: number): TextPart[] {
    const text = this.#detokenizer.push(id);
    return this.#take(this.#parser?.push(text) ?? [{ type: "text", text }], false);
  }

  /** The answer's last token was pushed: everything held is due. */
  end(): TextPart[] {
    const text = this.#detokenizer.end();
    return this.#take(
      this.#parser ? [...this.#parser.push(text), ...this.#parser.end()] : [{ type: "text", text }],
      true,
    );
  }

  #take(parsed: readonly TextPart[], last: boolean): TextPart[] {
    const parts: TextPart[] = [];
    if (this.stopped) return parts;
    for (const { type, text } of parsed) {
      if (type === "text") this.#held += text;
      else if (text !== "") {
        this.reasoning += text;
        parts.push({ type, text });
      }
    }
    const met = this.#findStop();
    this.stopText = met?.stop;
    const keep = last ? 0 : Math.max(0, ...this.#stop.map((stop) => partialSuffix(this.#held, stop)));
    const length = met === undefined ? this.#held.length - keep : met.at;
    const text = this.#held.slice(0, length);
    this.#held = this.#held.slice(length);
    if (text !== "") {
      this.text += text;
      parts.push({ type: "text", text });
    }
    return parts;
  }

  /** The stop string that begins earliest, and where. */
  #findStop(): { readonly stop: string; readonly at: number } | undefined {
    let first: { readonly stop: string; readonly at: number } | undefined;
    for (const stop of this.#stop) {
      const at = this.#held.indexOf(stop);
      if (at >= 0 && (first === undefined || at < first.at)) first = { stop, at };
    }
    return first;
  }
}
