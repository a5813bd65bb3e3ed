/** POST /v1/completions: prompts go on as they are, without a chat template. Evaluation harnesses read its logprobs. */
import type { z } from "zod";

import { answerWithStream } from "../answer-stream.ts";
import type { Call } from "../call.ts";
import { withBody } from "../endpoint.ts";
import type { Choice, Generation, TokenLogprob, Usage } from "../../engine/llm.ts";
import type { Tokenizer } from "../../tokenizer/tokenizer.ts";
import { frame } from "../event-stream.ts";
import { asError, HttpError } from "../failure.ts";
import { given } from "../given.ts";
import { completionLogprobs, finite, type MaybeScored, textTokens, tokenText } from "../logprobs.ts";
import { mergeInOrderOfArrival } from "../merge.ts";
import { openaiFailureEvent } from "../openai-error.ts";
import { samplingOptions } from "../schemas/common.ts";
import { answerGrammar } from "../schemas/structured.ts";
import { Completion, CompletionChunk, CompletionRequest, type PromptLogprobs } from "../schemas/completion.ts";
import type { Asked, ServedModel } from "../service.ts";
import { usageOf } from "../usage.ts";

type Chunk = z.infer<typeof CompletionChunk>;
type Head = Pick<Chunk, "id" | "created" | "model" | "system_fingerprint" | "object">;

/** A request in its resolved form. */
interface Job {
  readonly call: Call;
  readonly model: ServedModel;
  readonly body: CompletionRequest;
  readonly head: Head;
  readonly asked: readonly Asked[];
  readonly n: number;
}

export const completions = withBody({
  method: "POST",
  path: "/v1/completions",
  summary: "How a text goes on",
  body: CompletionRequest,
  answer: Completion,
  events: CompletionChunk,
  async handle(call, service, body) {
    const model = await service.model(body.model);
    const { llm } = model;
    const { echo, stream } = body;
    if (body.max_tokens === 0 && (echo !== true || stream === true)) {
      throw new HttpError(400, "max_tokens: 0 is only for echo without stream", { param: "max_tokens" });
    }
    if (stream === true && typeof body.prompt_logprobs === "number") {
      throw new HttpError(400, "prompt_logprobs: not with stream", { param: "prompt_logprobs" });
    }
    const options = {
      ...samplingOptions(body, call.key),
      ...given({
        adapter: model.adapter,
        logprobs: body.logprobs,
        promptLogprobs: body.prompt_logprobs ?? (echo === true ? body.logprobs : undefined),
        addSpecial: body.add_special_tokens,
        grammar: answerGrammar(body),
      }),
      // An answer of no tokens is one whose only token is left out.
      maxTokens: body.max_tokens === 0 ? 1 : (body.max_tokens ?? 16),
      signal: call.signal,
    };
    call.note({ model: model.name });
    const n = body.n ?? 1;
    const asked: Asked[] = [];
    try {
      for (const prompt of promptsOf(body.prompt)) {
        asked.push(service.ask(call, model, n, () => llm.generate(prompt, options)));
      }
    } catch (error) {
      call.abort(asError(error));
      throw error;
    }
    const head = {
      id: `cmpl-${call.id}`,
      object: "text_completion",
      created: Math.floor(Date.now() / 1000),
      model: model.name,
      system_fingerprint: llm.info.profile,
    } as const;
    const job = { call, model, body, head, asked, n };
    if (stream === true) return answerWithStream(call, service, asked, chunks(job), openaiFailureEvent);
    return Response.json(await whole(job));
  },
});

function promptsOf(prompt: CompletionRequest["prompt"]): readonly (string | readonly number[])[] {
  if (typeof prompt === "string") return [prompt];
  const isIds = (list: typeof prompt): list is number[] => typeof list[0] === "number";
  return isIds(prompt) ? [prompt] : prompt;
}

async function whole({ call, model, body, head, asked, n }: Job): Promise<z.infer<typeof Completion>> {
  const generations = await Promise.all(
    asked.map(async ({ parts, result }) => {
      for await (const _ of parts);
      return result;
    }),
  );
  const usage = addUsage(generations, body.max_tokens === 0);
  call.note({ promptTokens: usage.promptTokens, completionTokens: usage.completionTokens });
  const { tokenizer } = model.llm;
  const choices = generations.flatMap((generation, p) =>
    generation.choices.map((choice) => {
      const prefix = body.echo === true ? tokenizer.decode(Int32Array.from(generation.promptTokens), ECHOED) : "";
      return {
        index: p * n + choice.index,
        text: prefix + (body.max_tokens === 0 ? "" : choice.text),
        logprobs: choiceLogprobs(tokenizer, body, generation, choice),
        finish_reason: choice.finishReason,
        ...(typeof body.prompt_logprobs === "number" && { prompt_logprobs: promptLogprobs(tokenizer, generation) }),
      };
    }),
  );
  return { ...head, choices, usage: usageOf(usage) };
}

