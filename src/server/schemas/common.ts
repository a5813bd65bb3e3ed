/** Schemas that several endpoints share: the sampling fields, and how a field is told that isn't built. */
import { z } from "zod";

import { LIMITS } from "../../decode/limits.ts";
import type { GenerateOptions } from "../../engine/llm.ts";
import { given } from "../given.ts";

export const ModelName = z.string().min(1).describe("the name of a model, as /v1/models lists it");

const TokenId = z.int().min(0);
const StopText = z.string().min(1).max(LIMITS.stopCharacters.high);
export const StopTexts = z.array(StopText).max(LIMITS.stopTexts.high);

/** A number in the range of the library's parameter of that name, or from `low` on. */
export function limited(name: keyof typeof LIMITS, low?: number): z.ZodNumber {
  const { whole, low: lowest, high } = LIMITS[name];
  return (whole ? z.int() : z.number()).min(low ?? lowest).max(high);
}

/** OpenAI's sampling fields and, beside them, the rest of the library's. */
export const samplingFields = {
  temperature: limited("temperature")
    .nullish()
    .describe("0 picks the likeliest token; default: the model's own, else 0.7"),
  top_p: limited("topP").nullish(),
  top_k: limited("topK", -1).nullish().describe("only the k likeliest tokens; 0 or -1: all"),
  min_p: limited("minP").nullish().describe("only tokens at least so many times as likely as the likeliest"),
  repetition_penalty: limited("repetitionPenalty").nullish(),
  presence_penalty: limited("presencePenalty").nullish(),
  frequency_penalty: limited("frequencyPenalty").nullish(),
  logit_bias: z
    .record(z.string().regex(/^\d{1,10}$/), limited("logitBias"))
    .nullish()
    .describe("token id → what is added to its logit"),
  seed: z.int().nullish().describe("equal seeds give equal answers"),
  stop: z.union([StopText, StopTexts]).nullish().describe("texts that end the answer"),
  stop_token_ids: z.array(TokenId).max(256).nullish(),
  min_tokens: limited("minTokens").nullish(),
  n: limited("n").nullish().describe("answers to one prompt; default 1"),
  keep_seconds: limited("keepSeconds")
    .nullish()
    .describe(
      "what was computed stays in memory for so long, for a conversation that goes on after a pause; default 0",
    ),
  priority: z.number().min(-1e9).max(1e9).nullish().describe("higher goes first; default 0"),
  speculation: z
    .union([
      z.string().max(100),
      z.strictObject({ drafter: z.string().max(100), depth: z.int().optional(), tree: z.int().optional() }),
    ])
    .nullish()
    .describe("how tokens are guessed ahead; the answer is the same with any; default: as the model was loaded"),
  cache_salt: z.string().max(256).nullish().describe("a prompt's memory is shared only with prompts of an equal salt"),
} as const;

/** Fields that say who asks and how it is accounted for; no answer depends on them. */
export const harmlessFields = {
  user: z.string().nullish(),
  metadata: z.record(z.string(), z.unknown()).nullish(),
  service_tier: z.string().nullish(),
  safety_identifier: z.string().nullish(),
  prompt_cache_key: z.string().nullish(),
  prompt_cache_retention: z.string().nullish(),
} as const;

/** A field of the API that would change the answer, and that Millrace doesn't do: only a value that asks for nothing. */
export function notBuilt<T extends z.ZodType>(neutral: T): z.ZodOptional<T> {
  return neutral.optional();
}

const NOT_BUILT = "isn't supported by Millrace yet";
export const Nothing = z.null({ error: NOT_BUILT });
export const NoList = z.union([z.null(), z.array(z.unknown()).max(0)], { error: NOT_BUILT });
export const Off = z.union([z.null(), z.literal(false)], { error: NOT_BUILT });
export const OnlyOne = z.union([z.null(), z.literal(1)], { error: NOT_BUILT });

export const StreamOptions = z.strictObject({
  include_usage: z.boolean().nullish(),
  include_obfuscation: z.boolean().nullish(),
});

export const Usage = z.strictObject({
  prompt_tokens: z.int(),
  completion_tokens: z.int(),
  total_tokens: z.int(),
  prompt_tokens_details: z.strictObject({ cached_tokens: z.int() }),
  completion_tokens_details: z.strictObject({
    accepted_prediction_tokens: z.int(),
    rejected_prediction_tokens: z.int(),
  }),
});

type SamplingBody = z.infer<z.ZodObject<typeof samplingFields>>;

/** The library's options. Each API key is a tenant: its share is fair, and what is cached for it is for no other. */
export function samplingOptions(body: SamplingBody, key: string): GenerateOptions {
  return given({
    temperature: body.temperature,
    topP: body.top_p,
    topK: body.top_k === -1 ? 0 : body.top_k,
    minP: body.min_p,
    repetitionPenalty: body.repetition_penalty,
    presencePenalty: body.presence_penalty,
    frequencyPenalty: body.frequency_penalty,
    logitBias: body.logit_bias,
    seed: body.seed,
    stop: body.stop,
    stopTokens: body.stop_token_ids,
    minTokens: body.min_tokens,
    n: body.n,
    priority: body.priority,
    keepSeconds: body.keep_seconds,
    speculation: body.speculation,
    tenant: key,
    cacheSalt: cacheSalt(key, body.cache_salt),
  });
}

export function cacheSalt(key: string, salt: string | null | undefined): string {
  return key === "" ? (salt ?? "") : `${key}\n${salt ?? ""}`;
}
