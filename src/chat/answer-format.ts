/**
 * What an answer of a model is made of, by its template: reasoning, text, calls of tools. One place makes the parser that
 * tells them apart and the grammar that holds an answer to them, so that both know the same marks.
 */
import { stringMembersOf } from "../decode/grammar/compile.ts";
import type { GrammarSpec } from "../decode/grammar/spec.ts";
import { reasoningBudget, type ReasoningFormat, reasoningGrammar, ReasoningParser } from "./reasoning.ts";
import { type ControlNames, toolGrammar } from "./tool-calls/grammar.ts";
import type { ToolFormat } from "./tool-calls/format.ts";
import { HARMONY_MARKS, harmonyBudget, harmonyGrammar, harmonyParser, isHarmony } from "./tool-calls/harmony.ts";
import { type CallableTools, type ToolEvent, toolCallParser } from "./tool-calls/parser.ts";
import type { TextReader } from "./tool-calls/reader.ts";
import { namesRecipients, recipientsGrammar, recipientsParser } from "./tool-calls/recipients.ts";
import { toolFormat } from "./tool-calls/formats.ts";
import type { ToolRules } from "./tools.ts";

export type AnswerEvent = ToolEvent | { readonly type: "reasoning"; readonly text: string };

/** Reads an answer's text as it grows. */
export type AnswerParser = TextReader<AnswerEvent>;

export interface AnswerFormat {
  /** Names of the control tokens that are marks: the parser must see them. */
  readonly marks: readonly string[];
  readonly parser: () => AnswerParser;
  /** What the answer may be; undefined: anything. */
  readonly grammar: GrammarSpec | undefined;
  /** What reasoning that still goes on is, and what must follow when `tokens` of it have come. */
  readonly budget: (tokens: number) => ReasoningBudget | undefined;
}

/** After `tokens` tokens an answer whose text is still within `thoughts` must go on as `rest` says. */
export interface ReasoningBudget {
  readonly tokens: number;
  readonly thoughts: GrammarSpec;
  readonly rest: GrammarSpec;
}

export interface AnswerWish {
  /** The chat template's source. */
  readonly template: string;
  /** How reasoning is marked; undefined: the model has none. */
  readonly reasoning: ReasoningFormat | undefined;
  readonly tools: ToolRules | undefined;
  /** What the answer must satisfy where it calls nothing. */
  readonly grammar: GrammarSpec | undefined;
  /** Names of the vocabulary's control tokens. */
  readonly controls: readonly string[];
}

export function answerFormat({ template, reasoning, tools, grammar, controls }: AnswerWish): AnswerFormat {
  const callable = callableTools(tools);
  const isFree = grammar === undefined && (tools === undefined || tools.tools.length === 0);
  if (isHarmony(template)) {
    return {
      marks: HARMONY_MARKS,
      parser: () => harmonyParser(callable),
      grammar: isFree ? undefined : harmonyGrammar(tools, grammar),
      budget: (tokens) => ({ tokens, ...harmonyBudget(tools, grammar) }),
    };
  }
  if (namesRecipients(template)) {
    return {
      marks: [],
      parser: () => recipientsParser(callable),
      grammar: isFree ? undefined : recipientsGrammar(tools, grammar),
      budget: () => undefined,
    };
  }
  const format = tools === undefined || tools.tools.length === 0 ? undefined : toolFormat(template);
  const texts = [
    ...(format === undefined ? [] : literalsOf(format)),
    ...(reasoning ? [reasoning.open, reasoning.close] : []),
  ];
  const marks = marksIn(texts, controls);
  return {
    marks,
    parser: () => new PlainParser(reasoning, format && toolCallParser(format, callable)),
    grammar: isFree ? undefined : after(reasoning, marks, wholeGrammar(format, tools, grammar, marks)),
    budget: (tokens) =>
      reasoning?.isClosed === false
        ? { tokens, ...reasoningBudget(reasoning, marks, wholeGrammar(format, tools, grammar, marks)) }
        : undefined,
  };
}

function wholeGrammar(
  format: ToolFormat | undefined,
  tools: ToolRules | undefined,
  grammar: GrammarSpec | undefined,
  marks: ControlNames,
): GrammarSpec {
  if (format !== undefined && tools !== undefined) return toolGrammar(format, tools, grammar, marks);
  return grammar ?? { without: [] };
}

/** A grammar that begins where the reasoning ends. */
function after(reasoning: ReasoningFormat | undefined, marks: ControlNames, grammar: GrammarSpec): GrammarSpec {
  return reasoning === undefined ? grammar : { sequence: [...reasoningGrammar(reasoning, marks), grammar] };
}

function literalsOf({ begin, call, between = "", end, notation }: ToolFormat): readonly string[] {
  const quote = notation !== "json" && notation.kind === "bare" ? [notation.quote] : [];
  const literals = call.flatMap((part) =>
    typeof part === "string"
      ? [part]
      : "optional" in part
        ? part.optional.filter((one) => typeof one === "string")
        : [],
  );
  return [begin, ...literals, between, end, ...quote];
}

/** The control tokens that texts are made of, longest first. */
function marksIn(texts: readonly string[], controls: readonly string[]): ControlNames {
  return controls.filter((name) => texts.some((text) => text.includes(name))).sort((a, b) => b.length - a.length);
}

function callableTools(rules: ToolRules | undefined): CallableTools {
  const { tools = [], choice = "none" } = rules ?? {};
  const known = new Map(choice === "none" ? [] : tools.map((tool) => [tool.name, tool]));
  return {
    has: (name) => known.has(name),
    stringMembers: (name) => {
      const tool = known.get(name);
      return tool === undefined ? new Set() : stringMembersOf(tool.parameters);
    },
  };
}

class PlainParser implements AnswerParser {
  readonly #reasoning: ReasoningParser | undefined;
  readonly #calls: TextReader<ToolEvent> | undefined;

  constructor(reasoning: ReasoningFormat | undefined, calls: TextReader<ToolEvent> | undefined) {
    this.#reasoning = reasoning && new ReasoningParser(reasoning);
    this.#calls = calls;
  }

  push(text: string): AnswerEvent[] {
    return this.#read(this.#reasoning?.push(text) ?? [{ type: "text", text }]);
  }

  end(): AnswerEvent[] {
    return [...this.#read(this.#reasoning?.end() ?? []), ...(this.#calls?.end() ?? [])];
  }

  #read(parts: readonly { readonly type: "text" | "reasoning"; readonly text: string }[]): AnswerEvent[] {
    return parts.flatMap((part): AnswerEvent[] =>
      part.type === "text" && this.#calls ? this.#calls.push(part.text) : [part],
    );
  }
}
