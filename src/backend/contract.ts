/**
 * The contract between the engine and a backend. Weights, pools and programs have lives of their own: programs
 * share weights and pools. A step's plan and result are plain data in typed arrays, which the caller owns and
 * reuses; a backend reads the first `count` entries and keeps no reference after `run` has settled.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph, StateSpec } from "../graph/graph.ts";

export type KvType = "f16" | "f32" | "q8";

/** Positions in a block of a kv state. */
export const BLOCK_TOKENS = 16;
/** Positions in a KV tile, at absolute borders: the unit in which attention is accumulated. */
export const TILE_TOKENS = 128;
/** The most alternatives that a sample reports (`topLogprobs`). */
export const MAX_TOP_LOGPROBS = 20;

/** Layers of equal kind and shape share a pool of blocks and a block table. */
export interface StateGroup {
  readonly kind: StateSpec["kind"];
  readonly window?: number;
  /** Indices into `graph.states`. */
  readonly states: readonly number[];
}

export interface LoadProgress {
  readonly loadedBytes: number;
  readonly totalBytes: number;
}

export interface UploadOptions {
  readonly onProgress?: (progress: LoadProgress) => void;
  readonly signal?: AbortSignal;
}

export interface CompileOptions {
  /** The most tokens, sequences, and output rows (samples, logprobs, logits together) that one step may hold. */
  readonly maxTokens: number;
  readonly maxSequences: number;
  readonly maxOutputs: number;
  /** Sampler slots 0 … samplerSlots − 1. */
  readonly samplerSlots: number;
}

export interface Backend {
  readonly name: string;
  /** Backend, ISA path, KV type, kernel version: what a request's tokens may depend on ("cpu-avx2-f16-k1"). */
  profile(kv: KvType): string;
  /** Streams the weights that `graph` names into the backend's own layout. */
  upload(artifact: ModelArtifact, graph: Graph, options?: UploadOptions): Promise<Weights>;
  /** Bytes of one block of a group. */
  blockBytes(graph: Graph, group: StateGroup, kv: KvType): number;
  /** A pool of `blocks[g]` zeroed blocks for each group g. */
  allocate(graph: Graph, groups: readonly StateGroup[], blocks: readonly number[], kv: KvType): Pool;
  compile(graph: Graph, weights: Weights, pool: Pool, options: CompileOptions): Program;
  /** Frees threads. Weights, pools and programs must be closed before. */
  close(): Promise<void>;
}

export interface Weights {
  /** Bytes held in the backend's layout. */
  readonly bytes: number;
  close(): void;
}

export interface Pool {
  readonly kv: KvType;
  readonly groups: readonly StateGroup[];
  readonly blocks: readonly number[];
  readonly bytes: number;
  /** A block's bytes, in the pool's own layout (swap, transfer). Never while a step runs. */
  read(group: number, block: number): Uint8Array;
  write(group: number, block: number, bytes: Uint8Array): void;
  close(): void;
}

/** How a token is chosen. Every field is explicit: defaults are the caller's business. */
export interface SamplerParams {
  /** 0: the largest logit (the lowest id among equals). */
  readonly temperature: number;
  /** 0: off. */
  readonly topK: number;
  /** 1: off. */
  readonly topP: number;
  /** 0: off. */
  readonly minP: number;
  /** On tokens of the prompt and the answer: logit / r where positive, · r where negative. 1: off. */
  readonly repetitionPenalty: number;
  /** Subtracted once where the answer has the token. */
  readonly presencePenalty: number;
  /** Subtracted for each time that the answer has the token. */
  readonly frequencyPenalty: number;
  /** Added to the logits before all else: pairs (id, bias). −Infinity forbids a token. */
  readonly biasIds: Int32Array;
  readonly biasValues: Float32Array;
  /** Tokens that can't be sampled while the answer has fewer than `minTokens` tokens. */
  readonly minTokens: number;
  readonly stopIds: Int32Array;
  /** 64 bits. */
  readonly seed: bigint;
  /** Which of a request's n answers. */
  readonly sampleIndex: number;
}

/** One step over a ragged batch: the new tokens of all sequences lie one after another. */
export interface StepPlan {
  tokenCount: number;
  sequenceCount: number;
  /** `[T]` token ids. A negative entry −1−i stands for sample i of the program's previous step. */
  readonly tokens: Int32Array;
  /** `[T]` absolute positions. */
  readonly positions: Int32Array;
  /** `[S + 1]`: sequence s has the rows `queryStarts[s] … queryStarts[s + 1] − 1`, at consecutive positions. */
  readonly queryStarts: Int32Array;
  /** For each group: `[S, stride]` block ids; entry p / 16 holds position p. −1 where freed (behind a window). */
  readonly blockTables: readonly { readonly ids: Int32Array; readonly stride: number }[];
  /** Block copies, done before all else: triples (group, from, to). */
  copyCount: number;
  readonly copies: Int32Array;

  /** Samples: the row that is sampled, the sampler slot, how many alternatives to report (0 …  20). */
  sampleCount: number;
  readonly sampleRows: Int32Array;
  readonly sampleSlots: Int32Array;
  readonly sampleTop: Int32Array;
  /** Log-probabilities of given ids: `logprob` of token `logprobIds[i]` after row `logprobRows[i]`. */
  logprobCount: number;
  readonly logprobRows: Int32Array;
  readonly logprobIds: Int32Array;
  /** Rows whose whole logits are wanted. */
  logitCount: number;
  readonly logitRows: Int32Array;
}

/**
 * Log-probabilities are of the model's own distribution: temperature 1, before bias, penalties and cuts. The arrays
 * may be longer than what the step asked for.
 */
export interface StepResult {
  /** `[sampleCount]`. */
  readonly sampleIds: Int32Array;
  readonly sampleLogprobs: Float32Array;
  /** `[sampleCount, MAX_TOP_LOGPROBS]`, most likely first. */
  readonly topIds: Int32Array;
  readonly topLogprobs: Float32Array;
  /** `[logprobCount]`. */
  readonly logprobs: Float32Array;
  /** `[logitCount, vocabSize]`. */
  readonly logits: Float32Array;
}

export interface Program {
  readonly graph: Graph;
  /** The lowered graph, for `inspect` and for the oracle. */
  readonly lowered: Graph;
  /**
   * Opens a sampler slot for an answer. `history` are the prompt's ids (for the repetition penalty); tokens
   * that the slot samples are counted by the backend.
   */
  openSampler(slot: number, params: SamplerParams, history: Int32Array): void;
  closeSampler(slot: number): void;
  /**
   * Runs one step; one at a time. The arrays of the result are filled when the promise resolves; they are the
   * program's own and hold until the next `run`. Doesn't block the event loop (the reference does).
   */
  run(plan: StepPlan): Promise<StepResult>;
  close(): void;
}
