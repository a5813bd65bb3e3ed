/** Tools, and calls of them, as OpenAI's chat API writes them. */
import { z } from "zod";

import type { ToolCall, ToolChoice, Tools } from "../../chat/tools.ts";
import type { JsonValue } from "../../decode/grammar/spec.ts";
import { HttpError } from "../failure.ts";

export const ToolBody = z.strictObject({
  type: z.literal("function", { error: 'must be "function": Millrace has no tools of its own' }),
  function: z.strictObject({
    name: z.string(),
    description: z.string().nullish(),
    parameters: z.unknown().optional().describe("JSON Schema of the arguments; the model can't call it with others"),
    strict: z.boolean().nullish(),
  }),
});

export const ToolChoiceBody = z
  .union([
    z.enum(["none", "auto", "required"]),
    z.strictObject({ type: z.literal("function"), function: z.strictObject({ name: z.string() }) }),
  ])
  .describe("whether the model calls tools, or which; default auto");

export const ToolCallBody = z.strictObject({
  id: z.string(),
  type: z.literal("function"),
  function: z.strictObject({ name: z.string(), arguments: z.string().describe("JSON text") }),
});

/** A piece of a call in a stream: the first has its identifier and name. */
export const ToolCallDelta = z.strictObject({
  index: z.int(),
  id: z.string().optional(),
  type: z.literal("function").optional(),
  function: z.strictObject({ name: z.string().optional(), arguments: z.string() }),
});

/** The library's tools. */
export function toolsOf(tools: readonly z.infer<typeof ToolBody>[]): Tools {
  const all: Record<string, Tools[string]> = {};
  for (const { function: one } of tools) {
    if (Object.hasOwn(all, one.name))
      throw new HttpError(400, `there are two tools of the name "${one.name}"`, { param: "tools" });
    all[one.name] = {
      description: one.description ?? undefined,
      parameters: (one.parameters ?? NO_ARGUMENTS) as JsonValue,
    };
  }
  return all;
}

/** A function without parameters takes none. */
const NO_ARGUMENTS: JsonValue = { type: "object", properties: {}, additionalProperties: false };

export function choiceOf(choice: z.infer<typeof ToolChoiceBody>): ToolChoice {
  return typeof choice === "string" ? choice : { name: choice.function.name };
}

/** The calls of a message. Throws 400 where arguments are no JSON. */
export function callsOf(calls: readonly z.infer<typeof ToolCallBody>[], where: string): ToolCall[] {
  return calls.map(({ id, function: { name, arguments: text } }) => {
    try {
      return { id, name, arguments: JSON.parse(text === "" ? "{}" : text) as unknown };
    } catch {
      throw new HttpError(400, `the arguments of the call "${id}" are no JSON`, { param: where });
    }
  });
}

export function callBody({ id, name, arguments: args }: ToolCall): z.infer<typeof ToolCallBody> {
  return { id, type: "function", function: { name, arguments: JSON.stringify(args) } };
}

/** Pieces of calls, numbered as they begin. */
export class CallDeltas {
  readonly #ids: string[] = [];

  next(id: string, name: string, text: string): z.infer<typeof ToolCallDelta> {
    const index = this.#ids.indexOf(id);
    if (index >= 0) return { index, function: { arguments: text } };
    return { index: this.#ids.push(id) - 1, id, type: "function", function: { name, arguments: text } };
  }
}
