/** POST /v1/responses: OpenAI's newer API. What is stored can be had again (stored-responses.ts), and goes on by its id. */
import type { z } from "zod";

import type { ChatMessage } from "../../chat/chat-template.ts";
import type { GrammarSpec, JsonValue } from "../../decode/grammar/spec.ts";
import type { Generation } from "../../engine/llm.ts";
import { answerWithStream } from "../answer-stream.ts";
import type { Call } from "../call.ts";
import { withBody } from "../endpoint.ts";
import { failureOf, HttpError } from "../failure.ts";
import { given } from "../given.ts";
import { ResponseOutput } from "../response-output.ts";
import { toolsOf } from "../schemas/chat-tools.ts";
import { samplingOptions } from "../schemas/common.ts";
import { itemMessages } from "../schemas/response-items.ts";
import { ResponseBody, ResponseEvent, ResponsesRequest, type ResponseUsage } from "../schemas/responses.ts";
import type { Asked, ServedModel, Service } from "../service.ts";
import { noteUsage } from "../usage.ts";

export const responses = withBody({
  method: "POST",
  path: "/v1/responses",
  summary: "An answer, by OpenAI's Responses API",
  body: ResponsesRequest,
  answer: ResponseBody,
  events: ResponseEvent,
  async handle(call, service, body) {
    const model = await service.model(body.model);
    const conversation = [...earlier(call, service, body), ...itemMessages(body.input)];
    const { instructions, tools } = body;
    const told: ChatMessage[] = instructions ? [{ role: "system", content: instructions }] : [];
    const options = {
      ...samplingOptions(body, call.key),
      ...given({
        adapter: model.adapter,
        maxTokens: body.max_output_tokens,
        grammar: grammarOf(body),
        tools: tools ? toolsOf(tools.map(({ type, ...one }) => ({ type, function: one }))) : undefined,
        toolChoice: tools?.length && body.tool_choice ? body.tool_choice : undefined,
        parallelToolCalls: body.parallel_tool_calls,
        templateVariables: templateVariables(body),
      }),
      signal: call.signal,
    };
    call.note({ model: model.name });
    const asked = service.ask(call, model, 1, () => model.llm.chat([...told, ...conversation], options));
    const run = new Run(call, service, body, conversation, asked, begun(call, model, body));
    if (body.stream === true) {
      return answerWithStream(call, service, [asked], run.events(), (error) => run.failure(error));
    }
    for await (const _ of run.events());
    return Response.json(run.body);
  },
});

/** A response on its way. */
class Run {
  body: ResponseBody;
  readonly #call: Call;
  readonly #service: Service;
  readonly #asked: Asked;
  readonly #store: boolean;
  readonly #conversation: readonly ChatMessage[];
  readonly #output: ResponseOutput;

  constructor(
    call: Call,
    service: Service,
    request: ResponsesRequest,
    conversation: readonly ChatMessage[],
    asked: Asked,
    body: ResponseBody,
  ) {
    this.#call = call;
    this.#service = service;
    this.#store = request.store !== false;
    this.#conversation = conversation;
    this.#asked = asked;
    this.body = body;
    this.#output = new ResponseOutput(call.id);
  }

  async *events(): AsyncGenerator<string> {
    const output = this.#output;
    yield output.event("response.created", { response: this.body });
    yield output.event("response.in_progress", { response: this.body });
    let status: "completed" | "incomplete" = "completed";
    for await (const part of this.#asked.parts) {
      if (part.type === "finish" && part.finishReason === "length") status = "incomplete";
      yield* output.take(part);
    }
    const generation = await this.#asked.result;
    noteUsage(this.#call, generation);
    yield* output.close(status);
    this.body = {
      ...this.body,
      status,
      completed_at: Math.floor(Date.now() / 1000),
      incomplete_details: status === "incomplete" ? { reason: "max_output_tokens" } : null,
      output: [...output.items],
      usage: usageOf(generation),
    };
    if (this.#store) {
      const { text: content, reasoning, toolCalls } = generation;
      const answer = { role: "assistant" as const, content, ...given({ reasoning, toolCalls }) };
      this.#service.responses.put(this.#call.key, { body: this.body, messages: [...this.#conversation, answer] });
    }
    yield output.event(`response.${status}`, { response: this.body });
  }

  /** The last events of a stream that failed. */
  failure(error: unknown): string {
    const { code, message } = failureOf(error);
    const output = this.#output;
    const ends = [...output.close("incomplete")];
    const failed = {
      ...this.body,
      status: "failed",
      error: { code: code ?? "server_error", message },
      output: output.items,
    };
    return [...ends, output.event("response.failed", { response: failed })].join("");
  }
}

/** The response before anything of its answer is there. */
function begun(call: Call, { name, llm }: ServedModel, body: ResponsesRequest): ResponseBody {
  return {
    id: `resp_${call.id}`,
    object: "response",
    created_at: Math.floor(Date.now() / 1000),
    completed_at: null,
    status: "in_progress",
    error: null,
    incomplete_details: null,
    model: name,
    system_fingerprint: llm.info.profile,
    instructions: body.instructions ?? null,
    previous_response_id: body.previous_response_id ?? null,
    output: [],
    usage: null,
    max_output_tokens: body.max_output_tokens ?? null,
    temperature: body.temperature ?? null,
    top_p: body.top_p ?? null,
    text: { format: body.text?.format ?? { type: "text" } },
    tools: body.tools ?? [],
    tool_choice: body.tool_choice ?? "auto",
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    reasoning: { effort: body.reasoning?.effort ?? null, summary: null },
    truncation: "disabled",
    store: body.store !== false,
    metadata: body.metadata ?? null,
  };
}

/** What was said up to the response that goes on. */
function earlier(call: Call, service: Service, { previous_response_id: id }: ResponsesRequest): readonly ChatMessage[] {
  if (id === null || id === undefined) return [];
  const stored = service.responses.get(call.key, id);
  if (stored !== undefined) return stored.messages;
  throw new HttpError(404, "there is no such response, or no longer", {
    code: "previous_response_not_found",
    param: "previous_response_id",
  });
}

function grammarOf({ text }: ResponsesRequest): GrammarSpec | undefined {
  const format = text?.format;
  if (format?.type === "json_object") return { json: "object" };
  return format?.type === "json_schema" ? { schema: format.schema as JsonValue } : undefined;
}

function templateVariables({ reasoning }: ResponsesRequest): Readonly<Record<string, unknown>> | undefined {
  const effort = reasoning?.effort;
  if (effort === null || effort === undefined) return undefined;
  return { reasoning_effort: effort, ...(effort === "none" && { enable_thinking: false }) };
}

function usageOf({ usage }: Generation): z.infer<typeof ResponseUsage> {
  return {
    input_tokens: usage.promptTokens,
    input_tokens_details: { cached_tokens: usage.cachedTokens },
    output_tokens: usage.completionTokens,
    total_tokens: usage.totalTokens,
  };
}
