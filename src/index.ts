/**
 * Millrace: LLM inference for TypeScript. `load()` gives a model that answers; the types are what its methods
 * take and give. Nothing else is exported.
 */
export type { KvType } from "./backend/contract.ts";
export type { SamplingOptions } from "./decode/sampling.ts";
export type { Answer, AnswerPart, Choice, Generation, Timings, TokenLogprob, Usage } from "./engine/answer.ts";
export type { EngineOptions } from "./engine/assemble.ts";
export type { ChatOptions, GenerateOptions, PromptOptions } from "./engine/input.ts";
export type { Llm, LlmInfo } from "./engine/llm.ts";
export { load, type LoadEvent, type LoadOptions } from "./engine/load.ts";
export type { Perplexity, PerplexityOptions } from "./engine/perplexity.ts";
export type { FinishReason } from "./engine/request.ts";
export type { ChatMessage } from "./chat/chat-template.ts";
export type { DetokenizerStream, EncodeOptions, Tokenizer } from "./tokenizer/tokenizer.ts";
export {
  ArtifactError,
  MemoryError,
  MillraceError,
  NativeError,
  NetworkError,
  RequestError,
  UnsupportedError,
} from "./errors.ts";
