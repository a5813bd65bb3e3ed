/**
 * OpenAI's Harmony format (gpt-oss): an answer is a row of messages, each with a channel: "analysis" is the reasoning,
 * "commentary" a call of a tool (it names its recipient) or words on the way, "final" the answer. Source: OpenAI, "OpenAI
 * Harmony Response Format", 2025.
 */
import type { GrammarSpec } from "../../decode/grammar/spec.ts";
import type { ToolRules, ToolSpec } from "../tools.ts";
import { readArguments } from "./arguments.ts";
import { onlyObjects } from "./grammar.ts";
import type { CallableTools, ToolEvent } from "./parser.ts";
import { type Reading, readerOf, type Source, type TextReader } from "./reader.ts";

const CHANNEL = "<|channel|>";
const MESSAGE = "<|message|>";
const START = "<|start|>";
const END = "<|end|>";
const CONSTRAIN = "<|constrain|>";
/** These end an answer, too. */
const ENDS = [END, "<|call|>", "<|return|>"] as const;

export const HARMONY_MARKS: readonly string[] = [CHANNEL, MESSAGE, START, CONSTRAIN, ...ENDS];

export function isHarmony(template: string): boolean {
  return template.includes(CHANNEL) && template.includes(MESSAGE);
}

/** Messages of reasoning, then a call or an answer. */
export function harmonyGrammar(rules: ToolRules | undefined, answer: GrammarSpec | undefined): GrammarSpec {
  const { tools = [], choice = "none" } = rules ?? {};
  const text: GrammarSpec = { without: HARMONY_MARKS };
  const next: GrammarSpec[] = [{ special: END }, { special: START }, { text: "assistant" }];
  const message = (header: string, body: GrammarSpec): GrammarSpec[] => [
    { special: CHANNEL },
    { text: header },
    { special: MESSAGE },
    body,
  ];
  const before: GrammarSpec = {
    repeat: {
      anyOf: [
        { sequence: [...message("analysis", text), ...next] },
        { sequence: [...message("commentary", text), ...next] },
      ],
    },
  };
  const final: GrammarSpec = { sequence: message("final", answer ?? text) };
  const callable = typeof choice === "string" ? tools : tools.filter(({ name }) => name === choice.name);
  const calls = choice === "none" ? [] : callable.map(callOf);
  return { sequence: [before, { anyOf: [...(choice === "auto" || choice === "none" ? [final] : []), ...calls] }] };
}

/** Analysis that goes on, and what ends it: the rest of the row. */
export function harmonyBudget(
  rules: ToolRules | undefined,
  answer: GrammarSpec | undefined,
): { readonly thoughts: GrammarSpec; readonly rest: GrammarSpec } {
  return {
    thoughts: {
      sequence: [{ special: CHANNEL }, { text: "analysis" }, { special: MESSAGE }, { without: HARMONY_MARKS }],
    },
    rest: {
      sequence: [{ special: END }, { special: START }, { text: "assistant" }, harmonyGrammar(rules, answer)],
    },
  };
}

/** The recipient stands before the channel or behind it. */
function callOf({ name, parameters, strict }: ToolSpec): GrammarSpec {
  const to = `to=functions.${name}`;
  return {
    sequence: [
      {
        anyOf: [
          { sequence: [{ text: ` ${to}` }, { special: CHANNEL }, { text: "commentary " }] },
          { sequence: [{ special: CHANNEL }, { text: `commentary ${to} ` }] },
        ],
      },
      { repeat: { special: CONSTRAIN }, max: 1 },
      { text: "json" },
      { special: MESSAGE },
      { schema: onlyObjects(parameters), whitespace: "spaced", strict },
    ],
  };
}

export type HarmonyEvent = ToolEvent | { readonly type: "reasoning"; readonly text: string };

export function harmonyParser(tools: CallableTools): TextReader<HarmonyEvent> {
  return readerOf((source) => new MessageReader(source, tools).read());
}

class MessageReader {
  readonly #source: Source;
  readonly #tools: CallableTools;

  constructor(source: Source, tools: CallableTools) {
    this.#source = source;
    this.#tools = tools;
  }

  *read(): Reading<HarmonyEvent> {
    const source = this.#source;
    while (yield* source.has(1)) {
      const header = yield* source.until(MESSAGE);
      if (header === undefined) {
        // A model that doesn't keep to its format: all of it is text.
        yield { type: "text", text: source.take(source.text.length) };
        return;
      }
      const name = /to=(?:functions\.)?([A-Za-z0-9_-]+)/.exec(header)?.[1];
      if (name !== undefined && this.#tools.has(name)) yield* this.#call(name);
      else yield* this.#body(header.includes("analysis") ? "reasoning" : "text");
    }
  }

  *#call(name: string): Reading<HarmonyEvent> {
    yield { type: "call", name };
    if (yield* readArguments(this.#source, "json", new Set())) yield { type: "call-end" };
    yield* this.#body(undefined);
  }

  /** Up to the message's end; told as it comes, or not at all. */
  *#body(type: "reasoning" | "text" | undefined): Reading<HarmonyEvent> {
    const source = this.#source;
    for (;;) {
      const at = source.text.search(/<\|(?:end|call|return|start)\|>/);
      // The beginning of a mark may be there without its rest.
      const partial = source.hasEnded ? -1 : source.text.lastIndexOf("<", source.text.length - 1);
      const safe = at >= 0 ? at : partial >= 0 && source.text.length - partial < 12 ? partial : source.text.length;
      const text = source.take(safe);
      if (text !== "" && type !== undefined) yield { type, text };
      if (at >= 0) {
        yield* source.until("|>");
        return;
      }
      if (!(yield* source.has(source.text.length + 1))) {
        const rest = source.take(source.text.length);
        if (rest !== "" && type !== undefined) yield { type, text: rest };
        return;
      }
    }
  }
}
