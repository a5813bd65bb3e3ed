/**
 * An answer's parts → the items of a response and the events that tell of them. Events are numbered as they are made; whoever
 * wants the whole response at once leaves them unread.
 */
import type { AnswerPart } from "../engine/llm.ts";
import { frame } from "./event-stream.ts";
import type { OutputItem } from "./schemas/response-items.ts";

type Status = OutputItem["status"];

export class ResponseOutput {
  readonly items: OutputItem[] = [];
  readonly #id: string;
  #sequence = 0;
  /** Of the last item, while it grows. */
  #text = "";
  #isOpen = false;

  /** `id` makes the items' identifiers. */
  constructor(id: string) {
    this.#id = id;
  }

  /** An event, numbered. */
  event(type: string, fields: Readonly<Record<string, unknown>>): string {
    return frame({ type, sequence_number: this.#sequence++, ...fields }, type);
  }

  *take(part: AnswerPart): Generator<string> {
    if (part.type === "text" || part.type === "reasoning") {
      const kind = part.type === "text" ? "message" : "reasoning";
      if (!this.#isOpen || this.items.at(-1)?.type !== kind) yield* this.#open(kind);
      this.#text += part.text;
      const extra = kind === "message" ? { logprobs: [] } : {};
      yield this.#tell(kind === "message" ? "output_text.delta" : "reasoning_text.delta", {
        content_index: 0,
        delta: part.text,
        ...extra,
      });
    } else if (part.type === "tool-call-delta") {
      const last = this.items.at(-1);
      if (!this.#isOpen || last?.type !== "function_call" || last.call_id !== part.id)
        yield* this.#openCall(part.id, part.name);
      if (part.text === "") return;
      this.#text += part.text;
      yield this.#tell("function_call_arguments.delta", { delta: part.text });
    }
  }

  /** Ends the last item. */
  *close(status: Status = "completed"): Generator<string> {
    const last = this.items.at(-1);
    if (!this.#isOpen || last === undefined) return;
    this.#isOpen = false;
    const item = filled(last, this.#text, status);
    this.items[this.items.length - 1] = item;
    if (item.type === "function_call")
      yield this.#tell("function_call_arguments.done", { name: item.name, arguments: item.arguments });
    else {
      const isText = item.type === "message";
      yield this.#tell(isText ? "output_text.done" : "reasoning_text.done", {
        content_index: 0,
        text: this.#text,
        ...(isText ? { logprobs: [] } : {}),
      });
      yield this.#tell("content_part.done", { content_index: 0, part: item.content[0] });
    }
    yield this.event("response.output_item.done", { output_index: this.items.length - 1, item });
  }

  *#open(kind: "message" | "reasoning"): Generator<string> {
    yield* this.close();
    const status = "in_progress";
    const index = this.items.length;
    yield* this.#add(
      kind === "message"
        ? { type: "message", id: `msg_${this.#id}_${index}`, role: "assistant", status, content: [] }
        : { type: "reasoning", id: `rs_${this.#id}_${index}`, status, summary: [], content: [] },
    );
    const part = kind === "message" ? OUTPUT_TEXT : { type: "reasoning_text", text: "" };
    yield this.#tell("content_part.added", { content_index: 0, part });
  }

  *#openCall(callId: string, name: string): Generator<string> {
    yield* this.close();
    const id = `fc_${this.#id}_${this.items.length}`;
    yield* this.#add({ type: "function_call", id, status: "in_progress", call_id: callId, name, arguments: "" });
  }

  *#add(item: OutputItem): Generator<string> {
    this.items.push(item);
    this.#text = "";
    this.#isOpen = true;
    yield this.event("response.output_item.added", { output_index: this.items.length - 1, item });
  }

  #tell(type: string, fields: Readonly<Record<string, unknown>>): string {
    const output_index = this.items.length - 1;
    return this.event(`response.${type}`, { item_id: this.items[output_index]?.id, output_index, ...fields });
  }
}

const OUTPUT_TEXT = { type: "output_text", text: "", annotations: [], logprobs: [] } as const;

function filled(item: OutputItem, text: string, status: Status): OutputItem {
  if (item.type === "function_call") return { ...item, status, arguments: text === "" ? "{}" : text };
  if (item.type === "message")
    return { ...item, status, content: [{ type: "output_text", text, annotations: [], logprobs: [] }] };
  return { ...item, status, content: [{ type: "reasoning_text", text }] };
}
