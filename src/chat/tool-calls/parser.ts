/**
 * An answer's text as it grows → its text and its calls of tools. What begins like a call and turns out to be none is text
 * again, unless its name has been told already.
 */
import { partialSuffix } from "../reasoning.ts";
import { type ArgumentsPiece, readArguments } from "./arguments.ts";
import type { Hole, ToolFormat } from "./format.ts";
import { markOf } from "./grammar.ts";
import { type Reading, readerOf, type Source, type TextReader } from "./reader.ts";

export type ToolEvent =
  | { readonly type: "text"; readonly text: string }
  /** A call begins; `id` where the model gives it one. */
  | { readonly type: "call"; readonly name: string; readonly id?: string }
  | ArgumentsPiece
  | { readonly type: "call-end" };

export interface CallableTools {
  readonly has: (name: string) => boolean;
  /** Of a tool: arguments that the notation "tags" writes as they are. */
  readonly stringMembers: (name: string) => ReadonlySet<string>;
}

export function toolCallParser(format: ToolFormat, tools: CallableTools): TextReader<ToolEvent> {
  return readerOf((source) => new CallReader(source, format, tools).read());
}

class CallReader {
  readonly #format: ToolFormat;
  readonly #tools: CallableTools;
  readonly #source: Source;
  #space = "";

  constructor(source: Source, format: ToolFormat, tools: CallableTools) {
    this.#source = source;
    this.#format = format;
    this.#tools = tools;
  }

  *read(): Reading<ToolEvent> {
    const source = this.#source;
    const { begin, isWhole } = this.#format;
    if (isWhole === true) {
      yield* source.while(/\s/);
      yield* this.#section();
    }
    const mark = markOf(begin);
    while (yield* source.has(1)) {
      const at = isWhole === true ? -1 : source.text.indexOf(mark);
      const keep = isWhole === true || source.hasEnded ? 0 : partialSuffix(source.text, mark);
      yield* this.#say(source.take(at < 0 ? source.text.length - keep : at));
      if (at >= 0) yield* this.#section();
      else if (keep > 0) yield* source.has(keep + 1);
    }
    if (this.#space !== "") yield { type: "text", text: this.#space };
  }

  /** White space is held back: before a call it isn't the text's. */
  *#say(text: string): Reading<ToolEvent> {
    const all = this.#space + text;
    const shown = all.trimEnd();
    this.#space = all.slice(shown.length);
    if (shown !== "") yield { type: "text", text: shown };
  }

  /** The calls of a section; where there is none, its text. */
  *#section(): Reading<ToolEvent> {
    const source = this.#source;
    source.mark();
    if (yield* source.literal(this.#format.begin)) {
      do {
        const outcome = yield* this.#call();
        if (outcome === "broken") return;
        if (outcome === "none") {
          yield* this.#sayFailed();
          return;
        }
        source.mark();
      } while (yield* this.#hasAnother());
      return;
    }
    yield* this.#sayFailed();
  }

  /** What is no call is text; what may become one, and was cut, is nothing. */
  *#sayFailed(): Reading<ToolEvent> {
    const source = this.#source;
    if (source.hasRunOut) source.take(source.text.length);
    // At least one character, so that the same place isn't tried again.
    else yield* this.#say(source.sinceMark === "" ? source.take(1) : source.sinceMark);
  }

  /** Reads what stands behind a call; whether the section has another one. */
  *#hasAnother(): Reading<never, boolean> {
    const { between, end, repeats } = this.#format;
    const source = this.#source;
    if (between !== undefined && between.trim() !== "") {
      if (yield* source.literal(between)) return true;
    } else if (between !== undefined) return !(yield* source.literal(end)) && (yield* source.has(1));
    yield* source.literal(end);
    if (repeats === true) yield* source.while(/\n/);
    return false;
  }

  /** One call: "none", and nothing has been told, where it is no call of a tool. */
  *#call(): Reading<ToolEvent, "call" | "none" | "broken"> {
    const read: CallSoFar = { name: "", number: "", hasBegun: false };
    for (const part of this.#format.call) {
      let isRight = true;
      if (typeof part === "object" && "optional" in part) {
        const [first, ...others] = part.optional;
        if (first === undefined || !(yield* this.#part(first, read))) continue;
        for (const other of others) isRight = isRight && (yield* this.#part(other, read));
      } else isRight = yield* this.#part(part, read);
      if (!isRight) return read.hasBegun ? "broken" : "none";
    }
    yield { type: "call-end" };
    return "call";
  }

  /** Part of a call; false where something else stands there. */
  *#part(part: string | Hole, read: CallSoFar): Reading<ToolEvent, boolean> {
    const source = this.#source;
    if (typeof part === "string") return yield* source.literal(part);
    if (part.hole === "id") return (yield* source.while(/[A-Za-z0-9]/)) !== "";
    if (part.hole === "number") {
      read.number = yield* source.while(/[0-9]/);
      return read.number !== "";
    }
    if (part.hole === "name") {
      yield* source.while(/\s/);
      read.name = yield* source.while(/[A-Za-z0-9_-]/);
      return this.#tools.has(read.name);
    }
    const { notation, idOf } = this.#format;
    read.hasBegun = true;
    this.#space = "";
    yield { type: "call", name: read.name, ...(idOf && { id: idOf(read.name, read.number) }) };
    return yield* readArguments(source, notation, this.#tools.stringMembers(read.name));
  }
}

interface CallSoFar {
  name: string;
  number: string;
  /** The call has been told of. */
  hasBegun: boolean;
}
