/** OpenAI's /v1/responses: what goes in and what comes out. How its items become messages is response-items.ts's. */
import { z } from "zod";

import { harmlessFields, limited, ModelName, NoList, notBuilt, Nothing, Off, samplingFields } from "./common.ts";
import { InputItem, OutputItem } from "./response-items.ts";

const FunctionTool = z.strictObject({
  type: z.literal("function", { error: 'must be "function": Millrace has no tools of its own' }),
  name: z.string(),
  description: z.string().nullish(),
  parameters: z.unknown().optional().describe("JSON Schema of the arguments"),
  strict: z.boolean().nullish(),
});

const ToolChoice = z.union([
  z.enum(["none", "auto", "required"]),
  z.strictObject({ type: z.literal("function"), name: z.string() }),
]);

const TextFormat = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("text") }),
  z.strictObject({ type: z.literal("json_object") }),
  z.strictObject({
    type: z.literal("json_schema"),
    name: z.string(),
    description: z.string().nullish(),
    strict: z.boolean().nullish(),
    schema: z.unknown().refine((value) => value !== undefined, "a JSON Schema is needed"),
  }),
]);

// An answer is one, and has no stop texts, in this API.
const { n: _n, stop: _stop, ...sampling } = samplingFields;

export const ResponsesRequest = z
  .strictObject({
    model: ModelName,
    input: z
      .union([z.string(), z.array(InputItem).min(1)], {
        error:
          "must be a text, or messages of text, function calls, their outputs and reasoning; other items aren't supported",
      })
      .describe("a text, or items of a conversation"),
    instructions: z.string().nullish().describe("what the model is told first; not kept for later responses"),
    previous_response_id: z.string().nullish().describe("a stored response, whose conversation goes on"),
    store: z.boolean().nullish().describe("whether the response can be had again, for an hour; default true"),
    ...sampling,
    max_output_tokens: limited("maxTokens").nullish().describe("default 1,024, within what the context leaves"),
    stream: z.boolean().nullish(),
    stream_options: z.strictObject({ include_obfuscation: z.boolean().nullish() }).nullish(),
    text: z
      .strictObject({ format: TextFormat.optional(), verbosity: notBuilt(Nothing) })
      .nullish()
      .describe("what form the answer has"),
    tools: z.array(FunctionTool).max(512).nullish(),
    tool_choice: ToolChoice.nullish(),
    parallel_tool_calls: z.boolean().nullish(),
    reasoning: z
      .strictObject({
        effort: z.enum(["none", "minimal", "low", "medium", "high", "xhigh"]).nullish(),
        summary: notBuilt(Nothing),
      })
      .nullish()
      .describe("the effort is handed to the model's template; none: as enable_thinking: false, too"),
    ...harmlessFields,
    truncation: notBuilt(z.union([z.null(), z.literal("disabled")], { error: "isn't supported by Millrace yet" })),
    background: Off.optional(),
    conversation: notBuilt(Nothing),
    include: notBuilt(NoList),
    max_tool_calls: notBuilt(Nothing),
    prompt: notBuilt(Nothing),
    top_logprobs: notBuilt(z.union([z.null(), z.literal(0)], { error: "isn't supported by Millrace yet" })),
  })
  .meta({ id: "ResponsesRequest" });
export type ResponsesRequest = z.infer<typeof ResponsesRequest>;

export const ResponseUsage = z.strictObject({
  input_tokens: z.int(),
  input_tokens_details: z.strictObject({ cached_tokens: z.int() }),
  output_tokens: z.int(),
  total_tokens: z.int(),
});

export const ResponseBody = z
  .strictObject({
    id: z.string(),
    object: z.literal("response"),
    created_at: z.int(),
    completed_at: z.int().nullable(),
    status: z.enum(["in_progress", "completed", "incomplete", "failed"]),
    error: z.strictObject({ code: z.string(), message: z.string() }).nullable(),
    incomplete_details: z.strictObject({ reason: z.literal("max_output_tokens") }).nullable(),
    model: z.string(),
    system_fingerprint: z.string().describe("the numeric profile"),
    instructions: z.string().nullable(),
    previous_response_id: z.string().nullable(),
    output: z.array(OutputItem),
    usage: ResponseUsage.nullable(),
    max_output_tokens: z.int().nullable(),
    temperature: z.number().nullable(),
    top_p: z.number().nullable(),
    text: z.strictObject({ format: z.unknown() }),
    tools: z.array(FunctionTool),
    tool_choice: ToolChoice,
    parallel_tool_calls: z.boolean(),
    reasoning: z.strictObject({ effort: z.string().nullable(), summary: z.null() }),
    truncation: z.literal("disabled"),
    store: z.boolean(),
    metadata: z.record(z.string(), z.unknown()).nullable(),
  })
  .meta({ id: "Response" });
export type ResponseBody = z.infer<typeof ResponseBody>;

export const ResponseEvent = z
  .looseObject({ type: z.string(), sequence_number: z.int() })
  .describe("response.created, response.output_text.delta, …; numbered from 0 on")
  .meta({ id: "ResponseEvent" });

export const DeletedResponse = z
  .strictObject({ id: z.string(), object: z.literal("response"), deleted: z.literal(true) })
  .meta({ id: "DeletedResponse" });
