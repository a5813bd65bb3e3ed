/**
 * Tools as a conversation knows them: functions with a name, a description and a JSON Schema of their arguments, and the
 * calls that a model makes of them. How a model writes a call is tool-calls/; who runs it is the caller's affair.
 */
import { checkGrammarSpec } from "../decode/grammar/check-spec.ts";
import type { JsonValue } from "../decode/grammar/spec.ts";
import { shown } from "../decode/limits.ts";
import { RequestError } from "../errors.ts";
import { type OutputOf, readSchema, type StandardSchema } from "./standard-schema.ts";

export interface ToolSpec {
  readonly name: string;
  readonly description?: string | undefined;
  /** JSON Schema of the arguments, an object. */
  readonly parameters: JsonValue;
  /** They take no members beside the schema's `properties` where it leaves that open. Default false. */
  readonly strict?: boolean | undefined;
}

/** A call of a tool, as it stands in an assistant's message. */
export interface ToolCall {
  /** By which the result's message names it. */
  readonly id: string;
  readonly name: string;
  /** JSON: for a tool, an object. */
  readonly arguments: unknown;
}

/** Whether the model calls tools: as it likes, never, at least once, or this one. */
export type ToolChoice = "auto" | "none" | "required" | { readonly name: string };

/** A tool as a program hands it in; `tool()` infers the type of its arguments. */
export interface Tool {
  readonly description?: string | undefined;
  /** The arguments, an object: JSON Schema, or a Standard Schema such as zod's. */
  readonly parameters: JsonValue | StandardSchema;
  /** Called by `agent()` alone. What it gives is told to the model: a text as it is, anything else as JSON. */
  readonly run?: ((args: never, call: ToolRun) => unknown) | undefined;
}

/** The call that a tool runs for. */
export interface ToolRun {
  readonly id: string;
  readonly signal: AbortSignal | undefined;
}

/**
 * A tool whose `run` has the type of its parameters.
 *
 * @example
 * const weather = tool({ description: "The weather of a city", parameters: z.object({ city: z.string() }), run: ({ city }) => look(city) });
 */
export function tool<Schema extends JsonValue | StandardSchema>(definition: {
  readonly description?: string | undefined;
  readonly parameters: Schema;
  readonly run?: ((args: OutputOf<Schema>, call: ToolRun) => unknown) | undefined;
}): Tool {
  return definition;
}

/** Tools by name. */
export type Tools = Readonly<Record<string, Tool>>;

/** What an answer may call, and how often. */
export interface ToolRules {
  readonly tools: readonly ToolSpec[];
  readonly choice: ToolChoice;
  /** Several calls in one answer. */
  readonly parallel: boolean;
}

/** Throws RequestError where they are none. */
export function readTools(tools: unknown): ToolSpec[] {
  if (tools === undefined || tools === null) return [];
  if (typeof tools !== "object" || Array.isArray(tools))
    throw new RequestError(`tools must be an object {name: {description, parameters, run}}, not ${shown(tools)}`);
  return Object.entries(tools).map(([name, tool]: [string, unknown]) => {
    if (typeof tool !== "object" || tool === null)
      throw new RequestError(`the tool ${name} must be an object {description, parameters, run}, not ${shown(tool)}`);
    const { description, parameters } = tool as Tool;
    const { schema, strict } = readSchema(parameters, `the parameters of the tool ${name}`);
    return { name, description, parameters: schema, strict };
  });
}

const MAX_TOOLS = 512;
const NAME = /^[A-Za-z_][A-Za-z0-9_-]{0,63}$/;

/** Throws RequestError that names the tool and the field. */
export function checkTools(tools: readonly ToolSpec[], choice: ToolChoice): void {
  if (tools.length > MAX_TOOLS)
    throw new RequestError(`tools has ${tools.length} tools, expected ${MAX_TOOLS} at most`);
  const names = new Set<string>();
  for (const { name, description, parameters } of tools) {
    if (!NAME.test(name)) {
      throw new RequestError(`a tool is named by letters, digits, "_" and "-", 64 at most, not by ${shown(name)}`);
    }
    if (names.has(name)) throw new RequestError(`there are two tools of the name ${name}`);
    names.add(name);
    if (description !== undefined && typeof description !== "string")
      throw new RequestError(`the description of the tool ${name} must be a text, not ${shown(description)}`);
    checkGrammarSpec({ schema: parameters });
  }
  if (typeof choice === "string") {
    if (!["auto", "none", "required"].includes(choice))
      throw new RequestError(`toolChoice must be auto, none, required or {name}, not ${shown(choice)}`);
    if (choice === "required" && tools.length === 0)
      throw new RequestError("toolChoice is required, and there are no tools");
  } else if (typeof choice !== "object" || choice === null || !names.has(choice.name)) {
    throw new RequestError(`toolChoice names no tool: ${shown(choice)}`);
  }
}

/** Tools as templates expect them, which is OpenAI's form. */
export function templateTools(tools: readonly ToolSpec[]): readonly unknown[] {
  return tools.map(({ name, description = "", parameters }) => ({
    type: "function",
    function: { name, description, parameters },
  }));
}
