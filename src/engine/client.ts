/**
 * EngineClient: how everything above the engine asks for work. In process it is the Engine itself; a worker thread or
 * another Millrace over HTTP can stand behind it just as well, so work and events are plain data.
 */
import type { SamplerParams } from "../backend/contract.ts";
import type { ReasoningBudget } from "../chat/answer-format.ts";
import type { MillraceError } from "../errors.ts";
import type { AdapterInfo } from "./adapters.ts";
import type { GrammarSpec } from "../decode/grammar/spec.ts";
import type { SpeculationPlan } from "../decode/speculative/option.ts";
import type { BlockState } from "../state/block-pool.ts";
import type { PrefixRun } from "../state/prefix-tree.ts";
export type { BlockState, PrefixRun };

/** What is wanted of token ids: answers to them, what the model makes of them, or both. */
export interface Work {
  readonly prompt: Int32Array;
  /** That the prompt be computed, and no more: it is in the prefix cache then. */
  readonly prefill?: true;
  readonly generate?: GenerateWish;
  readonly score?: ScoreWish;
  readonly embed?: EmbedWish;
  /** Tokens that see each other, also those behind them: all of an encoder's prompt. In order, apart from each other. */
  readonly spans?: readonly Span[];
  /** Rows of the prompt whose values the caller gives: pictures, soft prompts. Apart from each other where their input is one. */
  readonly given?: readonly GivenRows[];
  /** Prefixes are shared in memory only under an equal salt. Default "". */
  readonly cacheSalt?: string;
  /** The name of a loaded adapter. Default: the base model. */
  readonly adapter?: string;
  /** Higher goes first. Default 0. */
  readonly priority?: number;
  /** What was computed for it, its answers included, stays in memory for so long after its end, for whoever goes on. Default 0. */
  readonly keepSeconds?: number;
  /** Whose it is: tenants get equal shares where they ask for more than there is. Default "". */
  readonly tenant?: string;
}

/** n answers, one for each of the samplers. */
export interface GenerateWish {
  /** The most tokens of an answer; prompt + maxTokens fits the context. */
  readonly maxTokens: number;
  readonly samplers: readonly SamplerParams[];
  readonly stopIds: Int32Array;
  /** What the answers' text must satisfy. */
  readonly grammar?: GrammarSpec;
  /** How long an answer may think. */
  readonly budget?: ReasoningBudget;
  /** Alternatives to report with each token. */
  readonly topLogprobs: number;
  /** How its tokens are drafted. Default: as the engine does for all. */
  readonly speculation?: SpeculationPlan;
  /** What the answer will be in large part: a draft. */
  readonly prediction?: Int32Array;
}

/** The log-probability of each token of the prompt but the first, or the logits after each. */
export interface ScoreWish {
  readonly want: "logprobs" | "logits";
  /** Alternatives to report with each log-probability. */
  readonly topLogprobs: number;
}

/** One vector for the prompt, of the rows of one of the model's outputs. */
export interface EmbedWish {
  readonly output: string;
  /** The mean of all rows, or the first or the last one. */
  readonly pooling: Pooling;
}

export const POOLINGS = ["mean", "first", "last"] as const;
export type Pooling = (typeof POOLINGS)[number];

/** The tokens `begin … end − 1` of a prompt. */
export interface Span {
  readonly begin: number;
  readonly end: number;
}

/** Rows that a model takes as they are, in place of what their tokens would give. */
export interface GivenRows {
  /** The model's input that takes them. */
  readonly input: string;
  /** Where the first of them stands in the prompt. */
  readonly begin: number;
  /** `[rows, the input's width]`. */
  readonly values: Float32Array;
  /**
   * What they are, for instance a digest of a picture and of how it was read: equal names, equal values. By it prefixes are
   * shared in memory.
   */
  readonly content: string;
}

export type FinishReason = "stop" | "length";

/** A token with its log-probability under the model's own distribution, and the likeliest ones at its place. */
export interface ScoredToken {
  readonly id: number;
  readonly logprob: number;
  readonly top: readonly { readonly id: number; readonly logprob: number }[];
}

export type WorkEvent =
  /** An answer goes on; `finish` stands where these are its last tokens. */
  | {
      readonly type: "tokens";
      readonly answer: number;
      readonly tokens: readonly ScoredToken[];
      readonly finish?: FinishReason;
    }
  /** The prompt's tokens from index `first` on (`logprobs`), or the logits after them, the receiver's own. */
  | { readonly type: "logprobs"; readonly first: number; readonly tokens: readonly ScoredToken[] }
  | { readonly type: "logits"; readonly first: number; readonly rows: readonly Float32Array[] }
  /** What `embed` asked for, the receiver's own. */
  | { readonly type: "vector"; readonly values: Float32Array }
  /** The last event: all is done, or an error says why not. Some tokens of the prompt may have been in memory already. */
  | {
      readonly type: "end";
      readonly cachedTokens: number;
      readonly drafts: DraftCounts;
      readonly error?: unknown;
    };

