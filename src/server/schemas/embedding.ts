/** /v1/embeddings (OpenAI) and /v1/rerank (Jina, Cohere). */
import { z } from "zod";

import { ModelName } from "./common.ts";

/** Texts of one request, and characters of one of them: the time that more would take is others' too. */
const MOST_TEXTS = 2048;
const MOST_CHARACTERS = 2 ** 20;

const Text = z.string().min(1).max(MOST_CHARACTERS);

export const EmbeddingRequest = z
  .strictObject({
    model: ModelName,
    input: z.union([Text, z.array(Text).min(1).max(MOST_TEXTS)]),
    encoding_format: z
      .enum(["float", "base64"])
      .nullish()
      .describe("base64: of the f32 values, little-endian; default float"),
    dimensions: z.int().min(1).nullish().describe("keep only so many columns (models that are trained for it)"),
    pooling: z.enum(["mean", "first", "last"]).nullish().describe("default: as the model's files say, else mean"),
    normalize: z.boolean().nullish().describe("make the length 1; default: as the model's files say, else true"),
    user: z.string().nullish(),
  })
  .meta({ id: "EmbeddingRequest" });

const EmbeddingUsage = z.strictObject({ prompt_tokens: z.int(), total_tokens: z.int() });

export const EmbeddingList = z
  .strictObject({
    object: z.literal("list"),
    data: z.array(
      z.strictObject({
        object: z.literal("embedding"),
        index: z.int(),
        embedding: z.union([z.array(z.number()), z.string()]),
      }),
    ),
    model: z.string(),
    usage: EmbeddingUsage,
  })
  .meta({ id: "EmbeddingList" });

const DocumentBody = z.union([Text, z.strictObject({ text: Text })]);

export const RerankRequest = z
  .strictObject({
    model: ModelName,
    query: Text,
    documents: z.array(DocumentBody).min(1).max(MOST_TEXTS),
    top_n: z.int().min(1).nullish().describe("the best so many; default all"),
    return_documents: z.boolean().nullish().describe("repeat the documents in the answer; default false"),
  })
  .meta({ id: "RerankRequest" });

export const RerankResults = z
  .strictObject({
    model: z.string(),
    results: z.array(
      z.strictObject({
        index: z.int(),
        relevance_score: z.number(),
        document: z.strictObject({ text: z.string() }).optional(),
      }),
    ),
  })
  .meta({ id: "RerankResults" });
