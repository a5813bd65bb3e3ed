/**
 * What an answer may be where there are tools, as a grammar: any text until a call begins, then a call of a tool that there
 * is, with arguments that its schema allows. What can't be enforced is refused when the grammar is compiled.
 */
import type { GrammarSpec, JsonValue, NotationSpec } from "../../decode/grammar/spec.ts";
import type { ToolRules, ToolSpec } from "../tools.ts";
import type { ArgumentNotation, Part, ToolFormat } from "./format.ts";

/** Names of control tokens that marks are made of, longest first. */
export type ControlNames = readonly string[];

/** Text in which some control tokens are named, as a grammar. */
export function markedText(text: string, controls: ControlNames): GrammarSpec[] {
  if (text === "") return [];
  const name = controls.find((one) => text.includes(one));
  if (name === undefined) return [{ text }];
  const at = text.indexOf(name);
  const rest = text.slice(at + name.length);
  return [...markedText(text.slice(0, at), controls), { special: name }, ...markedText(rest, controls)];
}

/**
 * The grammar of an answer, its reasoning aside. `answer`: what it may be where it calls nothing; undefined: any text.
 */
export function toolGrammar(
  format: ToolFormat,
  { tools, choice, parallel }: ToolRules,
  answer: GrammarSpec | undefined,
  controls: ControlNames,
): GrammarSpec {
  const text = answer ?? freeText(format);
  if (choice === "none" || tools.length === 0) return text;
  const callable = typeof choice === "string" ? tools : tools.filter(({ name }) => name === choice.name);
  const calls = sections(format, callable, parallel && typeof choice === "string", controls);
  if (choice !== "auto") return calls;
  if (answer !== undefined || format.isWhole === true) return { anyOf: [text, calls] };
  return { sequence: [text, { repeat: calls, max: 1 }] };
}

/** Text in which no call begins. */
function freeText({ begin, call, isWhole }: ToolFormat): GrammarSpec {
  if (isWhole !== true) return { without: [markOf(begin)] };
  const [first = ""] = call;
  const start = begin === "" && typeof first === "string" ? first.slice(0, 1) : begin.slice(0, 1);
  return { regex: `(?:[^\\${start}\\s][^]*)?` };
}

/** What a section is known by: its first tag, or all that begins it. */
export function markOf(begin: string): string {
  return begin.trim().split("\n", 1)[0] ?? "";
}

function sections(
  format: ToolFormat,
  tools: readonly ToolSpec[],
  parallel: boolean,
  controls: ControlNames,
): GrammarSpec {
  const { begin, between, end, repeats } = format;
  const one: GrammarSpec = { anyOf: tools.map((tool) => callOf(format, tool, controls)) };
  const more: GrammarSpec[] =
    between === undefined || !parallel ? [] : [{ repeat: { sequence: [...markedText(between, controls), one] } }];
  const section: GrammarSpec = {
    sequence: [...markedText(begin, controls), one, ...more, ...markedText(end, controls)],
  };
  if (repeats !== true || !parallel) return section;
  return { sequence: [section, { repeat: { sequence: [{ repeat: { text: "\n" }, max: 1 }, section] } }] };
}

function callOf(format: ToolFormat, tool: ToolSpec, controls: ControlNames): GrammarSpec {
  const write = (part: Part): GrammarSpec[] => {
    if (typeof part === "string") return markedText(part, controls);
    if ("optional" in part) return [{ repeat: { sequence: part.optional.flatMap(write) }, max: 1 }];
    if (part.hole === "name") return [{ text: tool.name }];
    if (part.hole === "id") return [{ regex: "[a-zA-Z0-9]{9}" }];
    if (part.hole === "number") return [{ regex: "0|[1-9][0-9]{0,2}" }];
    return [argumentsOf(format.notation, tool, controls)];
  };
  return { sequence: format.call.flatMap(write) };
}

function argumentsOf(
  notation: ArgumentNotation,
  { parameters, strict }: ToolSpec,
  controls: ControlNames,
): GrammarSpec {
  if (notation === "json") return { schema: onlyObjects(parameters), whitespace: "spaced", strict };
  const spec: NotationSpec =
    notation.kind === "bare" ? { ...notation, isControl: controls.includes(notation.quote) } : notation;
  return { call: parameters, notation: spec };
}

/** Arguments are an object, whatever else the schema allows. */
export function onlyObjects(schema: ToolSpec["parameters"]): ToolSpec["parameters"] {
  if (typeof schema !== "object" || schema === null || Array.isArray(schema) || "type" in schema) return schema;
  return { type: "object", ...(schema as Readonly<Record<string, JsonValue>>) };
}
