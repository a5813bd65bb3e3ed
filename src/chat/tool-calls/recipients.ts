/**
 * Functionary's format (v3.2): an answer is a row of messages, each behind ">>>" with its recipient on a line of its own: "all" has
 * the text, a function's name the arguments of a call. The prompt ends with the first ">>>".
 */
import type { GrammarSpec } from "../../decode/grammar/spec.ts";
import type { ToolRules } from "../tools.ts";
import { readArguments } from "./arguments.ts";
import { onlyObjects } from "./grammar.ts";
import type { CallableTools, ToolEvent } from "./parser.ts";
import { type Reading, readerOf, type Source, type TextReader } from "./reader.ts";

const START = ">>>";
const ALL = "all";

export function namesRecipients(template: string): boolean {
  return template.includes(START + ALL);
}

/** A text, or calls, or a text and then calls. `answer`: what the text may be; undefined: any. */
export function recipientsGrammar(rules: ToolRules | undefined, answer: GrammarSpec | undefined): GrammarSpec {
  const { tools = [], choice = "none", parallel = true } = rules ?? {};
  const text: GrammarSpec = { sequence: [{ text: `${ALL}\n` }, answer ?? { without: [START] }] };
  const callable = typeof choice === "string" ? tools : tools.filter(({ name }) => name === choice.name);
  if (choice === "none" || callable.length === 0) return text;
  const one: GrammarSpec = {
    anyOf: callable.map(({ name, parameters, strict }) => ({
      sequence: [{ text: `${name}\n` }, { schema: onlyObjects(parameters), whitespace: "spaced", strict }],
    })),
  };
  const most = parallel && typeof choice === "string" ? Infinity : 0;
  const calls: GrammarSpec = {
    sequence: [one, { repeat: { sequence: [{ text: START }, one] }, max: most }],
  };
  if (choice !== "auto") return calls;
  if (answer !== undefined) return { anyOf: [text, calls] };
  return { anyOf: [{ sequence: [text, { repeat: { sequence: [{ text: START }, calls] }, max: 1 }] }, calls] };
}

export function recipientsParser(tools: CallableTools): TextReader<ToolEvent> {
  return readerOf((source) => readMessages(source, tools));
}

function* readMessages(source: Source, tools: CallableTools): Reading<ToolEvent> {
  do {
    source.mark();
    const name = yield* source.while(/[A-Za-z0-9_-]/);
    const isNamed = (name === ALL || tools.has(name)) && (yield* source.exactly("\n"));
    if (isNamed && name !== ALL) {
      yield { type: "call", name };
      if (yield* readArguments(source, "json", new Set())) yield { type: "call-end" };
      // Nothing belongs behind the arguments.
      if ((yield* source.until(START)) === undefined) return;
      continue;
    }
    if (source.hasRunOut && ALL.startsWith(source.sinceMark)) return;
    // A model that doesn't keep to its format: all of it is text.
    if (!isNamed && source.sinceMark !== "") yield { type: "text", text: source.sinceMark };
    if (!(yield* say(source))) return;
  } while (yield* source.has(1));
}

/** The text up to the next message; whether there is one. */
function* say(source: Source): Reading<ToolEvent, boolean> {
  const reading = source.before(START);
  for (;;) {
    const { done, value } = reading.next();
    if (done === true) return value;
    yield value === undefined ? undefined : { type: "text", text: value };
  }
}
