/** /v1/completions: what goes in and what comes out. */
import { z } from "zod";

import {
  harmlessFields,
  limited,
  ModelName,
  notBuilt,
  Nothing,
  OnlyOne,
  samplingFields,
  StreamOptions,
  Usage,
} from "./common.ts";
import { structuredFields } from "./structured.ts";

const Ids = z.array(z.int().min(0)).min(1);

export const CompletionRequest = z
  .strictObject({
    model: ModelName,
    prompt: z
      .union([z.string(), Ids, z.array(z.string()).min(1).max(128), z.array(Ids).min(1).max(128)])
      .describe("a text or token ids, or a list of either"),
    ...samplingFields,
    max_tokens: limited("maxTokens", 0).nullish().describe("default 16; 0 only with echo"),
    logprobs: limited("logprobs").nullish().describe("alternatives to report with each token"),
    prompt_logprobs: limited("promptLogprobs")
      .nullish()
      .describe("alternatives to report with each token of the prompt"),
    echo: z.boolean().nullish().describe("the text begins with the prompt, and so do its logprobs"),
    add_special_tokens: z.boolean().nullish().describe("put the model's BOS token before a text; default true"),
    stream: z.boolean().nullish(),
    stream_options: StreamOptions.nullish(),
    ...structuredFields,
    ...harmlessFields,
    best_of: notBuilt(OnlyOne),
    suffix: notBuilt(Nothing),
  })
  .meta({ id: "CompletionRequest" });
export type CompletionRequest = z.infer<typeof CompletionRequest>;

export const CompletionLogprobs = z.strictObject({
  tokens: z.array(z.string()),
  token_logprobs: z.array(z.number().nullable()),
  top_logprobs: z.array(z.record(z.string(), z.number()).nullable()),
  text_offset: z.array(z.int()),
});

/** For each token of the prompt: its id and the alternatives' → what is known of them. */
export const PromptLogprobs = z.array(
  z.record(z.string(), z.strictObject({ logprob: z.number(), decoded_token: z.string() })).nullable(),
);

const choice = { index: z.int(), text: z.string(), logprobs: CompletionLogprobs.nullable() };
const head = {
  id: z.string(),
  object: z.literal("text_completion"),
  created: z.int(),
  model: z.string(),
  system_fingerprint: z.string(),
};

export const Completion = z
  .strictObject({
    ...head,
    choices: z.array(
      z.strictObject({
        ...choice,
        finish_reason: z.enum(["stop", "length"]),
        prompt_logprobs: PromptLogprobs.optional(),
      }),
    ),
    usage: Usage,
  })
  .meta({ id: "Completion" });

export const CompletionChunk = z
  .strictObject({
    ...head,
    choices: z.array(z.strictObject({ ...choice, finish_reason: z.enum(["stop", "length"]).nullable() })),
    usage: Usage.nullable().optional(),
  })
  .meta({ id: "CompletionChunk" });
