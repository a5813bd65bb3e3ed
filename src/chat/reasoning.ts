/**
 * How a model marks what it thinks before it answers, the parser that tells the two apart while the text grows, and the
 * grammar of what comes before the answer. The marks are the template's: another way of marking is another entry here.
 */
import type { GrammarSpec } from "../decode/grammar/spec.ts";
import { markedText } from "./tool-calls/grammar.ts";

export interface ReasoningFormat {
  readonly open: string;
  readonly close: string;
  /** The prompt itself has opened the reasoning. */
  readonly isOpen: boolean;
  /** The prompt has closed it: none comes. */
  readonly isClosed: boolean;
}

export type TextPart = { readonly type: "text" | "reasoning"; readonly text: string };

const MARKS = [
  { open: "<think>", close: "</think>" },
  { open: "<seed:think>", close: "</seed:think>" },
  { open: "[THINK]", close: "[/THINK]" },
  { open: "<|START_THINKING|>", close: "<|END_THINKING|>" },
  { open: "<|channel>thought", close: "<channel|>" },
  { open: "<|inner_prefix|>", close: "<|inner_suffix|>" },
] as const;

/**
 * The marks of a model: those that its template writes, or that are tokens of its vocabulary; undefined where there are
 * none. `prompt` is the rendered text, which may end with a mark.
 */
export function reasoningFormat(
  template: string,
  prompt: string,
  hasToken: (text: string) => boolean,
): ReasoningFormat | undefined {
  const marks = MARKS.find(({ open, close }) => template.includes(open) || template.includes(close) || hasToken(open));
  if (marks === undefined) return undefined;
  const end = prompt.trimEnd();
  return { ...marks, isOpen: end.endsWith(marks.open), isClosed: end.endsWith(marks.close) };
}

/** What may stand before an answer. `controls` are the marks that are control tokens. */
export function reasoningGrammar(format: ReasoningFormat, controls: readonly string[]): GrammarSpec[] {
  const { open, close, isOpen, isClosed } = format;
  if (isClosed) return [];
  const isControl = controls.includes(close);
  const thoughts: GrammarSpec[] = isControl
    ? [{ without: [close] }, ...markedText(close, controls)]
    : [{ until: close }];
  const space: GrammarSpec = { regex: "\\n{0,2}" };
  if (isOpen) return [...thoughts, space];
  return [{ repeat: { sequence: [...markedText(open, controls), ...thoughts, space] }, max: 1 }];
}

/** Reasoning that goes on, and what ends it: `answer` follows. */
export function reasoningBudget(
  format: ReasoningFormat,
  controls: readonly string[],
  answer: GrammarSpec,
): { readonly thoughts: GrammarSpec; readonly rest: GrammarSpec } {
  const { open, close, isOpen } = format;
  const going: GrammarSpec = { without: [close] };
  return {
    thoughts: isOpen ? going : { sequence: [...markedText(open, controls), going] },
    rest: { sequence: [...markedText(`\n${close}\n\n`, controls), answer] },
  };
}

export class ReasoningParser {
  readonly #format: ReasoningFormat;
  /** "start": nothing but white space came yet, a mark may follow. */
  #mode: "start" | "reasoning" | "text";
  /** Newlines that follow a mark belong to neither side. */
  #trim = false;
  /** Text that may turn out to be a mark. */
  #held = "";

  constructor(format: ReasoningFormat) {
    this.#format = format;
    this.#mode = format.isOpen ? "reasoning" : "start";
  }

  push(text: string): TextPart[] {
    this.#held += text;
    return this.#take(false);
  }

  /** Everything held is due. */
  end(): TextPart[] {
    return this.#take(true);
  }

  #take(last: boolean): TextPart[] {
    const { open, close } = this.#format;
    const parts: TextPart[] = [];
    if (this.#mode === "start") {
      const seen = this.#held.trimStart();
      if (seen.startsWith(open)) {
        this.#mode = "reasoning";
        this.#held = seen.slice(open.length);
        this.#trim = true;
      } else if (!last && (seen === "" || open.startsWith(seen))) return parts;
      else this.#mode = "text";
    }
    this.#trimNewlines();
    if (this.#mode === "reasoning") {
      const at = this.#held.indexOf(close);
      if (at < 0) {
        const keep = last ? 0 : partialSuffix(this.#held, close);
        this.#emit("reasoning", this.#held.length - keep, parts);
        return parts;
      }
      this.#emit("reasoning", at, parts);
      this.#held = this.#held.slice(close.length);
      this.#mode = "text";
      this.#trim = true;
      this.#trimNewlines();
    }
    this.#emit("text", this.#held.length, parts);
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
    if (text !== "") parts.push({ type, text });
  }
}

/** Length of the longest proper beginning of `word` that `text` ends with. */
export function partialSuffix(text: string, word: string): number {
  for (let length = Math.min(word.length - 1, text.length); length > 0; length--) {
    if (text.endsWith(word.slice(0, length))) return length;
  }
  return 0;
}
