/** A loaded model as a LanguageModelV4 of the AI SDK: an answer whole, or as the stream of parts that the SDK knows. */
import type {
  LanguageModelV4,
  LanguageModelV4CallOptions,
  LanguageModelV4Content,
  LanguageModelV4FinishReason,
  LanguageModelV4StreamPart,
  LanguageModelV4Usage,
} from "@ai-sdk/provider";

import type { ToolCall } from "../chat/tools.ts";
import type { Answer, AnswerPart, Generation, Llm } from "../engine/llm.ts";
import { messagesOf, optionsOf } from "./prompt.ts";

export function languageModel(modelId: string, llm: Llm): LanguageModelV4 {
  return {
    specificationVersion: "v4",
    provider: "millrace",
    modelId,
    supportedUrls: {},
    async doGenerate(call: LanguageModelV4CallOptions) {
      const { options, warnings } = optionsOf(call);
      const generation = await llm.chat(messagesOf(call.prompt), options);
      const { text, reasoning = "", toolCalls = [] } = generation;
      const content: LanguageModelV4Content[] = [
        ...(reasoning === "" ? [] : [{ type: "reasoning" as const, text: reasoning }]),
        ...(text === "" ? [] : [{ type: "text" as const, text }]),
        ...toolCalls.map(callPart),
      ];
      const response = { modelId, timestamp: new Date() };
      return { content, warnings, response, ...endOf(generation, llm) };
    },
    async doStream(call: LanguageModelV4CallOptions) {
      const { options, warnings } = optionsOf(call);
      const answer = llm.chat(messagesOf(call.prompt), options);
      // What is wrong with the call is told at once, not in the stream.
      await Promise.race([answer, new Promise((resolve) => setTimeout(resolve, 0))]);
      const parts = partsOf(answer, modelId, llm);
      const stream = new ReadableStream<LanguageModelV4StreamPart>({
        start: (controller) => controller.enqueue({ type: "stream-start", warnings }),
        async pull(controller) {
          const { done, value } = await parts.next();
          if (done === true) controller.close();
          else controller.enqueue(value);
        },
        cancel: async () => void (await parts.return(undefined)),
      });
      return { stream };
    },
  };
}

async function* partsOf(answer: Answer, modelId: string, llm: Llm): AsyncGenerator<LanguageModelV4StreamPart, void> {
  yield { type: "response-metadata", modelId, timestamp: new Date() };
  let open: { readonly type: "text" | "reasoning"; readonly id: string } | undefined;
  let blocks = 0;
  const close = (): LanguageModelV4StreamPart[] => {
    const ended = open === undefined ? [] : [{ type: `${open.type}-end` as const, id: open.id }];
    open = undefined;
    return ended;
  };
  const calls = new Set<string>();
  try {
    for await (const part of answer) {
      if (part.type === "text" || part.type === "reasoning") {
        if (open?.type !== part.type) {
          yield* close();
          open = { type: part.type, id: String(blocks++) };
          yield { type: `${part.type}-start`, id: open.id };
        }
        yield { type: `${part.type}-delta`, id: open.id, delta: part.text };
      } else if (part.type === "tool-call-delta" || part.type === "tool-call") {
        yield* close();
        yield* callParts(part, calls);
      }
    }
    yield* close();
    yield { type: "finish", ...endOf(await answer, llm) };
  } catch (error) {
    yield* close();
    yield { type: "error", error };
  }
}

/** `begun`: the calls that were told of. */
function* callParts(
  part: AnswerPart & { readonly type: "tool-call" | "tool-call-delta" },
  begun: Set<string>,
): Generator<LanguageModelV4StreamPart> {
  if (!begun.has(part.id)) {
    begun.add(part.id);
    yield { type: "tool-input-start", id: part.id, toolName: part.name };
  }
  if (part.type === "tool-call-delta") {
    if (part.text !== "") yield { type: "tool-input-delta", id: part.id, delta: part.text };
    return;
  }
  yield { type: "tool-input-end", id: part.id };
  yield callPart(part);
}

function callPart({ id, name, arguments: args }: ToolCall): LanguageModelV4Content & { readonly type: "tool-call" } {
  return { type: "tool-call", toolCallId: id, toolName: name, input: JSON.stringify(args) };
}

function endOf(
  { usage, finishReason, stopText, toolCalls, seed }: Generation,
  { info }: Llm,
): {
  readonly finishReason: LanguageModelV4FinishReason;
  readonly usage: LanguageModelV4Usage;
  readonly providerMetadata: { readonly millrace: { readonly profile: string; readonly seed: string } };
} {
  const { promptTokens, cachedTokens, completionTokens } = usage;
  const unified = finishReason === "stop" && toolCalls !== undefined ? "tool-calls" : finishReason;
  return {
    finishReason: { unified, raw: stopText ?? finishReason },
    usage: {
      inputTokens: {
        total: promptTokens,
        noCache: promptTokens - cachedTokens,
        cacheRead: cachedTokens,
        cacheWrite: undefined,
      },
      outputTokens: { total: completionTokens, text: undefined, reasoning: undefined },
    },
    // Given again, the seed gives the same answer under this profile.
    providerMetadata: { millrace: { profile: info.profile, seed: String(seed) } },
  };
}
