/**
 * An answer under way: awaited it gives the whole result, iterated it gives parts as they come. The work starts when the
 * Answer is made, so that answers asked for together share a batch, and goes on whether or not anybody looks.
 */
import type { TextPart } from "../chat/reasoning.ts";
import { MillraceError, RequestError } from "../errors.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import {
  type EngineClient,
  type FinishReason,
  type GenerateWish,
  perform,
  type ScoredToken,
  type Work,
  type WorkEvent,
  type WorkHandle,
} from "./client.ts";
import { EventQueue } from "./event-queue.ts";
import { type OutputOptions, OutputProcessor } from "./output.ts";

export interface Usage {
  readonly promptTokens: number;
  /** Of the prompt's: found in memory, not computed. */
  readonly cachedTokens: number;
  /** Over all n answers. */
  readonly completionTokens: number;
  readonly totalTokens: number;
  /** Tokens of the request's own prediction that were verified: those that the answer has, and those that it hasn't. */
  readonly acceptedPredictionTokens: number;
  readonly rejectedPredictionTokens: number;
}

/** Milliseconds, and tokens per second. */
export interface Timings {
  /** From the call to the first token. */
  readonly firstTokenMs: number;
  readonly totalMs: number;
  readonly promptTokensPerSecond: number;
  /** Of the tokens after each answer's first. */
  readonly tokensPerSecond: number;
  /** Steps that gave an answer tokens, over all n answers; what was guessed for them, and turned out right. */
  readonly steps: number;
  readonly drafted: number;
  readonly accepted: number;
  /** Tokens that a step gave an answer: 1 where nothing was guessed right. */
  readonly tokensPerStep: number;
}

/** A token's log-probability, and the most likely tokens at its place, as many as were asked for. */
export type TokenLogprob = ScoredToken;

export interface Choice {
  readonly index: number;
  readonly text: string;
  /** What a thinking model wrote before its answer. */
  readonly reasoning?: string;
  /** Token ids, the one that ended the answer included. */
  readonly tokens: readonly number[];
  readonly finishReason: FinishReason;
  /** The one of the stop texts that ended the answer. */
  readonly stopText?: string;
  /** One a token, where `logprobs` was asked for. */
  readonly logprobs?: readonly TokenLogprob[];
}

/** The first choice's fields stand at the top. */
export interface Generation extends Choice {
  readonly choices: readonly Choice[];
  readonly promptTokens: readonly number[];
  /** For each token of the prompt but the first, where `promptLogprobs` was asked for. */
  readonly promptLogprobs?: readonly TokenLogprob[];
  readonly usage: Usage;
  readonly timings: Timings;
  /** The seed that was used: given again, it gives the same answer. */
  readonly seed: bigint;
}

export type AnswerPart =
  | { readonly type: "text"; readonly index: number; readonly text: string }
  | { readonly type: "reasoning"; readonly index: number; readonly text: string }
  /** Where `logprobs` was asked for, ahead of the text that the tokens make: some of it may be held back for a while. */
  | { readonly type: "tokens"; readonly index: number; readonly tokens: readonly TokenLogprob[] }
  | {
      readonly type: "finish";
      readonly index: number;
      readonly finishReason: FinishReason;
      readonly stopText?: string;
    };

/** A generation as the engine and the output processor need it. */
export interface AnswerRequest extends OutputOptions {
  readonly work: Work & { readonly generate: GenerateWish };
  readonly seed: bigint;
  readonly logprobs: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** One of the n texts while it grows. */
class Growing {
  readonly index: number;
  readonly output: OutputProcessor;
  readonly tokens: ScoredToken[] = [];
  finish: FinishReason | undefined;

  constructor(index: number, output: OutputProcessor) {
    this.index = index;
    this.output = output;
  }

  get stopText(): { readonly stopText?: string } {
    return this.output.stopText === undefined ? {} : { stopText: this.output.stopText };
  }

  choice(logprobs: boolean): Choice {
    if (this.finish === undefined) throw new Error("Millrace defect: an answer ended without its last token");
    return {
      index: this.index,
      text: this.output.text,
      ...(this.output.reasoning === "" ? {} : { reasoning: this.output.reasoning }),
      tokens: this.tokens.map(({ id }) => id),
      finishReason: this.finish,
      ...this.stopText,
      ...(logprobs ? { logprobs: this.tokens } : {}),
    };
  }
}

/**
 * @example
 * for await (const part of llm.chat(messages)) if (part.type === "text") process.stdout.write(part.text);
 * const { text } = await llm.chat(messages);
 */
export class Answer implements AsyncIterable<AnswerPart>, Promise<Generation> {
  readonly [Symbol.toStringTag] = "Answer";
  readonly #parts: EventQueue<AnswerPart>;
  readonly #result: Promise<Generation>;
  readonly #leave = new AbortController();
  #iterated = false;

