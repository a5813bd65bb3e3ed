/** Anthropic's /v1/messages: what goes in and what comes out. Fields that it doesn't know are let through, as there. */
import { z } from "zod";

import type { ChatMessage } from "../../chat/chat-template.ts";
import { limited, ModelName, NoList, notBuilt, Nothing, StopTexts } from "./common.ts";
import { messagesOf as conversationOf, MessageContent, Text, ToolBody, ToolChoiceBody } from "./message-blocks.ts";

const conversation = {
  model: ModelName,
  messages: z.array(z.looseObject({ role: z.enum(["user", "assistant"]), content: MessageContent })).min(1),
  system: Text.nullish(),
  tools: z.array(ToolBody).max(512).nullish(),
  tool_choice: ToolChoiceBody.nullish(),
  mcp_servers: notBuilt(NoList),
  output_config: notBuilt(Nothing),
  output_format: notBuilt(Nothing),
  thinking: z
    .discriminatedUnion("type", [
      z.looseObject({ type: z.literal("disabled") }),
      z.looseObject({ type: z.literal("adaptive") }),
      z.looseObject({ type: z.literal("enabled"), budget_tokens: limited("reasoningBudget") }),
    ])
    .nullish()
    .describe("whether a model that can think does, and for how many tokens"),
} as const;

export const MessagesRequest = z
  .looseObject({
    ...conversation,
    max_tokens: limited("maxTokens"),
    stop_sequences: StopTexts.nullish(),
    stream: z.boolean().nullish(),
    temperature: limited("temperature").nullish(),
    top_k: limited("topK").nullish(),
    top_p: limited("topP").nullish(),
  })
  .meta({ id: "MessagesRequest" });

export const CountTokensRequest = z.looseObject(conversation).meta({ id: "CountTokensRequest" });
export const TokenCount = z.strictObject({ input_tokens: z.int() }).meta({ id: "TokenCount" });

export const MessagesUsage = z.strictObject({
  input_tokens: z.int().describe("of the prompt, without those that were in memory"),
  cache_read_input_tokens: z.int(),
  cache_creation_input_tokens: z.int(),
  output_tokens: z.int(),
});

export const Message = z
  .strictObject({
    id: z.string(),
    type: z.literal("message"),
    role: z.literal("assistant"),
    model: z.string(),
    content: z.array(
      z.union([
        z.strictObject({ type: z.literal("text"), text: z.string() }),
        z.strictObject({ type: z.literal("thinking"), thinking: z.string(), signature: z.string() }),
        z.strictObject({ type: z.literal("tool_use"), id: z.string(), name: z.string(), input: z.unknown() }),
      ]),
    ),
    stop_reason: z.enum(["end_turn", "max_tokens", "stop_sequence", "tool_use"]).nullable(),
    stop_sequence: z.string().nullable(),
    usage: MessagesUsage,
  })
  .meta({ id: "Message" });

/** The library's messages. */
export function messagesOf({ messages, system }: z.infer<typeof CountTokensRequest>): ChatMessage[] {
  return conversationOf(messages, system);
}

/** Variables for the model's template. */
export function templateVariables({ thinking }: z.infer<typeof CountTokensRequest>): { enable_thinking?: boolean } {
  return thinking === null || thinking === undefined ? {} : { enable_thinking: thinking.type !== "disabled" };
}
