/** POST /v1/chat/completions. */
import type { z } from "zod";

import { answerWithStream } from "../answer-stream.ts";
import type { Call } from "../call.ts";
import { withBody } from "../endpoint.ts";
import { frame } from "../event-stream.ts";
import { HttpError } from "../failure.ts";
import { given } from "../given.ts";
import { chatLogprobs, textTokens } from "../logprobs.ts";
import { openaiFailureEvent } from "../openai-error.ts";
import { ChatChunk, ChatCompletion, chatMessages, ChatRequest, plainText } from "../schemas/chat.ts";
import { callBody, CallDeltas, choiceOf, toolsOf } from "../schemas/chat-tools.ts";
import { samplingOptions } from "../schemas/common.ts";
import { answerGrammar } from "../schemas/structured.ts";
import type { Asked, ServedModel } from "../service.ts";
import { noteUsage, usageOf } from "../usage.ts";

type Chunk = z.infer<typeof ChatChunk>;
type Head = Pick<Chunk, "id" | "created" | "model" | "system_fingerprint">;

export const chatCompletions = withBody({
  method: "POST",
  path: "/v1/chat/completions",
  summary: "The assistant's next turn in a conversation",
  body: ChatRequest,
  answer: ChatCompletion,
  events: ChatChunk,
  async handle(call, service, body) {
    const model = await service.model(body.model);
    if (body.top_logprobs !== undefined && body.top_logprobs !== null && body.logprobs !== true) {
      throw new HttpError(400, "top_logprobs needs logprobs: true", { param: "top_logprobs" });
    }
    const options = {
      ...samplingOptions(body, call.key),
      ...given({
        adapter: model.adapter,
        maxTokens: body.max_completion_tokens ?? body.max_tokens,
        logprobs: body.logprobs === true ? (body.top_logprobs ?? 0) : undefined,
        grammar: answerGrammar(body),
        tools: body.tools ? toolsOf(body.tools) : undefined,
        toolChoice: body.tools?.length && body.tool_choice ? choiceOf(body.tool_choice) : undefined,
        parallelToolCalls: body.parallel_tool_calls,
        reasoningBudget: body.thinking_token_budget,
        prediction: body.prediction ? plainText(body.prediction.content) : undefined,
        templateVariables: templateVariables(body),
      }),
      signal: call.signal,
    };
    call.note({ model: model.name });
    const asked = service.ask(call, model, body.n ?? 1, () => model.llm.chat(chatMessages(body.messages), options));
    const head = {
      id: `chatcmpl-${call.id}`,
      created: Math.floor(Date.now() / 1000),
      model: model.name,
      system_fingerprint: model.llm.info.profile,
    };
    if (body.stream === true) {
      const frames = chunks(call, model, asked, head, body.n ?? 1, body.stream_options?.include_usage === true);
      return answerWithStream(call, service, [asked], frames, openaiFailureEvent);
    }
    return Response.json(await whole(call, model, asked, head));
  },
});

function finishReason(reason: "stop" | "length", hasCalls: boolean): "stop" | "length" | "tool_calls" {
  return reason === "stop" && hasCalls ? "tool_calls" : reason;
}

/** What the template is told: an effort by the name that it has in most. */
function templateVariables({
  reasoning_effort: effort,
  chat_template_kwargs: others,
}: ChatRequest): Readonly<Record<string, unknown>> | undefined {
  if (effort === null || effort === undefined) return others ?? undefined;
  return { reasoning_effort: effort, ...(effort === "none" && { enable_thinking: false }), ...others };
}

async function whole(
  call: Call,
  { llm }: ServedModel,
  asked: Asked,
  head: Head,
): Promise<z.infer<typeof ChatCompletion>> {
  for await (const _ of asked.parts);
  const generation = await asked.result;
  noteUsage(call, generation);
  const choices = generation.choices.map((choice) => ({
    index: choice.index,
    message: {
      role: "assistant" as const,
      content: choice.toolCalls !== undefined && choice.text === "" ? null : choice.text,
      ...(choice.reasoning === undefined ? {} : { reasoning_content: choice.reasoning }),
      ...(choice.toolCalls && { tool_calls: choice.toolCalls.map(callBody) }),
      refusal: null,
    },
    logprobs: choice.logprobs ? chatLogprobs(llm.tokenizer, textTokens(choice, choice.logprobs)) : null,
    finish_reason: finishReason(choice.finishReason, choice.toolCalls !== undefined),
  }));
  return { ...head, object: "chat.completion", choices, usage: usageOf(generation.usage) };
}

async function* chunks(
  call: Call,
  { llm }: ServedModel,
  asked: Asked,
  head: Head,
  n: number,
  withUsage: boolean,
): AsyncGenerator<string> {
  const chunk = (choices: Chunk["choices"], usage: Chunk["usage"] = null): string =>
    frame({ ...head, object: "chat.completion.chunk", choices, ...(withUsage ? { usage } : {}) } satisfies Chunk);
  for (let index = 0; index < n; index++) {
    yield chunk([{ index, delta: { role: "assistant", content: "" }, logprobs: null, finish_reason: null }]);
  }
  const deltas = Array.from({ length: n }, () => new CallDeltas());
  const called = new Set<number>();
  for await (const part of asked.parts) {
    const { index } = part;
    const choice = { index, delta: {}, logprobs: null, finish_reason: null };
    if (part.type === "text") yield chunk([{ ...choice, delta: { content: part.text } }]);
    else if (part.type === "reasoning") yield chunk([{ ...choice, delta: { reasoning_content: part.text } }]);
    else if (part.type === "tokens") yield chunk([{ ...choice, logprobs: chatLogprobs(llm.tokenizer, part.tokens) }]);
    else if (part.type === "tool-call-delta") {
      const delta = deltas[index]?.next(part.id, part.name, part.text);
      if (delta !== undefined) yield chunk([{ ...choice, delta: { tool_calls: [delta] } }]);
    } else if (part.type === "tool-call") called.add(index);
    else if (part.type === "finish")
      yield chunk([{ ...choice, finish_reason: finishReason(part.finishReason, called.has(index)) }]);
  }
  const generation = await asked.result;
  noteUsage(call, generation);
  if (withUsage) yield chunk([], usageOf(generation.usage));
  yield frame("[DONE]");
}
