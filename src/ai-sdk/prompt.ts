/** The AI SDK's prompts, tools and options → the library's. What Millrace can't do is an error, or a warning that names it. */
import type {
  LanguageModelV4CallOptions,
  LanguageModelV4Prompt,
  LanguageModelV4ToolResultOutput,
  SharedV4Warning,
} from "@ai-sdk/provider";

import type { ChatMessage } from "../chat/chat-template.ts";
import type { ToolCall, ToolChoice, Tools } from "../chat/tools.ts";
import type { JsonValue } from "../decode/grammar/spec.ts";
import type { ChatOptions } from "../engine/llm.ts";
import { UnsupportedError } from "../errors.ts";

export function messagesOf(prompt: LanguageModelV4Prompt): ChatMessage[] {
  return prompt.flatMap((message): ChatMessage[] => {
    switch (message.role) {
      case "system":
        return [{ role: "system", content: message.content }];
      case "user":
        return [{ role: "user", content: message.content.map((part) => textOf(part, "user")).join("") }];
      case "assistant": {
        let [content, reasoning] = ["", ""];
        const toolCalls: ToolCall[] = [];
        for (const part of message.content) {
          if (part.type === "reasoning") reasoning += part.text;
          else if (part.type === "tool-call")
            toolCalls.push({ id: part.toolCallId, name: part.toolName, arguments: part.input });
          else content += textOf(part, "assistant");
        }
        const thoughts = reasoning === "" ? {} : { reasoning };
        return [{ role: "assistant", content, ...thoughts, ...(toolCalls.length === 0 ? {} : { toolCalls }) }];
      }
      case "tool":
        return message.content.map((part) => {
          if (part.type !== "tool-result")
            throw new UnsupportedError(`parts of the type "${part.type}" aren't supported`);
          return { role: "tool", content: resultText(part.output), toolCallId: part.toolCallId, name: part.toolName };
        });
      default:
        return message satisfies never;
    }
  });
}

function textOf(part: { readonly type: string; readonly text?: string }, role: string): string {
  if (part.type === "text" && part.text !== undefined) return part.text;
  throw new UnsupportedError(`parts of the type "${part.type}" in ${role} messages aren't supported; only text is`);
}

function resultText(output: LanguageModelV4ToolResultOutput): string {
  switch (output.type) {
    case "text":
    case "error-text":
      return output.value;
    case "json":
    case "error-json":
      return JSON.stringify(output.value);
    case "execution-denied":
      return `The call was denied${output.reason === undefined ? "" : `: ${output.reason}`}`;
    case "content":
      return output.value.map((part) => textOf(part, "tool")).join("");
    default:
      return output satisfies never;
  }
}

/** The library's options, and what of the SDK's is left out. */
export function optionsOf(call: LanguageModelV4CallOptions): {
  readonly options: ChatOptions;
  readonly warnings: SharedV4Warning[];
} {
  const { responseFormat: format, reasoning = "provider-default", stopSequences, abortSignal } = call;
  const warnings: SharedV4Warning[] = [];
  const tools: Record<string, Tools[string]> = {};
  for (const tool of call.tools ?? []) {
    if (tool.type === "function") {
      tools[tool.name] = { description: tool.description, parameters: tool.inputSchema as JsonValue };
    } else warnings.push({ type: "unsupported", feature: `provider tool ${tool.id}` });
  }
  const hasTools = Object.keys(tools).length > 0;
  const json = format?.type === "json" ? format : undefined;
  const known: Record<string, unknown> = {
    maxTokens: call.maxOutputTokens,
    temperature: call.temperature,
    topP: call.topP,
    topK: call.topK,
    presencePenalty: call.presencePenalty,
    frequencyPenalty: call.frequencyPenalty,
    seed: call.seed,
    stop: stopSequences,
    signal: abortSignal,
    tools: hasTools ? tools : undefined,
    toolChoice: hasTools && call.toolChoice ? choiceOf(call.toolChoice) : undefined,
    grammar: json === undefined ? undefined : json.schema === undefined ? { json: "object" } : { schema: json.schema },
    templateVariables: reasoning === "provider-default" ? undefined : effort(reasoning),
    // Whatever else the library takes, under its own names: providerOptions: { millrace: { minP: 0.1 } }.
    ...call.providerOptions?.["millrace"],
  };
  return { options: Object.fromEntries(Object.entries(known).filter(([, value]) => value !== undefined)), warnings };
}

function choiceOf(choice: NonNullable<LanguageModelV4CallOptions["toolChoice"]>): ToolChoice {
  return choice.type === "tool" ? { name: choice.toolName } : choice.type;
}

/** Handed to the model's template, as the server does. */
function effort(reasoning: string): Readonly<Record<string, unknown>> {
  return { reasoning_effort: reasoning, ...(reasoning === "none" && { enable_thinking: false }) };
}
