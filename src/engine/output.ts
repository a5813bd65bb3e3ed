/**
 * The output processor: an answer's token ids → its text as it grows. Detokenises without ever emitting half a
 * character, has reasoning and calls of tools told from the text (chat/), and holds back what may be the beginning of a stop
 * string.
 */
import type { AnswerEvent, AnswerParser } from "../chat/answer-format.ts";
import { partialSuffix } from "../chat/reasoning.ts";
import type { ToolCall } from "../chat/tools.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

export interface OutputOptions {
  /** Texts that end the answer; in reasoning and in calls they mean nothing. */
  readonly stop: readonly string[];
  /** Tells the parts of an answer; undefined: all is text. */
  readonly parser?: (() => AnswerParser) | undefined;
  /** Control tokens that the parser must see. */
  readonly shows?: ReadonlySet<number> | undefined;
  /** Names the calls of an answer, by their number. */
  readonly callId: (call: number) => string;
}

export type OutputPart =
  | { readonly type: "text" | "reasoning"; readonly text: string }
  /** Some more of a call's arguments, as JSON text; the first one is empty. */
  | { readonly type: "tool-call-delta"; readonly id: string; readonly name: string; readonly text: string }
  /** A call that is complete. */
  | ({ readonly type: "tool-call" } & ToolCall);

export class OutputProcessor {
  readonly #detokenizer: ReturnType<Tokenizer["stream"]>;
  readonly #stop: readonly string[];
  readonly #parser: AnswerParser | undefined;
  readonly #callId: OutputOptions["callId"];
  /** Text that may be the beginning of a stop string. */
  #held = "";
  #call = { id: "", name: "", text: "" };
  #calls = 0;
  /** The stop string that was met: what follows is not part of the answer. */
  stopText: string | undefined;
  text = "";
  reasoning = "";
  readonly toolCalls: ToolCall[] = [];

  constructor(tokenizer: Tokenizer, { stop, parser, shows, callId }: OutputOptions) {
    this.#detokenizer = tokenizer.stream(shows && { shows });
    this.#stop = stop.filter((text) => text.length > 0);
    this.#parser = parser?.();
    this.#callId = callId;
  }

  get stopped(): boolean {
    return this.stopText !== undefined;
  }

  push(id: number): OutputPart[] {
    const text = this.#detokenizer.push(id);
    return this.#take(this.#parser?.push(text) ?? [{ type: "text", text }], false);
  }

  /** The answer's last token was pushed: everything held is due. */
  end(): OutputPart[] {
    const text = this.#detokenizer.end();
    return this.#take(
      this.#parser ? [...this.#parser.push(text), ...this.#parser.end()] : [{ type: "text", text }],
      true,
    );
  }

  #take(events: readonly AnswerEvent[], last: boolean): OutputPart[] {
    const parts: OutputPart[] = [];
    for (const event of events) {
      if (this.stopped) return parts;
      if (event.type === "text") this.#takeText(event.text, false, parts);
      else if (event.type === "reasoning") this.#takeReasoning(event.text, parts);
      else {
        // No stop string reaches into a call.
        this.#takeText("", true, parts);
        if (!this.stopped) this.#takeCall(event, parts);
      }
    }
    if (last && !this.stopped) this.#takeText("", true, parts);
    return parts;
  }

  #takeReasoning(text: string, parts: OutputPart[]): void {
    if (text === "") return;
    this.reasoning += text;
    parts.push({ type: "reasoning", text });
  }

  #takeText(more: string, flush: boolean, parts: OutputPart[]): void {
    this.#held += more;
    const met = this.#findStop();
    this.stopText = met?.stop;
    const keep = flush ? 0 : Math.max(0, ...this.#stop.map((stop) => partialSuffix(this.#held, stop)));
    const length = met === undefined ? this.#held.length - keep : met.at;
    const text = this.#held.slice(0, length);
    this.#held = this.#held.slice(length);
    if (text === "") return;
    this.text += text;
    parts.push({ type: "text", text });
  }

  #takeCall(event: Exclude<AnswerEvent, { readonly type: "text" | "reasoning" }>, parts: OutputPart[]): void {
    if (event.type === "call") this.#call = { id: event.id ?? this.#callId(this.#calls++), name: event.name, text: "" };
    const { id, name } = this.#call;
    if (event.type === "call-end") {
      const call = { id, name, arguments: JSON.parse(this.#call.text) as unknown };
      this.toolCalls.push(call);
      parts.push({ type: "tool-call", ...call });
      return;
    }
    const text = event.type === "arguments" ? event.text : "";
    this.#call = { id, name, text: this.#call.text + text };
    parts.push({ type: "tool-call-delta", id, name, text });
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
