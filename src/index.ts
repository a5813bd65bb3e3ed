/**
 * Millrace: LLM inference for TypeScript. `load()` gives a model that answers; the types are what its methods
 * take and give. `compileGrammar` tells of a grammar alone what it accepts.
 */
export type { KvType } from "./backend/contract.ts";
export {
  compress,
  importanceMatrix,
  planCompression,
  type CompressOptions,
  type CompressPlan,
  type CompressProgress,
  type CompressResult,
  type PassReport,
  type RecipeSource,
} from "./compress/api.ts";
export { evaluate, type EvaluateOptions, type Evaluation } from "./compress/evaluate.ts";
export { compileGrammar } from "./decode/grammar/compile.ts";
export { type Grammar, type GrammarState, GrammarVocabulary, type TokenGrammar } from "./decode/grammar/grammar.ts";
export type { GrammarSpec, JsonValue, SchemaOptions } from "./decode/grammar/spec.ts";
export type { SamplingOptions } from "./decode/sampling.ts";
export type { EngineStats, FinishReason, Pin, StepRecord } from "./engine/client.ts";
export type {
  AgentOptions,
  AgentPart,
  AgentResult,
  AgentRun,
  AgentStep,
  AdapterInfo,
  Answer,
  AnswerPart,
  ChatOptions,
  Choice,
  EmbedOptions,
  Embedding,
  GenerateOptions,
  Generation,
  Llm,
  LlmInfo,
  Perplexity,
  PerplexityOptions,
  PromptOptions,
  Ranked,
  RerankOptions,
  Timings,
  TokenLogprob,
  Usage,
} from "./engine/llm.ts";
export { load, type EngineOptions, type LoadEvent, type LoadOptions } from "./engine/load.ts";
export type { ChatMessage } from "./chat/chat-template.ts";
export type { OutputOf, StandardSchema } from "./chat/standard-schema.ts";
export { tool, type Tool, type ToolCall, type ToolChoice, type Tools } from "./chat/tools.ts";
export type { DetokenizerStream, EncodeOptions, Tokenizer } from "./tokenizer/tokenizer.ts";
export {
  ArtifactError,
  MemoryError,
  MillraceError,
  ModelError,
  NativeError,
  NetworkError,
  RequestError,
  UnsupportedError,
  UnsupportedGrammarError,
} from "./errors.ts";
