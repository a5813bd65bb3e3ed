/** /v1/chat/completions: what goes in and what comes out. */
import { z } from "zod";

import type { ChatMessage } from "../../chat/chat-template.ts";
import type { JsonValue } from "../../decode/grammar/spec.ts";
import { given } from "../given.ts";
import {
  harmlessFields,
  limited,
  ModelName,
  NoList,
  notBuilt,
  Nothing,
  Off,
  samplingFields,
  StreamOptions,
  Usage,
} from "./common.ts";

const TextPart = z.strictObject({
  type: z.literal("text", { error: "only parts of text are supported" }),
  text: z.string(),
});
export const Content = z.union([z.string(), z.array(TextPart).min(1)], {
  error: "must be a text or a list of text parts; other parts aren't supported",
});

export const ChatMessageBody = z.strictObject({
  role: z.enum(["system", "developer", "user", "assistant"], {
    error: 'must be "system", "developer", "user" or "assistant"; tools aren\'t supported yet',
  }),
  content: Content,
  name: z.string().nullish(),
  reasoning_content: z.string().nullish().describe("what the model thought before this answer"),
  refusal: notBuilt(Nothing),
  audio: notBuilt(Nothing),
  tool_calls: notBuilt(NoList),
  function_call: notBuilt(Nothing),
});

const ResponseFormat = z
  .discriminatedUnion("type", [
    z.strictObject({ type: z.literal("text") }),
    z.strictObject({ type: z.literal("json_object") }),
    z.strictObject({
      type: z.literal("json_schema"),
      json_schema: z.strictObject({
        name: z.string().optional(),
        description: z.string().nullish(),
        strict: z.boolean().nullish(),
        // Whether it is one, and of what size, is the library's to say.
        schema: z
          .unknown()
          .refine((value) => value !== undefined, "a JSON Schema is needed")
          .describe("the answer satisfies it; what Millrace can't hold to is refused"),
      }),
    }),
  ])
  .describe("what form the answer has");

/** The JSON Schema that an answer must satisfy. */
export function answerSchema({ response_format: format }: ChatRequest): JsonValue | undefined {
  if (format?.type === "json_object") return { type: "object" };
  return format?.type === "json_schema" ? (format.json_schema.schema as JsonValue) : undefined;
}

export const ChatRequest = z
  .strictObject({
    model: ModelName,
    messages: z.array(ChatMessageBody).min(1),
    ...samplingFields,
    max_completion_tokens: limited("maxTokens").nullish().describe("default 1,024, within what the context leaves"),
    max_tokens: limited("maxTokens").nullish().describe("the older name of max_completion_tokens"),
    logprobs: z.boolean().nullish(),
    top_logprobs: limited("logprobs").nullish(),
    stream: z.boolean().nullish(),
    stream_options: StreamOptions.nullish(),
    chat_template_kwargs: z.record(z.string(), z.unknown()).nullish().describe("variables for the model's template"),
    store: Off.optional(),
    parallel_tool_calls: z.boolean().nullish(),
    ...harmlessFields,
    tools: notBuilt(NoList),
    tool_choice: notBuilt(z.union([z.null(), z.enum(["none", "auto"])], { error: "tools aren't supported yet" })),
    functions: notBuilt(NoList),
    function_call: notBuilt(Nothing),
    response_format: ResponseFormat.nullish(),
    modalities: notBuilt(
      z
        .array(z.literal("text", { error: "only text is supported" }))
        .max(1)
        .nullable(),
    ),
    audio: notBuilt(Nothing),
    prediction: z
      .strictObject({ type: z.literal("content"), content: Content })
      .nullish()
      .describe("a text that the answer repeats in large part: it comes faster, and is what it would be without"),
    reasoning_effort: notBuilt(Nothing),
    verbosity: notBuilt(Nothing),
    web_search_options: notBuilt(Nothing),
    moderation: notBuilt(Nothing),
  })
  .meta({ id: "ChatCompletionRequest" });
export type ChatRequest = z.infer<typeof ChatRequest>;

const TokenAlternative = z.strictObject({ token: z.string(), logprob: z.number(), bytes: z.array(z.int()) });
export const ChatLogprobs = z.strictObject({
  content: z.array(TokenAlternative.extend({ top_logprobs: z.array(TokenAlternative) })),
  refusal: z.null(),
});
const FinishReason = z.enum(["stop", "length"]);

const head = {
  id: z.string(),
  created: z.int(),
  model: z.string(),
  system_fingerprint: z.string().describe("the numeric profile: equal requests under an equal one give equal answers"),
};

export const ChatCompletion = z
  .strictObject({
    ...head,
    object: z.literal("chat.completion"),
    choices: z.array(
      z.strictObject({
        index: z.int(),
        message: z.strictObject({
          role: z.literal("assistant"),
          content: z.string(),
          reasoning_content: z.string().optional(),
          refusal: z.null(),
        }),
        logprobs: ChatLogprobs.nullable(),
        finish_reason: FinishReason,
      }),
    ),
    usage: Usage,
  })
  .meta({ id: "ChatCompletion" });

export const ChatChunk = z
  .strictObject({
    ...head,
    object: z.literal("chat.completion.chunk"),
    choices: z.array(
      z.strictObject({
        index: z.int(),
        delta: z.strictObject({
          role: z.literal("assistant").optional(),
          content: z.string().optional(),
          reasoning_content: z.string().optional(),
        }),
        logprobs: ChatLogprobs.nullable(),
        finish_reason: FinishReason.nullable(),
      }),
    ),
    usage: Usage.nullable().optional(),
  })
  .meta({ id: "ChatCompletionChunk" });

/** The library's messages. */
export function chatMessages(messages: ChatRequest["messages"]): ChatMessage[] {
  return messages.map(({ role, content, name, reasoning_content: reasoning }) => ({
    role: role === "developer" ? "system" : role,
    content: plainText(content),
    ...given({ name, reasoning }),
  }));
}

export function plainText(content: z.infer<typeof Content>): string {
  return typeof content === "string" ? content : content.map(({ text }) => text).join("");
}
