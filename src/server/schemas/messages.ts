/** Anthropic's /v1/messages: what goes in and what comes out. Fields that it doesn't know are let through, as there. */
import { z } from "zod";

import type { ChatMessage } from "../../chat/chat-template.ts";
import { limited, ModelName, NoList, notBuilt, Nothing, StopTexts } from "./common.ts";

const TextBlock = z.looseObject({
  type: z.literal("text", { error: "only blocks of text are supported" }),
  text: z.string(),
});
const Content = z.union([z.string(), z.array(TextBlock)], { error: "must be a text or a list of text blocks" });

const conversation = {
  model: ModelName,
  messages: z.array(z.looseObject({ role: z.enum(["user", "assistant"]), content: Content })).min(1),
  system: Content.nullish(),
  tools: notBuilt(NoList),
  tool_choice: notBuilt(Nothing),
  mcp_servers: notBuilt(NoList),
  output_config: notBuilt(Nothing),
  output_format: notBuilt(Nothing),
  thinking: notBuilt(z.looseObject({ type: z.literal("disabled", { error: "isn't supported by Millrace yet" }) })),
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
      ]),
    ),
    stop_reason: z.enum(["end_turn", "max_tokens", "stop_sequence"]).nullable(),
    stop_sequence: z.string().nullable(),
    usage: MessagesUsage,
  })
  .meta({ id: "Message" });

/** The library's messages. */
export function messagesOf({ messages, system }: z.infer<typeof CountTokensRequest>): ChatMessage[] {
  const first = system === null || system === undefined ? [] : [{ role: "system" as const, content: plain(system) }];
  return [...first, ...messages.map(({ role, content }) => ({ role, content: plain(content) }))];
}

function plain(content: z.infer<typeof Content>): string {
  return typeof content === "string" ? content : content.map(({ text }) => text).join("");
}
