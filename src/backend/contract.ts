/**
 * The contract between the engine and a backend. Weights, pools and programs have lives of their own: programs share
 * weights and a pool. A step is one value that goes in and one that comes out: a plan is plain data in typed arrays,
 * which the caller owns and reuses (`run` copies it); a result has arrays of its own. Effects of steps, pool reads and
 * pool writes follow the order in which they were submitted, over all programs of a pool.
 */
import type { Adapter } from "../artifact/adapter.ts";
import type { ModelArtifact } from "../artifact/artifact.ts";
import { type Graph, HISTORY_PLACES } from "../graph/graph.ts";

export type KvType = "f16" | "f32" | "q8";

/** Places in a block of a kv state. */
export const BLOCK_TOKENS = 16;
/** Places in a KV tile, at absolute borders: the unit in which attention is accumulated. */
export const TILE_TOKENS = 128;
/** Places from one border of recurrent state to the next. */
export const BORDER_TOKENS = 64;
/**
 * Places of which a scan's history is kept: those since the border before the last one. A tree's accepted nodes may have
 * passed a border that no row of a step has computed yet; a draft is no deeper than a border is wide.
 */
export const HISTORY_TOKENS = HISTORY_PLACES;
/** The most alternatives that a sample or a log-probability reports. */
export const MAX_TOP_LOGPROBS = 20;
/** Steps of a pool whose samples can still be named by a reference. */
export const REMEMBERED_STEPS = 4;

/**
 * Layers of equal kind and shape share a pool of blocks and a block table. States are known by name: two graphs that
 * name the same state share it.
 */
export type StateGroup = KvGroup | RowsGroup | RecurrentGroup;

/**
 * `kv`: keys and values of all positions. `window-kv`: of the last `window` positions, the row's own included.
 * `latent-kv`: one key for all heads, whose first `valueDim` columns are the value (`kvHeads` is 1); nothing else is held.
 */
export interface KvGroup {
  readonly kind: "kv" | "window-kv" | "latent-kv";
  readonly states: readonly string[];
  readonly kvHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  readonly window?: number;
  readonly type: KvType;
}

/**
 * `rows`: a row of f32 values for each place (of the last `window`), with slots and blocks like keys and values: features
 * of a layer, what came into a convolution or a scan.
 */
export interface RowsGroup {
  readonly kind: "rows";
  readonly states: readonly string[];
  readonly width: number;
  readonly window?: number;
}

/**
 * `recurrent`: what scans have come to at borders. A block of its pool is a granule: all states of the group at one border,
 * f32. Slots and moves know nothing of it.
 */
export interface RecurrentGroup {
  readonly kind: "recurrent";
  readonly states: readonly string[];
  readonly width: number;
  readonly window?: undefined;
}

/** A graph bound to a backend: what the kernels round stands in `graph`, which weights and groups it reads is settled. */
export interface Lowered {
  /** As the model file wrote it. */
  readonly plain: Graph;
  /** For `inspect`, for the oracle, and for `compile`. */
  readonly graph: Graph;
  readonly source: ModelArtifact;
  readonly groups: readonly StateGroup[];
}

export interface LoadProgress {
  readonly loadedBytes: number;
  readonly totalBytes: number;
}

export interface UploadOptions {
  readonly onProgress?: (progress: LoadProgress) => void;
  readonly signal?: AbortSignal;
  /** Weights of the same (source, tensors) are taken from there instead of being loaded again. It must outlive these. */
  readonly base?: Weights;
}

/** How large a step may be. A plan beyond one of these is refused. */
export interface CompileOptions {
  readonly stepTokens: number;
  readonly maxSequences: number;
  /** Output rows: samples, log-probabilities and rows of named outputs together. */
  readonly maxOutputs: number;
  /** Sampler slots 0 … samplerSlots − 1. */
  readonly samplerSlots: number;
  /** Listed slots of all rows together (tree drafts). */
  readonly maxListed: number;
  /** Moves, and block copies, of a step. */
  readonly maxMoves: number;
  readonly maxCopies: number;
  /** Names of the graph's values that plans may ask for; `logits` is one. */
  readonly outputs: readonly string[];
  /** Names of the graph's inputs that plans may give rows for, and how many rows together. Default: none. */
  readonly inputs?: readonly string[];
  readonly maxInputRows?: number;
  /** Places for adapters, 0 … maxAdapters − 1, and the most rows of an adapter's A. Default: none. */
  readonly maxAdapters?: number;
  readonly maxRank?: number;
}

