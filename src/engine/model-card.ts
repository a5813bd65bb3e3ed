/**
 * What the front half of a model must know of it (front.ts): its tokenizer, templates and defaults as the files have them,
 * and what the engine made of the rest. Plain data, which another thread can be sent.
 */
import type { EmbeddingDefaults, GenerationDefaults, TokenizerSource } from "../artifact/artifact.ts";
import type { KvType } from "../backend/contract.ts";
import type { MethodName } from "../decode/speculative/methods.ts";
import type { PairForm } from "../models/models.ts";

/** What was loaded, and the memory that it holds. */
export interface LlmInfo {
  /** The file or folder. */
  readonly model: string;
  /** Family and size. */
  readonly description: string;
  readonly vocabSize: number;
  /** Positions of prompt and answer together. */
  readonly context: number;
  /** Positions that the model was made for. */
  readonly modelContext: number;
  readonly weightBytes: number;
  readonly kvBytes: number;
  /** Memory for keys and values that give way, at most. */
  readonly swapBytes: number;
  /** Positions that the KV budget holds, over all sequences. */
  readonly kvTokens: number;
  readonly kv: KvType;
  /** Sequences that run at once. */
  readonly maxSequences: number;
  /** The most tokens that one step computes. */
  readonly stepTokens: number;
  /** What tokens may depend on beside the request: backend, ISA path, KV type, kernel version. */
  readonly profile: string;
  readonly hasChatTemplate: boolean;
}

export interface ModelCard {
  readonly info: LlmInfo;
  readonly tokenizer: TokenizerSource;
  /** Jinja source, where the model has one. */
  readonly chatTemplate: string | undefined;
  readonly generation: GenerationDefaults;
  readonly embedding: EmbeddingDefaults;
  /** How two texts become one prompt of a classifier. */
  readonly pairs: PairForm;
  /** The program's named outputs and their columns. */
  readonly outputs: readonly { readonly name: string; readonly width: number }[];
  /** An encoder: tokens see those behind them. */
  readonly mutual: boolean;
  /** The methods of drafting that requests may name; none where speculation is off. */
  readonly methods: readonly MethodName[];
}
