/**
 * What the engine works on. A request is token ids and what is wanted of them; it has one sequence while its
 * prompt is computed and then one for each of its n answers. A sequence has `length` known tokens of which
 * `computed` are in the KV cache: every step lets `computed` catch up, and that one rule covers prefill, chunked
 * prefill, decode and whatever comes later.
 */
import type { SamplerParams } from "../backend/contract.ts";
import type { SequenceState } from "../state/sequence-state.ts";

export type FinishReason = "stop" | "length";

/** n answers to a prompt. */
export interface GenerateWork {
  readonly kind: "generate";
  readonly prompt: Int32Array;
  /** The most tokens of an answer; prompt + maxTokens fits the context. */
  readonly maxTokens: number;
  /** One a wanted answer. */
  readonly samplers: readonly SamplerParams[];
  readonly stopIds: ReadonlySet<number>;
  /** Alternatives to report with each token. */
  readonly topLogprobs: number;
}

/** What the model makes of given tokens: the log-probability of each but the first, or all logits. */
export interface ScoreWork {
  readonly kind: "score";
  readonly prompt: Int32Array;
  readonly want: "logprobs" | "logits";
}

export type Work = GenerateWork | ScoreWork;

/** A token that an answer got, with its log-probability under the model's own distribution. */
export interface SampledToken {
  readonly index: number;
  readonly id: number;
  readonly logprob: number;
  readonly top: readonly { readonly id: number; readonly logprob: number }[];
  /** Set on an answer's last token. */
  readonly finish?: FinishReason;
}

/** Logits after row `row`, or the log-probability of the token after it. */
export interface Score {
  readonly row: number;
  readonly logprob?: number;
  /** `[vocabSize]`, the receiver's own copy. */
  readonly logits?: Float32Array;
}

export type EngineEvent =
  | { readonly type: "token"; readonly request: Request; readonly token: SampledToken }
  | { readonly type: "score"; readonly request: Request; readonly score: Score }
  /** All answers are finished, or all rows scored. */
  | { readonly type: "done"; readonly request: Request };

export class Sequence {
  readonly request: Request;
  /** Which of the request's answers. */
  readonly index: number;
  readonly slot: number;
  readonly tokens: Int32Array;
  length: number;
  computed = 0;
  /** Nobody wants more of it; the step in flight still uses its blocks. */
  ended = false;
  state: SequenceState;

  constructor(request: Request, index: number, slot: number, state: SequenceState, capacity: number) {
    this.request = request;
    this.index = index;
    this.slot = slot;
    this.state = state;
    this.tokens = new Int32Array(capacity);
    this.tokens.set(request.work.prompt);
    this.length = request.work.prompt.length;
  }

  /** Tokens that the next step may compute. */
  get pending(): number {
    return this.length - this.computed;
  }
}

export class Request {
  readonly work: Work;
  /** Running sequences; empty while it waits and once it has ended. */
  readonly sequences: Sequence[] = [];
  /** Sampler slots held, one an answer. */
  slots: readonly number[] = [];
  /** Blocks reserved for it, a number a state group. */
  reserved: readonly number[] = [];
  status: "waiting" | "running" | "ended" = "waiting";

  constructor(work: Work) {
    this.work = work;
  }

  get answers(): number {
    return this.work.kind === "generate" ? this.work.samplers.length : 1;
  }

  /** Positions that one sequence of the request may come to hold. */
  get capacity(): number {
    return this.work.prompt.length + (this.work.kind === "generate" ? this.work.maxTokens : 0);
  }
}
