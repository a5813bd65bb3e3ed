/**
 * An answer under way: awaited it gives the whole result, iterated it gives parts as they come. The work starts
 * when the Answer is made, so that answers asked for together share a batch.
 */
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { EngineClient, WorkStream } from "./client.ts";
import { EventQueue } from "./event-queue.ts";
import { type OutputOptions, OutputProcessor } from "./output.ts";
import type { FinishReason, GenerateWork, SampledToken } from "./request.ts";

export interface Usage {
  readonly promptTokens: number;
  /** Over all n answers. */
  readonly completionTokens: number;
  readonly totalTokens: number;
}

/** Milliseconds, and tokens per second. */
export interface Timings {
  /** From the call to the first token. */
  readonly firstTokenMs: number;
  readonly totalMs: number;
  readonly promptTokensPerSecond: number;
  /** Of the tokens after each answer's first. */
  readonly tokensPerSecond: number;
}

export interface TokenLogprob {
  readonly id: number;
  readonly logprob: number;
  /** The most likely tokens at this place, as many as `logprobs` asked for. */
  readonly top: readonly { readonly id: number; readonly logprob: number }[];
}

export interface Choice {
  readonly index: number;
  readonly text: string;
  /** What a thinking model wrote before its answer. */
  readonly reasoning?: string;
  /** Token ids, the one that ended the answer included. */
  readonly tokens: readonly number[];
  readonly finishReason: FinishReason;
  /** One a token, where `logprobs` was asked for. */
  readonly logprobs?: readonly TokenLogprob[];
}

/** The first choice's fields stand at the top. */
export interface Generation extends Choice {
  readonly choices: readonly Choice[];
  readonly promptTokens: readonly number[];
  readonly usage: Usage;
  readonly timings: Timings;
  /** The seed that was used: given again, it gives the same answer. */
  readonly seed: bigint;
}

export type AnswerPart =
  | { readonly type: "text"; readonly index: number; readonly text: string }
  | { readonly type: "reasoning"; readonly index: number; readonly text: string }
  | { readonly type: "finish"; readonly index: number; readonly finishReason: FinishReason };

export interface AnswerOptions extends OutputOptions {
  readonly work: GenerateWork;
  readonly seed: bigint;
  readonly logprobs: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** One of the n texts while it grows. */
class Draft {
  readonly index: number;
  readonly output: OutputProcessor;
  readonly tokens: SampledToken[] = [];
  finish: FinishReason | undefined;

  constructor(index: number, output: OutputProcessor) {
    this.index = index;
    this.output = output;
  }

  choice(logprobs: boolean): Choice {
    return {
      index: this.index,
      text: this.output.text,
      ...(this.output.reasoning === "" ? {} : { reasoning: this.output.reasoning }),
      tokens: this.tokens.map(({ id }) => id),
      finishReason: this.finish ?? "length",
      ...(logprobs ? { logprobs: this.tokens.map(({ id, logprob, top }) => ({ id, logprob, top })) } : {}),
    };
  }
}

/**
 * @example
 * for await (const part of llm.chat(messages)) if (part.type === "text") process.stdout.write(part.text);
 * const { text } = await llm.chat(messages);
 */
export class Answer implements AsyncIterable<AnswerPart>, PromiseLike<Generation> {
  readonly #parts: EventQueue<AnswerPart>;
  readonly #result: Promise<Generation>;
  readonly #leave = new AbortController();

  constructor(client: EngineClient, tokenizer: Tokenizer, options: AnswerOptions) {
    this.#parts = new EventQueue(() => this.#leave.abort(new Error("the iteration was left")));
    const signal = options.signal ? AbortSignal.any([options.signal, this.#leave.signal]) : this.#leave.signal;
    // What can never run throws here and now.
    this.#result = this.#run(client.submit(options.work, signal), tokenizer, options);
    // Whoever iterates meets the error there; whoever awaits meets it in `then`.
    this.#result.catch(() => undefined);
  }

  // oxlint-disable-next-line unicorn/no-thenable -- an answer is awaited for its result, as a query builder is
  then<A = Generation, B = never>(
    onFulfilled?: ((value: Generation) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#result.then(onFulfilled, onRejected);
  }

  [Symbol.asyncIterator](): AsyncIterator<AnswerPart> {
    return this.#parts;
  }

  async #run(events: WorkStream, tokenizer: Tokenizer, options: AnswerOptions): Promise<Generation> {
    const { work, seed, logprobs } = options;
    const drafts = work.samplers.map((_, i) => new Draft(i, new OutputProcessor(tokenizer, options)));
    const start = performance.now();
    let first = start;
    try {
      let open = drafts.length;
      for await (const event of events) {
        if (event.type !== "token") continue;
        const draft = drafts[event.token.index];
        if (!draft || draft.finish) continue;
        if (first === start) first = performance.now();
        if (!this.#take(draft, event.token)) continue;
        open -= 1;
        if (open === 0) break;
        // Behind a stop string the engine would go on.
        events.endAnswer(draft.index);
      }
    } catch (error) {
      this.#parts.end({ error });
      throw error;
    }
    this.#parts.end();
    const end = performance.now();
    const [head, ...rest] = drafts.map((draft) => draft.choice(logprobs));
    if (!head) throw new Error("Millrace defect: an answer without a choice");
    const completionTokens = drafts.reduce((sum, { tokens }) => sum + tokens.length, 0);
    const promptTokens = work.prompt.length;
    return {
      ...head,
      choices: [head, ...rest],
      promptTokens: [...work.prompt],
      usage: { promptTokens, completionTokens, totalTokens: promptTokens + completionTokens },
      timings: {
        firstTokenMs: first - start,
        totalMs: end - start,
        promptTokensPerSecond: rate(promptTokens, first - start),
        tokensPerSecond: rate(completionTokens - drafts.length, end - first),
      },
      seed,
    };
  }

  /** Adds a token to a draft; true where it was the last. */
  #take(draft: Draft, token: SampledToken): boolean {
    const { index, output } = draft;
    draft.tokens.push(token);
    // A stop token ends the text and is no part of it.
    const parts = token.finish === "stop" ? [] : output.push(token.id);
    if (token.finish) parts.push(...output.end());
    for (const part of parts) this.#parts.push({ ...part, index });
    draft.finish = output.stopped ? "stop" : token.finish;
    if (draft.finish) this.#parts.push({ type: "finish", index, finishReason: draft.finish });
    return draft.finish !== undefined;
  }
}

function rate(tokens: number, ms: number): number {
  return ms > 0 ? (1000 * tokens) / ms : 0;
}