/** How the tokens of a request's answers came. */
export interface DraftCounts {
  /** Steps that gave an answer tokens, added up over the answers. */
  readonly steps: number;
  /** Tokens that were guessed and verified, and those that were right: each of these saved a step. */
  readonly drafted: number;
  readonly accepted: number;
  /** Those of the request's own prediction. */
  readonly predicted: { readonly drafted: number; readonly accepted: number };
}

export interface WorkHandle {
  /** Ends one of the n answers: no more of its tokens come. */
  endAnswer(index: number): void;
  /** Takes the work out of the engine; its last event is `end` with this error. Nothing happens where it has ended. */
  cancel(error: unknown): void;
}

/** A moment of the engine. */
export interface EngineStats {
  readonly running: number;
  readonly waiting: number;
  readonly steps: number;
  /** Tokens of prompts, and how many of them were in memory already. */
  readonly promptTokens: number;
  readonly cachedTokens: number;
  /** Drafted tokens by their depth (index 0: right behind the known ones): how many were verified, and were right. */
  readonly drafts: readonly { readonly drafted: number; readonly accepted: number }[];
  /** Blocks that gave way and were kept outside, that came back, that are kept there now, and the bytes of these. */
  readonly swap: {
    readonly saved: number;
    readonly restored: number;
    readonly blocks: number;
    readonly bytes: number;
  };
  /** For each state group: all, those that requests hold, and those kept for later prompts alone. */
  readonly blocks: readonly { readonly size: number; readonly used: number; readonly cached: number }[];
}

/** What each block of each state group is for, and the shape of the prefix tree: numbers only, for pictures. */
export interface MemoryMap {
  readonly groups: readonly (readonly BlockState[])[];
  /** Parents before their children; of a large tree a part. */
  readonly prefixes: readonly PrefixRun[];
}

/** What a step was. */
export interface StepRecord {
  readonly id: number;
  /** 0: of the model that answers; 1 …: of one that drafts. */
  readonly program: number;
  readonly sequences: number;
  readonly tokens: number;
  readonly samples: number;
  /** Tokens that it verified, and those that turned out right. */
  readonly drafted: number;
  readonly accepted: number;
  /** Requests taken out of memory to make room in it. */
  readonly preempted: number;
  /** From its submission to its result; steps in flight overlap. */
  readonly ms: number;
  /** What it took to plan it, drafting included. */
  readonly planMs: number;
}

/** A prefix that stays in memory until it is released. */
export interface Pin {
  /** Tokens that it holds. */
  readonly tokens: number;
  release(): void;
}

export interface EngineClient {
  /** Why it can work no more, though nobody has closed it; undefined: it can. */
  readonly failure: MillraceError | undefined;
  /**
   * Queues work. Its events come by `listen`, never before `submit` has returned; what can't be done is refused by an
   * `end` with a RequestError.
   */
  submit(work: Work, listen: (event: WorkEvent) => void): WorkHandle;
  stats(): EngineStats;
  memory(): Promise<MemoryMap>;
  /** Loads an adapter for requests to name. @throws RequestError, MemoryError, ArtifactError, UnsupportedError */
  loadAdapter(name: string, reference: string): Promise<AdapterInfo>;
  /** No new request can name it; resolves when the last one that does has ended, and its memory is free. */
  dropAdapter(name: string): Promise<void>;
  adapters(): readonly AdapterInfo[];
  /** Tells of each step, until the function that it returns is called. */
  watch(listen: (record: StepRecord) => void): () => void;
  /**
   * Computes a prompt and keeps it in memory, so that every later prompt that begins with it (under the same salt) has
   * that for nothing. Rejects where there is no prefix cache, or no room.
   */
  pin(prompt: Int32Array, cacheSalt?: string): Promise<Pin>;
  /** Ends all work and frees the memory. */
  close(): Promise<void>;
}

/** Has work done: gives its last event, rejects with its error or the signal's reason. */
export function perform(
  client: EngineClient,
  work: Work,
  signal: AbortSignal | undefined,
  listen: (event: WorkEvent, handle: WorkHandle) => void,
): Promise<WorkEvent & { readonly type: "end" }> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const handle = client.submit(work, (event) => {
      if (event.type !== "end") return listen(event, handle);
      signal?.removeEventListener("abort", onAbort);
      if (event.error === undefined) resolve(event);
      // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- a signal's reason may be anything
      else reject(event.error);
    });
    const onAbort = (): void => handle.cancel(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
