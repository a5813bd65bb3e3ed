/** /v1/chat/completions: what goes in and what comes out. */
import { z } from "zod";

import type { ChatMessage } from "../../chat/chat-template.ts";
import { HttpError } from "../failure.ts";
import { given } from "../given.ts";
import { callsOf, ToolBody, ToolCallBody, ToolCallDelta, ToolChoiceBody } from "./chat-tools.ts";
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
import { ResponseFormat, structuredFields } from "./structured.ts";

const TextPart = z.strictObject({
  type: z.literal("text", { error: "only parts of text are supported" }),
  text: z.string(),
});
export const Content = z.union([z.string(), z.array(TextPart).min(1)], {
  error: "must be a text or a list of text parts; other parts aren't supported",
});

export const ChatMessageBody = z.strictObject({
  role: z.enum(["system", "developer", "user", "assistant", "tool"], {
    error: 'must be "system", "developer", "user", "assistant" or "tool"',
  }),
  content: Content.nullish().describe("may be missing where an assistant calls tools"),
  name: z.string().nullish(),
  reasoning_content: z.string().nullish().describe("what the model thought before this answer"),
  refusal: notBuilt(Nothing),
  audio: notBuilt(Nothing),
  tool_calls: z.array(ToolCallBody).nullish(),
  tool_call_id: z.string().nullish().describe("of a tool's message: the call that it answers"),
  function_call: notBuilt(Nothing),
});

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
    tools: z.array(ToolBody).max(512).nullish(),
    tool_choice: ToolChoiceBody.nullish(),
    functions: notBuilt(NoList),
    function_call: notBuilt(Nothing),
    response_format: ResponseFormat.nullish(),
    ...structuredFields,
    thinking_token_budget: limited("reasoningBudget").nullish().describe("the most tokens of reasoning"),
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
    reasoning_effort: z
      .enum(["none", "minimal", "low", "medium", "high", "xhigh"])
      .nullish()
      .describe("handed to the model's template, as reasoning_effort; none: as enable_thinking: false, too"),
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
const FinishReason = z.enum(["stop", "length", "tool_calls"]);

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
          content: z.string().nullable(),
          reasoning_content: z.string().optional(),
          tool_calls: z.array(ToolCallBody).optional(),
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
          tool_calls: z.array(ToolCallDelta).optional(),
        }),
        logprobs: ChatLogprobs.nullable(),
        finish_reason: FinishReason.nullable(),
      }),
    ),
    usage: Usage.nullable().optional(),
  })
  .meta({ id: "ChatCompletionChunk" });

/** The library's messages. Templates may want the name of the tool whose result a message is. */
export function chatMessages(messages: ChatRequest["messages"]): ChatMessage[] {
  const named = new Map<string, string>();
  return messages.map(
    ({ role, content, name, reasoning_content: reasoning, tool_calls: calls, tool_call_id: id }, i) => {
      const toolCalls = calls ? callsOf(calls, `messages.${i}.tool_calls`) : undefined;
      for (const call of toolCalls ?? []) named.set(call.id, call.name);
      return {
        role: role === "developer" ? "system" : role,
        content: content === null || content === undefined ? missing(toolCalls !== undefined, i) : plainText(content),
        ...given({ name: name ?? (id ? named.get(id) : undefined), reasoning, toolCalls, toolCallId: id }),
      };
    },
  );
}

function missing(hasCalls: boolean, i: number): string {
  if (hasCalls) return "";
  throw new HttpError(400, "a message that calls no tools needs a content", { param: `messages.${i}.content` });
}

export function plainText(content: z.infer<typeof Content>): string {
  return typeof content === "string" ? content : content.map(({ text }) => text).join("");
}
