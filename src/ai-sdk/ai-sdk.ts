/**
 * `millrace/ai-sdk`: models in this process as a provider of the AI SDK (https://ai-sdk.dev), by its specification v4. Of the
 * SDK only types are imported: at run time this is Millrace alone.
 */
import type { EmbeddingModelV4, ImageModelV4, LanguageModelV4, ProviderV4 } from "@ai-sdk/provider";

import type { Llm } from "../engine/llm.ts";
import { RequestError, UnsupportedError } from "../errors.ts";
import { embeddingModel } from "./embedding-model.ts";
import { languageModel } from "./language-model.ts";

/** The provider; called with a model's name it gives that model. */
export interface MillraceProvider extends ProviderV4 {
  (modelId: string): LanguageModelV4;
}

/**
 * A provider of loaded models, under the names that they are given. They stay their caller's, who closes them.
 *
 * @throws RequestError where a model is asked for that it doesn't have.
 * @example
 * const millrace = createMillrace({ brook: await load() });
 * const { text } = await generateText({ model: millrace("brook"), prompt: "Name three rivers." });
 */
export function createMillrace(models: Readonly<Record<string, Llm>>): MillraceProvider {
  const named = (modelId: string): Llm => {
    const llm = Object.hasOwn(models, modelId) ? models[modelId] : undefined;
    if (llm !== undefined) return llm;
    const names = Object.keys(models).join(", ");
    throw new RequestError(`there is no model "${modelId}" in this provider; it has ${names === "" ? "none" : names}`);
  };
  const language = (modelId: string): LanguageModelV4 => languageModel(modelId, named(modelId));
  const lacks = (kind: string): never => {
    throw new UnsupportedError(`Millrace has no ${kind} models for the AI SDK`);
  };
  return Object.assign((modelId: string) => language(modelId), {
    specificationVersion: "v4",
    languageModel: language,
    embeddingModel: (modelId: string): EmbeddingModelV4 => embeddingModel(modelId, named(modelId)),
    imageModel: (): ImageModelV4 => lacks("image"),
  } as const);
}