  /** What `prepare` throws, a wrong option say, is what the answer rejects with. */
  constructor(client: EngineClient, tokenizer: Tokenizer, prepare: () => AnswerRequest) {
    this.#parts = new EventQueue(() => this.#leave.abort(new MillraceError("ERR_LEFT", "the iteration was left")));
    this.#result = this.#run(client, tokenizer, prepare);
    // Whoever iterates meets the error there; whoever awaits meets it in `then`.
    this.#result.then(
      () => this.#parts.end(),
      (error: unknown) => this.#parts.end({ error }),
    );
  }

  // oxlint-disable-next-line unicorn/no-thenable -- an answer is awaited for its result, as a query builder is
  then<A = Generation, B = never>(
    onFulfilled?: ((value: Generation) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#result.then(onFulfilled, onRejected);
  }

  catch<B = never>(onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<Generation | B> {
    return this.#result.catch(onRejected);
  }

  finally(onFinally?: (() => void) | null): Promise<Generation> {
    return this.#result.finally(onFinally);
  }

  /** Parts come once: a second iteration throws RequestError. Leaving it early ends the work. */
  [Symbol.asyncIterator](): AsyncIterator<AnswerPart> {
    if (this.#iterated)
      throw new RequestError("this answer is iterated already; its parts come once, await it for the whole");
    this.#iterated = true;
    return this.#parts;
  }

  async #run(client: EngineClient, tokenizer: Tokenizer, prepare: () => AnswerRequest): Promise<Generation> {
    const request = prepare();
    const { work, signal } = request;
    const answers = work.generate.samplers.map((_, i) => new Growing(i, new OutputProcessor(tokenizer, request)));
    const promptLogprobs: TokenLogprob[] = [];
    const start = performance.now();
    let first: number | undefined;
    const leave = this.#leave.signal;
    const either = signal === undefined ? leave : AbortSignal.any([signal, leave]);
    const told = await perform(client, work, either, (event, handle) => {
      if (event.type === "logprobs") promptLogprobs.push(...event.tokens);
      else if (event.type === "tokens") {
        first ??= performance.now();
        this.#take(answers, event, handle, request.logprobs);
      }
    });
    const end = performance.now();
    return summarise(request, answers, promptLogprobs, { ...told, start, first: first ?? start, end });
  }

  /** Adds tokens to an answer, as far as it goes. */
  #take(
    answers: readonly Growing[],
    event: WorkEvent & { readonly type: "tokens" },
    handle: WorkHandle,
    logprobs: boolean,
  ): void {
    const answer = answers[event.answer];
    if (answer === undefined || answer.finish !== undefined) return;
    const { index, output } = answer;
    for (const [i, token] of event.tokens.entries()) {
      answer.tokens.push(token);
      const finish = i + 1 === event.tokens.length ? event.finish : undefined;
      // A stop token ends the text and is no part of it.
      const parts: TextPart[] = finish === "stop" ? [] : output.push(token.id);
      if (logprobs && finish !== "stop") this.#parts.push({ type: "tokens", index, tokens: [token] });
      if (finish !== undefined) parts.push(...output.end());
      for (const part of parts) this.#parts.push({ ...part, index });
      answer.finish = output.stopped ? "stop" : finish;
      if (answer.finish === undefined) continue;
      this.#parts.push({ type: "finish", index, finishReason: answer.finish, ...answer.stopText });
      // Behind a stop string the engine would go on.
      if (finish === undefined || output.stopped) handle.endAnswer(index);
      return;
    }
  }
}

type Ended = Pick<WorkEvent & { readonly type: "end" }, "cachedTokens" | "drafts">;

function summarise(
  { work, seed, logprobs }: AnswerRequest,
  answers: readonly Growing[],
  promptLogprobs: readonly TokenLogprob[],
  told: Ended & { readonly start: number; readonly first: number; readonly end: number },
): Generation {
  const { start, first, end, cachedTokens, drafts } = told;
  const { steps, drafted, accepted, predicted } = drafts;
  const [head, ...rest] = answers.map((answer) => answer.choice(logprobs));
  if (head === undefined) throw new Error("Millrace defect: an answer without a choice");
  const completionTokens = answers.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const promptTokens = work.prompt.length;
  return {
    ...head,
    choices: [head, ...rest],
    promptTokens: [...work.prompt],
    ...(work.score === undefined ? {} : { promptLogprobs }),
    usage: {
      promptTokens,
      cachedTokens,
      completionTokens,
      totalTokens: promptTokens + completionTokens,
      acceptedPredictionTokens: predicted.accepted,
      rejectedPredictionTokens: predicted.drafted - predicted.accepted,
    },
    timings: {
      firstTokenMs: first - start,
      totalMs: end - start,
      promptTokensPerSecond: rate(promptTokens, first - start),
      tokensPerSecond: rate(completionTokens - answers.length, end - first),
      steps,
      drafted,
      accepted,
      tokensPerStep: steps === 0 ? 0 : completionTokens / steps,
    },
    seed,
  };
}

function rate(tokens: number, ms: number): number {
  return ms > 0 ? (1000 * tokens) / ms : 0;
}