export interface Backend {
  readonly name: string;
  /** Backend, ISA path, KV type, kernel version: what a request's tokens may depend on ("cpu-avx2-f16-k1"). */
  profile(kv: KvType): string;
  /** Where its native part comes from and what it runs on, for people; absent: it has none. */
  readonly made?: string;
  /** Optimises the graph and writes into it what this backend rounds. Reads no weights. */
  lower(graph: Graph, source: ModelArtifact, groups: readonly StateGroup[]): Lowered;
  /** Streams the weights that the graphs name into the backend's own layout, each once. */
  upload(lowered: readonly Lowered[], options?: UploadOptions): Promise<Weights>;
  /**
   * Loads an adapter for the programs of a graph. Throws UnsupportedError where it changes what no linear of the graph
   * reads, ArtifactError where a shape doesn't fit, MemoryError.
   */
  uploadAdapter(lowered: Lowered, adapter: Adapter): Promise<AdapterWeights>;
  /** Bytes of one block of a group. */
  blockBytes(group: StateGroup): number;
  /** A pool of `blocks[g]` zeroed blocks for each group g. */
  allocate(groups: readonly StateGroup[], blocks: readonly number[]): Promise<Pool>;
  compile(lowered: Lowered, weights: Weights, pool: Pool, options: CompileOptions): Promise<Program>;
  /** Frees threads. Weights, pools and programs must be closed before. */
  close(): Promise<void>;
}

export interface Weights {
  /** Bytes held in the backend's layout, those of its base aside. */
  readonly bytes: number;
  close(): void;
}

/** An adapter in a backend's layout. Steps that use it, and places that hold it, keep it alive beyond `close`. */
export interface AdapterWeights {
  readonly bytes: number;
  /** The largest of its pairs'. */
  readonly rank: number;
  close(): void;
}

export interface Pool {
  readonly groups: readonly StateGroup[];
  readonly blocks: readonly number[];
  readonly bytes: number;
  /** The bytes of some blocks, one after another, in the pool's own layout (swap, transfer). */
  read(group: number, blocks: Int32Array): Promise<Uint8Array>;
  /** `bytes` must stay as they are until the promise is settled. */
  write(group: number, blocks: Int32Array, bytes: Uint8Array): Promise<void>;
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
  /**
   * Tokens that can't be sampled while the answer has fewer than `minTokens` tokens. Where a mask leaves nothing else,
   * they can.
   */
  readonly minTokens: number;
  readonly stopIds: Int32Array;
  /** 64 bits. */
  readonly seed: bigint;
  /** Which of a request's n answers. */
  readonly sampleIndex: number;
}

/** A sampler slot begins (again): at an answer's start, or in its middle after a preemption or in a fork. */
export interface SamplerOpening {
  readonly slot: number;
  readonly params: SamplerParams;
  /** Counted for the repetition penalty. */
  readonly prompt: Int32Array;
  /** The answer's ids so far: counted for all penalties and for `minTokens`. */
  readonly answer: Int32Array;
}

/** `-1 - reference`, where `references[2r], references[2r + 1]` are (step id, sample). */
export type IdOrReference = number;

/**
 * One step over a ragged batch: the new tokens of all sequences lie one after another. The first `…Count` entries of
 * each list count. In this order happen: closings, openings, commits; moves, then block copies; the rows; the samples.
 */
export interface StepPlan {
  /** Rises from step to step of a pool, whatever the program. */
  id: number;

  tokenCount: number;
  sequenceCount: number;
  /** `[T]` token ids or references. */
  readonly tokens: Int32Array;
  /** `[T]` absolute positions: rotation, learned positions, noise. */
  readonly positions: Int32Array;
  /** `[T]` where the row's K and V are written: slot p lies in entry p / 16 of the block table. Equal unless drafted. */
  readonly slots: Int32Array;
  /** `[T]` the row sees the slots 0 … seen − 1 of its sequence; those may be written by this step, also by later rows. */
  readonly seen: Int32Array;
  /**
   * Then it sees the slots `listed[listStarts[t]] … listed[listStarts[t + 1] − 1]` in this order: a tree's ancestors and
   * the row itself. A key's place in all that (slot p < seen is place p, the i-th listed one place seen + i) decides tile,
   * lane and window. The row's own place, from which a window counts, is the last one, or its slot where slot < seen − 1.
   * With `listedCount` 0 no row lists any, and `listStarts` isn't read.
   */
  listedCount: number;
  readonly listStarts: Int32Array;
  readonly listed: Int32Array;
  /** `[S + 1]`: sequence s has the rows `queryStarts[s] … queryStarts[s + 1] − 1`. */
  readonly queryStarts: Int32Array;
  /**
   * For each group: `[S, stride]` block ids. −1 where freed (behind a window). Of a recurrent group entry i is the granule
   * of border i + 1, which lies before place 64 (i + 1).
   */
  readonly blockTables: readonly { readonly ids: Int32Array; readonly stride: number }[];

