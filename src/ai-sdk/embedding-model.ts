/** A loaded model as an EmbeddingModelV4 of the AI SDK: an encoder, or any other model's rows pooled. */
import type { EmbeddingModelV4 } from "@ai-sdk/provider";

import type { EmbedOptions, Llm } from "../engine/llm.ts";

export function embeddingModel(modelId: string, llm: Llm): EmbeddingModelV4 {
  return {
    specificationVersion: "v4",
    provider: "millrace",
    modelId,
    maxEmbeddingsPerCall: Infinity,
    supportsParallelCalls: true,
    async doEmbed({ values, dimensions, abortSignal, providerOptions }) {
      // Whatever else the library takes, under its own names: providerOptions: { millrace: { pooling: "last" } }.
      const own = providerOptions?.["millrace"] as EmbedOptions | undefined;
      const options = { ...(dimensions !== undefined && { dimensions }), ...own, signal: abortSignal };
      const found = await llm.embedCounted(values, options);
      return {
        embeddings: found.map(({ vector }) => [...vector]),
        usage: { tokens: found.reduce((sum, { tokens }) => sum + tokens, 0) },
        response: { body: undefined },
        warnings: [],
      };
    },
  };
}
