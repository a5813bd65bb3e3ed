/** What an answer cost, as OpenAI's API and the log write it. */
import type { z } from "zod";

import type { Generation, Usage } from "../engine/llm.ts";
import type { Call } from "./call.ts";
import type { Usage as UsageBody } from "./schemas/common.ts";

export function usageOf({
  promptTokens,
  cachedTokens,
  completionTokens,
  totalTokens,
  acceptedPredictionTokens,
  rejectedPredictionTokens,
}: Usage): z.infer<typeof UsageBody> {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: totalTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
    completion_tokens_details: {
      accepted_prediction_tokens: acceptedPredictionTokens,
      rejected_prediction_tokens: rejectedPredictionTokens,
    },
  };
}

export function noteUsage(call: Call, { usage, finishReason }: Generation): void {
  const { promptTokens, cachedTokens, completionTokens } = usage;
  call.note({ promptTokens, cachedTokens, completionTokens, finish: finishReason });
}
