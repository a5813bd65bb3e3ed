/** The items of /v1/responses: of a conversation that goes in, and of an answer. Neighbours of one turn become one message. */
import { z } from "zod";

import type { ChatMessage } from "../../chat/chat-template.ts";
import { HttpError } from "../failure.ts";

const Part = z.looseObject({
  type: z.enum(["input_text", "output_text", "text"], { error: "only parts of text are supported" }),
  text: z.string(),
});
const Text = z.union([z.string(), z.array(Part)], { error: "must be a text or a list of text parts" });
const ReasoningText = z.strictObject({ type: z.literal("reasoning_text"), text: z.string() });
const status = z.enum(["in_progress", "completed", "incomplete"]);
const place = { id: z.string().nullish(), status: status.nullish() } as const;

const MessageItem = z.strictObject({
  type: z.literal("message").optional(),
  role: z.enum(["user", "assistant", "system", "developer"]),
  content: Text,
  phase: z.string().nullish(),
  ...place,
});
const CallItem = z.strictObject({
  type: z.literal("function_call"),
  call_id: z.string(),
  name: z.string(),
  arguments: z.string().describe("JSON text"),
  ...place,
});
const ResultItem = z.strictObject({
  type: z.literal("function_call_output"),
  call_id: z.string(),
  output: Text,
  ...place,
});
const ReasoningItem = z.strictObject({
  type: z.literal("reasoning"),
  summary: z.array(z.unknown()).max(0, { error: "summaries aren't supported by Millrace" }).optional(),
  content: z.array(ReasoningText).nullish(),
  encrypted_content: z.null().optional(),
  ...place,
});
export const InputItem = z.union([MessageItem, CallItem, ResultItem, ReasoningItem], {
  error: "must be a message, a function_call, a function_call_output or a reasoning item",
});
export type InputItem = z.infer<typeof InputItem>;

const OutputText = z.strictObject({
  type: z.literal("output_text"),
  text: z.string(),
  annotations: z.array(z.never()),
  logprobs: z.array(z.never()),
});

export const OutputItem = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("message"),
    id: z.string(),
    role: z.literal("assistant"),
    status,
    content: z.array(OutputText),
  }),
  z.strictObject({
    type: z.literal("reasoning"),
    id: z.string(),
    status,
    summary: z.array(z.never()),
    content: z.array(ReasoningText),
  }),
  z.strictObject({
    type: z.literal("function_call"),
    id: z.string(),
    status,
    call_id: z.string(),
    name: z.string(),
    arguments: z.string(),
  }),
]);
export type OutputItem = z.infer<typeof OutputItem>;

interface Turn {
  content: string;
  reasoning: string;
  readonly toolCalls: { readonly id: string; readonly name: string; readonly arguments: unknown }[];
}

/** The library's messages. What an assistant thought, said and called, one after another, is one of them. */
export function itemMessages(input: string | readonly InputItem[]): ChatMessage[] {
  if (typeof input === "string") return [{ role: "user", content: input }];
  const messages: ChatMessage[] = [];
  const named = new Map<string, string>();
  let turn: Turn | undefined;
  const close = (): void => {
    if (turn === undefined) return;
    const { content, reasoning, toolCalls } = turn;
    const thoughts = reasoning === "" ? {} : { reasoning };
    messages.push({ role: "assistant", content, ...thoughts, ...(toolCalls.length === 0 ? {} : { toolCalls }) });
    turn = undefined;
  };
  const open = (): Turn => (turn ??= { content: "", reasoning: "", toolCalls: [] });
  for (const [i, item] of input.entries()) {
    if (item.type === "function_call") {
      open().toolCalls.push({ id: item.call_id, name: item.name, arguments: parse(item.arguments, i) });
      named.set(item.call_id, item.name);
    } else if (item.type === "reasoning") {
      // Thoughts begin a turn.
      if (turn !== undefined && turn.content !== "") close();
      open().reasoning += (item.content ?? []).map(({ text }) => text).join("");
    } else if (item.type === "function_call_output") {
      close();
      const name = named.get(item.call_id);
      const more = name === undefined ? {} : { name };
      messages.push({ role: "tool", content: plain(item.output), toolCallId: item.call_id, ...more });
    } else if (item.role === "assistant") {
      if (turn !== undefined && (turn.content !== "" || turn.toolCalls.length > 0)) close();
      open().content += plain(item.content);
    } else {
      close();
      messages.push({ role: item.role === "user" ? "user" : "system", content: plain(item.content) });
    }
  }
  close();
  return messages;
}

function plain(text: z.infer<typeof Text>): string {
  return typeof text === "string" ? text : text.map((part) => part.text).join("");
}

function parse(text: string, i: number): unknown {
  try {
    return JSON.parse(text === "" ? "{}" : text);
  } catch {
    throw new HttpError(400, "the arguments of the call are no JSON", { param: `input.${i}.arguments` });
  }
}