  /**
   * `[S]` for scans, which read a row's places in order, each computed in an earlier row or step: the border from whose
   * granule (entry `borders[s]` − 1; 0: from nothing) the sequence's states are gone on from, at most HISTORY_TOKENS
   * before its first row. Written are the granules of the borders after it, up to the most leading slots that a row of the
   * sequence sees, as far as the table has them (−1: not kept). No granule that the step reads is written, none twice.
   */
  readonly borders: Int32Array;

  /** `[S]` the place of the sequence's adapter; −1: the base model alone, to the bit. */
  readonly adapters: Int32Array;

  /** What a slot holds, moved: (group, from block, from offset, to block, to offset). No target is a source or twice. */
  moveCount: number;
  readonly moves: Int32Array;
  /** Block copies: (group, from, to). No target is a source or twice. */
  copyCount: number;
  readonly copies: Int32Array;

  referenceCount: number;
  /** Pairs (step id, sample) of earlier steps, of any program of the pool. */
  readonly references: Int32Array;

  /** Closing a slot that is not open does nothing. */
  closeCount: number;
  readonly closes: Int32Array;
  readonly opens: readonly SamplerOpening[];
  /** Pairs (slot, id or reference): the answer has one token more. */
  commitCount: number;
  readonly commits: Int32Array;

  /** Samples: the row that is sampled, the sampler slot, how many alternatives to report (0 … 20). */
  sampleCount: number;
  readonly sampleRows: Int32Array;
  readonly sampleSlots: Int32Array;
  readonly sampleTop: Int32Array;
  /** 1: a mask will come through the handle. */
  readonly sampleMasked: Int32Array;
  /**
   * Rows of this step whose tokens count for a sample as its answer's, beside what its slot has: a drafted path. Sample i:
   * `counted[countStarts[i]] … counted[countStarts[i + 1] − 1]`. With `countedCount` 0 `countStarts` isn't read.
   */
  countedCount: number;
  readonly countStarts: Int32Array;
  readonly counted: Int32Array;

  /** Log-probability of token `logprobIds[i]` after row `logprobRows[i]`, with `logprobTop[i]` alternatives. */
  logprobCount: number;
  readonly logprobRows: Int32Array;
  readonly logprobIds: Int32Array;
  readonly logprobTop: Int32Array;

  /**
   * For each of the program's named inputs: the rows whose values are given, none twice, and the values `[count, width]`.
   * The graph takes them in place of what their tokens would give.
   */
  readonly inputs: readonly { count: number; readonly rows: Int32Array; readonly values: Float32Array }[];
  /** For each of the program's named outputs: the rows of which it is wanted. */
  readonly outputs: readonly { count: number; readonly rows: Int32Array }[];
}

/** A sample that has no id: its mask was dropped, or every token is forbidden. */
export const NO_SAMPLE = -1;
/** A sample whose logits hold something that is not finite. */
export const NOT_FINITE = -2;

/** Log-probabilities are of the model's own distribution: temperature 1, before bias, penalties, masks and cuts. */
export interface StepResult {
  /** `[sampleCount]`: a token id, NO_SAMPLE or NOT_FINITE. */
  readonly sampleIds: Int32Array;
  readonly sampleLogprobs: Float32Array;
  /** `[sampleCount, MAX_TOP_LOGPROBS]`, most likely first; empty where no sample asked for any. */
  readonly topIds: Int32Array;
  readonly topLogprobs: Float32Array;
  /** `[logprobCount]`; alternatives `[logprobCount, MAX_TOP_LOGPROBS]`, empty where no row asked for any. */
  readonly logprobs: Float32Array;
  readonly logprobTopIds: Int32Array;
  readonly logprobTopLogprobs: Float32Array;
  /** For each named output `[rows, width]`. */
  readonly outputs: readonly Float32Array[];
}

/** A step in flight. */
export interface StepHandle {
  /**
   * Rejects with StepError where the step failed, was cancelled, or comes back unrun because an earlier one did: then the
   * KV that it would write is undefined, and every sampler slot that it names is closed.
   */
  readonly result: Promise<StepResult>;
  /** Delivers a sample's mask, once: bit i of word i / 32 allows token i. "drop": the sample isn't wanted any more. */
  mask(sample: number, mask: Uint32Array | "drop"): void;
  /** A request: the step may complete all the same. */
  cancel(): void;
}

export interface Program {
  readonly lowered: Lowered;
  readonly pool: Pool;
  /**
   * Submits a step. Two may be in flight: the second runs after the first. A plan that breaks the rules above rejects
   * the result and changes nothing. The native backends don't block the event loop (the reference does).
   */
  run(plan: StepPlan): StepHandle;
  /**
   * Fills or empties a place for an adapter, for the steps that are submitted after this call; those before keep what
   * was there. Rejects where there is no such place, or the rank is beyond `maxRank`.
   */
  setAdapter(place: number, adapter: AdapterWeights | undefined): Promise<void>;
  /** Cancels what is in flight. */
  close(): Promise<void>;
}
