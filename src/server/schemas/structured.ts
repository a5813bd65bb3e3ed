/** What form an answer must have: OpenAI's response_format, and vLLM's structured_outputs and its older guided_ fields. */
import { z } from "zod";

import type { GrammarSpec, JsonValue } from "../../decode/grammar/spec.ts";
import { HttpError } from "../failure.ts";

// Whether a schema is one, and of what size, is the library's to say.
const Schema = z.unknown().refine((value) => value !== undefined, "a JSON Schema is needed");

export const ResponseFormat = z
  .discriminatedUnion("type", [
    z.strictObject({ type: z.literal("text") }),
    z.strictObject({ type: z.literal("json_object") }),
    z.strictObject({
      type: z.literal("json_schema"),
      json_schema: z.strictObject({
        name: z.string().optional(),
        description: z.string().nullish(),
        strict: z.boolean().nullish(),
        schema: Schema.describe("the answer satisfies it; what Millrace can't hold to is refused"),
      }),
    }),
  ])
  .describe("what form the answer has");

const Texts = z.array(z.string()).min(1);

/** vLLM's fields; the newer ones are one object. */
export const structuredFields = {
  structured_outputs: z
    .strictObject({
      json: z.unknown().optional(),
      regex: z.string().nullish(),
      choice: Texts.nullish(),
      grammar: z.string().nullish(),
      json_object: z.boolean().nullish(),
    })
    .nullish()
    .describe("one of json (a schema), regex, choice, grammar (GBNF or Lark), json_object: what the answer satisfies"),
  guided_json: z.unknown().optional(),
  guided_regex: z.string().nullish(),
  guided_choice: Texts.nullish(),
  guided_grammar: z.string().nullish(),
} as const;

type StructuredBody = z.infer<z.ZodObject<typeof structuredFields>> & {
  readonly response_format?: z.infer<typeof ResponseFormat> | null | undefined;
};

/** What an answer must satisfy. Throws 400 where more than one field says so. */
export function answerGrammar(body: StructuredBody): GrammarSpec | undefined {
  const { response_format: format, structured_outputs: outputs } = body;
  const wishes: readonly (GrammarSpec | undefined)[] = [
    format?.type === "json_object" || outputs?.json_object === true ? { json: "object" } : undefined,
    format?.type === "json_schema" ? { schema: format.json_schema.schema as JsonValue } : undefined,
    schemaOf(outputs?.json ?? body.guided_json),
    ...[outputs?.regex ?? body.guided_regex].map((regex) => given(regex, (text) => ({ regex: text }))),
    ...[outputs?.choice ?? body.guided_choice].map((choice) => given(choice, (texts) => ({ choice: texts }))),
    ...[outputs?.grammar ?? body.guided_grammar].map((grammar) => given(grammar, grammarOf)),
  ];
  const [wish, ...others] = wishes.filter((one) => one !== undefined);
  if (others.length === 0) return wish;
  throw new HttpError(400, "of response_format, structured_outputs and the guided_ fields one says what an answer is", {
    param: "structured_outputs",
  });
}

function given<T>(value: T | null | undefined, make: (value: T) => GrammarSpec): GrammarSpec | undefined {
  return value === null || value === undefined ? undefined : make(value);
}

/** vLLM takes a schema as JSON text, too. */
function schemaOf(schema: unknown): GrammarSpec | undefined {
  if (schema === null || schema === undefined) return undefined;
  if (typeof schema !== "string") return { schema: schema as JsonValue };
  try {
    return { schema: JSON.parse(schema) as JsonValue };
  } catch {
    throw new HttpError(400, "the schema is no JSON", { param: "structured_outputs" });
  }
}

function grammarOf(text: string): GrammarSpec {
  return text.includes("::=") ? { gbnf: text } : { lark: text };
}
