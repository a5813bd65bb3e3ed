/**
 * Tools for models whose template has no place for them: they are described in the first message, calls are written into the
 * assistant's text in the Hermes format, and results come as the user's. What a message says stays of its own origin: results
 * are content, and make no control token.
 */
import type { CheckedMessage } from "./messages.ts";
import { templateTools, type ToolSpec } from "./tools.ts";

/** The same conversation with calls as text; results, too, where the template writes no message of a tool. */
export function withoutCalls(messages: readonly CheckedMessage[], keepResults: boolean): CheckedMessage[] {
  const plain: CheckedMessage[] = [];
  for (const message of messages) {
    const { toolCalls = [], toolCallId: _id, ...rest } = message;
    if (message.role === "tool" && !keepResults) {
      const result = `<tool_response>\n${message.content}\n</tool_response>`;
      const last = plain.at(-1);
      // Results of one answer's calls are one turn.
      if (last?.role === "user" && last.content.endsWith("</tool_response>"))
        plain[plain.length - 1] = { ...last, content: `${last.content}\n${result}` };
      else plain.push({ role: "user", content: result });
      continue;
    }
    const calls = toolCalls.map(
      ({ name, arguments: args }) =>
        `<tool_call>\n{"name": ${JSON.stringify(name)}, "arguments": ${spacedJson(args)}}\n</tool_call>`,
    );
    const text = message.content === "" && calls.length > 0 ? [] : [message.content];
    plain.push({ ...rest, content: [...text, ...calls].join("\n") });
  }
  return plain;
}

/** JSON with a space behind each comma and colon, as Python and grammars of calls write it. */
export function spacedJson(value: unknown): string {
  const lines = JSON.stringify(value, undefined, 1) ?? "null";
  // Between tokens there are line ends only, and in strings there are none.
  return lines
    .replaceAll(/([[{])\n */g, "$1")
    .replaceAll(/\n *([\]}])/g, "$1")
    .replaceAll(/,\n */g, ", ");
}

/** With the tools described to the model: by the system, or by the user where a template knows no system. */
export function withTools(
  messages: readonly CheckedMessage[],
  tools: readonly ToolSpec[],
  example: string,
  by: "system" | "user",
): CheckedMessage[] {
  const text = [
    "You may call these functions:",
    ...templateTools(tools).map((tool) => JSON.stringify(tool)),
    "To call one, write",
    example,
    "and wait for its result.",
  ].join("\n");
  const [first, ...others] = messages;
  if (first?.role === by) return [{ ...first, content: `${first.content}\n\n${text}` }, ...others];
  return [{ role: by, content: text }, ...messages];
}
