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
import { answerSchema, ChatChunk, ChatCompletion, chatMessages, ChatRequest, plainText } from "../schemas/chat.ts";
import { samplingOptions } from "../schemas/common.ts";
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
    const model = service.model(body.model);
    if (body.top_logprobs !== undefined && body.top_logprobs !== null && body.logprobs !== true) {
      throw new HttpError(400, "top_logprobs needs logprobs: true", { param: "top_logprobs" });
    }
    const options = {
      ...samplingOptions(body, call.key),
      ...given({
        maxTokens: body.max_completion_tokens ?? body.max_tokens,
        logprobs: body.logprobs === true ? (body.top_logprobs ?? 0) : undefined,
        schema: answerSchema(body),
        prediction: body.prediction ? plainText(body.prediction.content) : undefined,
        templateVariables: body.chat_template_kwargs,
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
      content: choice.text,
      ...(choice.reasoning === undefined ? {} : { reasoning_content: choice.reasoning }),
      refusal: null,
    },
    logprobs: choice.logprobs ? chatLogprobs(llm.tokenizer, textTokens(choice, choice.logprobs)) : null,
    finish_reason: choice.finishReason,
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
  for await (const part of asked.parts) {
    const { index } = part;
    const choice = { index, delta: {}, logprobs: null, finish_reason: null };
    if (part.type === "text") yield chunk([{ ...choice, delta: { content: part.text } }]);
    else if (part.type === "reasoning") yield chunk([{ ...choice, delta: { reasoning_content: part.text } }]);
    else if (part.type === "tokens") yield chunk([{ ...choice, logprobs: chatLogprobs(llm.tokenizer, part.tokens) }]);
    else if (part.type === "finish") yield chunk([{ ...choice, finish_reason: part.finishReason }]);
  }
  const generation = await asked.result;
  noteUsage(call, generation);
  if (withUsage) yield chunk([], usageOf(generation.usage));
  yield frame("[DONE]");
}
