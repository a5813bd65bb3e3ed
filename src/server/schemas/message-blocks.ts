/** The blocks of Anthropic's messages, tools and results among them: bodies → the library's messages and options. */
import { z } from "zod";

import type { ChatMessage } from "../../chat/chat-template.ts";
import type { ToolChoice, Tools } from "../../chat/tools.ts";
import type { JsonValue } from "../../decode/grammar/spec.ts";
import { HttpError } from "../failure.ts";

export const TextBlock = z.looseObject({ type: z.literal("text"), text: z.string() });
export const Text = z.union([z.string(), z.array(TextBlock)], { error: "must be a text or a list of text blocks" });

const Block = z.discriminatedUnion(
  "type",
  [
    TextBlock,
    z.looseObject({ type: z.literal("thinking"), thinking: z.string() }),
    // Thoughts that another server hid: they are no use here.
    z.looseObject({ type: z.literal("redacted_thinking") }),
    z.looseObject({
      type: z.literal("tool_use"),
      id: z.string(),
      name: z.string(),
      input: z.record(z.string(), z.unknown()),
    }),
    z.looseObject({
      type: z.literal("tool_result"),
      tool_use_id: z.string(),
      content: Text.nullish(),
      is_error: z.boolean().nullish(),
    }),
  ],
  { error: "only blocks of text, thinking, tool_use and tool_result are supported" },
);
export const MessageContent = z.union([z.string(), z.array(Block)], { error: "must be a text or a list of blocks" });

export const ToolBody = z.looseObject({
  type: z.literal("custom", { error: "only tools of your own are supported" }).nullish(),
  name: z.string(),
  description: z.string().nullish(),
  input_schema: z.unknown().optional().describe("JSON Schema of the arguments; the model can't call it with others"),
});

export const ToolChoiceBody = z.looseObject({
  type: z.enum(["auto", "any", "none", "tool"]),
  name: z.string().nullish(),
  disable_parallel_tool_use: z.boolean().nullish(),
});

export function toolsOf(tools: readonly z.infer<typeof ToolBody>[]): Tools {
  const all: Record<string, Tools[string]> = {};
  for (const { name, description, input_schema: schema } of tools) {
    if (Object.hasOwn(all, name))
      throw new HttpError(400, `there are two tools of the name "${name}"`, { param: "tools" });
    all[name] = { description: description ?? undefined, parameters: (schema ?? { type: "object" }) as JsonValue };
  }
  return all;
}

export function choiceOf({ type, name }: z.infer<typeof ToolChoiceBody>): ToolChoice {
  if (type === "any") return "required";
  if (type !== "tool") return type;
  if (typeof name !== "string") throw new HttpError(400, "tool_choice names no tool", { param: "tool_choice" });
  return { name };
}

type Body = { readonly role: "user" | "assistant"; readonly content: z.infer<typeof MessageContent> };

/** The library's messages: each result of a tool is one of its own. */
export function messagesOf(messages: readonly Body[], system: z.infer<typeof Text> | null | undefined): ChatMessage[] {
  const named = new Map<string, string>();
  const all = messages.flatMap(({ role, content }): ChatMessage[] => {
    if (typeof content === "string") return [{ role, content }];
    const results: ChatMessage[] = [];
    const calls: { id: string; name: string; arguments: unknown }[] = [];
    let text = "";
    let thoughts = "";
    for (const block of content) {
      if (block.type === "text") text += block.text;
      else if (block.type === "thinking") thoughts += block.thinking;
      else if (block.type === "tool_use") {
        calls.push({ id: block.id, name: block.name, arguments: block.input });
        named.set(block.id, block.name);
      } else if (block.type === "tool_result") results.push(resultOf(block, named));
    }
    const message = {
      role,
      content: text,
      ...(thoughts !== "" && { reasoning: thoughts }),
      ...(calls.length > 0 && { toolCalls: calls }),
    };
    return results.length > 0 && text === "" ? results : [...results, message];
  });
  return system === null || system === undefined ? all : [{ role: "system", content: plain(system) }, ...all];
}

function resultOf(
  block: z.infer<typeof Block> & { readonly type: "tool_result" },
  named: ReadonlyMap<string, string>,
): ChatMessage {
  const { tool_use_id: id, content, is_error: isError } = block;
  const name = named.get(id);
  const text = plain(content ?? "");
  return {
    role: "tool",
    content: isError === true ? `Error: ${text}` : text,
    toolCallId: id,
    ...(name !== undefined && { name }),
  };
}

function plain(content: z.infer<typeof Text>): string {
  return typeof content === "string" ? content : content.map(({ text }) => text).join("");
}