const ECHOED = { skipSpecial: false } as const;

async function* chunks({ call, model, body, head, asked, n }: Job): AsyncGenerator<string> {
  const { tokenizer } = model.llm;
  const withUsage = body.stream_options?.include_usage === true;
  const chunk = (choices: Chunk["choices"], usage: Chunk["usage"] = null): string =>
    frame({ ...head, choices, ...(withUsage ? { usage } : {}) } satisfies Chunk);
  const offsets = new Map<number, number>();
  if (body.echo === true) {
    // The prompt's logprobs are whole only when it has been computed; they stand before the first token.
    for (const [p, { result }] of asked.entries()) {
      const generation = await result;
      const text = tokenizer.decode(Int32Array.from(generation.promptTokens), ECHOED);
      const scored = typeof body.logprobs === "number" ? promptTokens(generation) : undefined;
      for (let i = 0; i < n; i++) {
        const logprobs = scored === undefined ? null : completionLogprobs(tokenizer, scored, 0);
        offsets.set(p * n + i, text.length);
        yield chunk([{ index: p * n + i, text, logprobs, finish_reason: null }]);
      }
    }
  }
  for await (const { source, value: part } of mergeInOrderOfArrival(asked.map(({ parts }) => parts))) {
    const index = source * n + part.index;
    const choice = { index, text: "", logprobs: null, finish_reason: null };
    if (part.type === "text") yield chunk([{ ...choice, text: part.text }]);
    else if (part.type === "tokens") {
      const offset = offsets.get(index) ?? 0;
      const logprobs = completionLogprobs(tokenizer, part.tokens, offset);
      offsets.set(index, offset + logprobs.tokens.reduce((sum, text) => sum + text.length, 0));
      yield chunk([{ ...choice, logprobs }]);
    } else if (part.type === "finish") yield chunk([{ ...choice, finish_reason: part.finishReason }]);
  }
  const usage = addUsage(await Promise.all(asked.map(({ result }) => result)), false);
  call.note({ promptTokens: usage.promptTokens, completionTokens: usage.completionTokens });
  if (withUsage) yield chunk([], usageOf(usage));
  yield frame("[DONE]");
}

function choiceLogprobs(
  tokenizer: Tokenizer,
  { echo, max_tokens }: CompletionRequest,
  generation: Generation,
  choice: Choice,
): Chunk["choices"][number]["logprobs"] {
  if (choice.logprobs === undefined) return null;
  const answer: readonly TokenLogprob[] = max_tokens === 0 ? [] : textTokens(choice, choice.logprobs);
  return completionLogprobs(tokenizer, [...(echo === true ? promptTokens(generation) : []), ...answer], 0);
}

/** The prompt's tokens with what is known of them: nothing of the first. */
function promptTokens({ promptTokens: [first = 0], promptLogprobs = [] }: Generation): MaybeScored[] {
  return [{ id: first }, ...promptLogprobs];
}

function promptLogprobs(tokenizer: Tokenizer, { promptLogprobs = [] }: Generation): z.infer<typeof PromptLogprobs> {
  const known = promptLogprobs.map(({ id, logprob, top }) =>
    Object.fromEntries(
      [...top, { id, logprob }].map((one) => [
        String(one.id),
        { logprob: finite(one.logprob), decoded_token: tokenText(tokenizer, one.id) },
      ]),
    ),
  );
  return [null, ...known];
}

function addUsage(generations: readonly Generation[], withoutAnswers: boolean): Usage {
  const sum = (of: (usage: Usage) => number): number => generations.reduce((total, { usage }) => total + of(usage), 0);
  const promptTokens = sum((usage) => usage.promptTokens);
  const completionTokens = withoutAnswers ? 0 : sum((usage) => usage.completionTokens);
  return {
    promptTokens,
    cachedTokens: sum((usage) => usage.cachedTokens),
    completionTokens,
    totalTokens: promptTokens + completionTokens,
    acceptedPredictionTokens: sum((usage) => usage.acceptedPredictionTokens),
    rejectedPredictionTokens: sum((usage) => usage.rejectedPredictionTokens),
  };
}
