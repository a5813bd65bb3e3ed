/** POST /v1/messages: the assistant's next turn, by Anthropic's API. */
import { z } from "zod";

import type { Choice, Generation } from "../../engine/llm.ts";
import { messagesFailureEvent } from "../anthropic-error.ts";
import { answerWithStream } from "../answer-stream.ts";
import type { Call } from "../call.ts";
import { withBody } from "../endpoint.ts";
import { frame } from "../event-stream.ts";
import { given } from "../given.ts";
import { cacheSalt } from "../schemas/common.ts";
import { choiceOf, toolsOf } from "../schemas/message-blocks.ts";
import { Message, messagesOf, MessagesRequest, type MessagesUsage, templateVariables } from "../schemas/messages.ts";
import type { Asked, ServedModel } from "../service.ts";
import { noteUsage } from "../usage.ts";

type MessageBody = z.infer<typeof Message>;

export const messages = withBody({
  method: "POST",
  path: "/v1/messages",
  summary: "The assistant's next turn in a conversation (Anthropic's API)",
  errors: "anthropic",
  body: MessagesRequest,
  answer: Message,
  events: z.looseObject({ type: z.string() }),
  async handle(call, service, body) {
    const model = await service.model(body.model);
    const options = {
      maxTokens: body.max_tokens,
      ...given({
        adapter: model.adapter,
        temperature: body.temperature,
        topK: body.top_k,
        topP: body.top_p,
        stop: body.stop_sequences,
        cacheSalt: cacheSalt(call.key, undefined),
        tools: body.tools ? toolsOf(body.tools) : undefined,
        toolChoice: body.tools?.length && body.tool_choice ? choiceOf(body.tool_choice) : undefined,
        parallelToolCalls: body.tool_choice?.disable_parallel_tool_use === true ? false : undefined,
        reasoningBudget: body.thinking?.type === "enabled" ? body.thinking.budget_tokens : undefined,
      }),
      templateVariables: templateVariables(body),
      signal: call.signal,
    };
    call.note({ model: model.name });
    const asked = service.ask(call, model, 1, () => model.llm.chat(messagesOf(body), options));
    if (body.stream === true) {
      const frames = events(call, model, asked);
      return answerWithStream(call, service, [asked], frames, (error) => messagesFailureEvent(error, call.id));
    }
    for await (const _ of asked.parts);
    const generation = await asked.result;
    noteUsage(call, generation);
    const { text, reasoning, toolCalls = [] } = generation;
    const thoughts = reasoning === undefined ? [] : [{ type: "thinking", thinking: reasoning, signature: "" }];
    const texts = text === "" && toolCalls.length > 0 ? [] : [{ type: "text", text }];
    const calls = toolCalls.map(({ id, name, arguments: input }) => ({ type: "tool_use", id, name, input }));
    const content = [...thoughts, ...texts, ...calls];
    return Response.json({ ...blank(call, model), content, ...endOf(generation), usage: usageOf(generation) });
  },
});

async function* events(call: Call, model: ServedModel, asked: Asked): AsyncGenerator<string> {
  const event = (data: { readonly type: string; readonly [field: string]: unknown }): string => frame(data, data.type);
  yield event({ type: "message_start", message: blank(call, model) });
  /** What the open block is: its kind, or the identifier of a call. */
  let open: string | undefined;
  let index = -1;
  const begin = function* (what: string, block: object): Generator<string> {
    if (open === what) return;
    if (open !== undefined) yield event({ type: "content_block_stop", index });
    open = what;
    index += 1;
    yield event({ type: "content_block_start", index, content_block: block });
  };
  const delta = (type: string, field: string, text: string): string =>
    event({ type: "content_block_delta", index, delta: { type, [field]: text } });
  const beginText = (): Generator<string> => begin("text", { type: "text", text: "" });
  for await (const part of asked.parts) {
    if (part.type === "text") {
      yield* beginText();
      yield delta("text_delta", "text", part.text);
    } else if (part.type === "reasoning") {
      yield* begin("reasoning", { type: "thinking", thinking: "", signature: "" });
      yield delta("thinking_delta", "thinking", part.text);
    } else if (part.type === "tool-call-delta") {
      yield* begin(`call ${part.id}`, { type: "tool_use", id: part.id, name: part.name, input: {} });
      if (part.text !== "") yield delta("input_json_delta", "partial_json", part.text);
    }
  }
  const generation = await asked.result;
  noteUsage(call, generation);
  if (open === undefined) yield* beginText();
  yield event({ type: "content_block_stop", index });
  yield event({ type: "message_delta", delta: endOf(generation), usage: usageOf(generation) });
  yield event({ type: "message_stop" });
}

/** The message before anything of it is there. */
function blank(call: Call, { name }: ServedModel): MessageBody {
  return {
    id: `msg_${call.id}`,
    type: "message",
    role: "assistant",
    model: name,
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage: { input_tokens: 0, cache_read_input_tokens: 0, cache_creation_input_tokens: 0, output_tokens: 0 },
  };
}

function endOf({ finishReason, stopText, toolCalls }: Choice): Pick<MessageBody, "stop_reason" | "stop_sequence"> {
  if (stopText !== undefined) return { stop_reason: "stop_sequence", stop_sequence: stopText };
  const ended = toolCalls === undefined ? "end_turn" : "tool_use";
  return { stop_reason: finishReason === "length" ? "max_tokens" : ended, stop_sequence: null };
}

function usageOf({ usage }: Generation): z.infer<typeof MessagesUsage> {
  const { promptTokens, cachedTokens, completionTokens } = usage;
  return {
    input_tokens: promptTokens - cachedTokens,
    cache_read_input_tokens: cachedTokens,
    cache_creation_input_tokens: 0,
    output_tokens: completionTokens,
  };
}
