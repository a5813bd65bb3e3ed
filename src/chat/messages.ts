/**
 * Chat messages as callers hand them in: checked, each fault named by message and field, and brought into one form.
 * What a template makes of them is chat-template.ts's.
 */
import { RequestError } from "../errors.ts";
import type { ToolCall } from "./tools.ts";

const ROLES = ["system", "user", "assistant", "tool"] as const;
export type ChatRole = (typeof ROLES)[number];

/** A piece of a message's text, as OpenAI's API has it. */
export interface TextPart {
  readonly type: "text";
  readonly text: string;
}

export interface ChatMessage {
  readonly role: ChatRole;
  /** Text, or pieces of it that belong together. */
  readonly content: string | readonly TextPart[];
  readonly name?: string;
  /** What the model thought before this answer; templates see it as `reasoning_content`. */
  readonly reasoning?: string;
  /** An assistant's: the tools that it called, after its text. */
  readonly toolCalls?: readonly ToolCall[];
  /** A tool's: the call that this is the result of. */
  readonly toolCallId?: string;
}

/** A message whose content is one text. */
export interface CheckedMessage extends ChatMessage {
  readonly content: string;
}

/** More than any context holds; a template looks through it several times, on the event loop. */
const MAX_CHARACTERS = 8_000_000;

/** Throws RequestError that names the message and the field. */
export function checkMessages(messages: unknown): CheckedMessage[] {
  if (!Array.isArray(messages))
    throw new RequestError(`messages must be a list of {role, content}, not ${kindOf(messages)}`);
  if (messages.length === 0) throw new RequestError("chat() needs at least one message");
  const checked = Array.from(messages, checkMessage);
  const characters = checked.reduce((sum, message) => sum + lengthOf(message), 0);
  if (characters > MAX_CHARACTERS)
    throw new RequestError(`the messages have ${characters} characters together, more than ${MAX_CHARACTERS}`);
  return checked;
}

/** Characters of all that a message says; of its calls' arguments as JSON. */
export function lengthOf({ content, reasoning, toolCalls = [] }: CheckedMessage): number {
  const calls = toolCalls.reduce((sum, call) => sum + call.name.length + jsonLength(call.arguments), 0);
  return content.length + (reasoning?.length ?? 0) + calls;
}

function jsonLength(value: unknown): number {
  try {
    return JSON.stringify(value)?.length ?? 0;
  } catch (error) {
    throw new RequestError(`the arguments of a call can't be written as JSON: ${String(error)}`, { cause: error });
  }
}

function checkMessage(message: unknown, index: number): CheckedMessage {
  const where = `messages[${index}]`;
  if (typeof message !== "object" || message === null || Array.isArray(message))
    throw new RequestError(`${where} must be an object {role, content}, not ${kindOf(message)}`);
  const { role, content, name, reasoning, toolCalls, toolCallId } = message as Readonly<Record<string, unknown>>;
  const known = ROLES.find((each) => each === role);
  if (known === undefined) {
    const found = typeof role === "string" ? JSON.stringify(role.slice(0, 40)) : kindOf(role);
    throw new RequestError(`${where}.role must be one of ${ROLES.join(", ")}, not ${found}`);
  }
  const calls = callsOf(toolCalls, `${where}.toolCalls`);
  if (calls.length > 0 && known !== "assistant")
    throw new RequestError(`${where}.toolCalls: only an assistant calls tools`);
  return {
    role: known,
    // A message that only calls tools may have no text.
    content: (content ?? null) === null && calls.length > 0 ? "" : contentOf(content, `${where}.content`),
    ...optionalText("name", name, where),
    ...optionalText("reasoning", reasoning, where),
    ...(calls.length > 0 && { toolCalls: calls }),
    ...optionalText("toolCallId", toolCallId, where),
  };
}

function callsOf(calls: unknown, where: string): ToolCall[] {
  if (calls === undefined || calls === null) return [];
  if (!Array.isArray(calls))
    throw new RequestError(`${where} must be a list of {id, name, arguments}, not ${kindOf(calls)}`);
  return calls.map((call: unknown, i) => {
    const { id, name, arguments: args } = (typeof call === "object" && call !== null ? call : {}) as Partial<ToolCall>;
    if (typeof id !== "string") throw new RequestError(`${where}[${i}].id must be a text, not ${kindOf(id)}`);
    if (typeof name !== "string") throw new RequestError(`${where}[${i}].name must be a text, not ${kindOf(name)}`);
    return { id, name, arguments: args ?? {} };
  });
}

function contentOf(content: unknown, where: string): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) throw new RequestError(`${where} must be a text, not ${kindOf(content)}`);
  const parts = content.map((part: unknown, i) => {
    const { type, text } = (typeof part === "object" && part !== null ? part : {}) as Readonly<Record<string, unknown>>;
    if (type === "text" && typeof text === "string") return text;
    const found = typeof type === "string" && type !== "text" ? JSON.stringify(type.slice(0, 40)) : kindOf(part);
    throw new RequestError(
      `${where}[${i}] must be {type: "text", text: "…"}, not ${found}; models here read text only`,
    );
  });
  return parts.join("");
}

function optionalText(field: string, value: unknown, where: string): Readonly<Record<string, string>> {
  if (value === undefined || value === null) return {};
  if (typeof value !== "string") throw new RequestError(`${where}.${field} must be a text, not ${kindOf(value)}`);
  return { [field]: value };
}

function kindOf(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  return typeof value === "string" ? "a text" : typeof value === "object" ? "an object" : `a ${typeof value}`;
}
