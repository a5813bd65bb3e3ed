/**
 * An answer under way: awaited it gives the whole result, iterated it gives parts as they come. The work starts when the
 * Answer is made, so that answers asked for together share a batch, and goes on whether or not anybody looks.
 */
import { PartialJson } from "../chat/partial-json.ts";
import type { ToolCall } from "../chat/tools.ts";
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
import { follow } from "./follow.ts";
import { type OutputOptions, type OutputPart, OutputProcessor } from "./output.ts";

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

export interface Choice<Value = unknown> {
  readonly index: number;
  readonly text: string;
  /**
   * Where a `schema` was given: the answer's value, as the schema's library made it. Reading it throws RequestError where there
   * is none: the answer was cut (`finishReason` is "length"), or calls tools, or the library refused it.
   */
  readonly object: Value;
  /** The tools that the model called, complete calls only. */
  readonly toolCalls?: readonly ToolCall[];
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
export interface Generation<Value = unknown> extends Choice<Value> {
  readonly choices: readonly Choice<Value>[];
  readonly promptTokens: readonly number[];
  /** For each token of the prompt but the first, where `promptLogprobs` was asked for. */
  readonly promptLogprobs?: readonly TokenLogprob[];
  readonly usage: Usage;
  readonly timings: Timings;
  /** The seed that was used: given again, it gives the same answer. */
  readonly seed: bigint;
}

export type AnswerPart =
  | (OutputPart & { readonly index: number })
  /** Where a `schema` was given, behind the text: the answer's value so far, what is not written yet missing. */
  | { readonly type: "object"; readonly index: number; readonly object: unknown }
  /** Where `logprobs` was asked for, ahead of the text that the tokens make: some of it may be held back for a while. */
  | { readonly type: "tokens"; readonly index: number; readonly tokens: readonly TokenLogprob[] }
  | {
      readonly type: "finish";
      readonly index: number;
      readonly finishReason: FinishReason;
      readonly stopText?: string;
    };

/** A generation as the engine and the output processor need it. */
export interface AnswerRequest extends Omit<OutputOptions, "callId"> {
  readonly work: Work & { readonly generate: GenerateWish };
  readonly seed: bigint;
  readonly logprobs: boolean;
  /** Of an answer that is JSON: what the caller's schema makes of its value. */
  readonly parse?: ((value: unknown) => unknown) | undefined;
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

  async choice({ logprobs, parse }: AnswerRequest): Promise<Choice> {
    if (this.finish === undefined) throw new Error("Millrace defect: an answer ended without its last token");
    const { text, reasoning, toolCalls } = this.output;
    const choice = {
      index: this.index,
      text,
      ...(reasoning === "" ? {} : { reasoning }),
      ...(toolCalls.length > 0 && { toolCalls }),
      tokens: this.tokens.map(({ id }) => id),
      finishReason: this.finish,
      ...this.stopText,
      ...(logprobs ? { logprobs: this.tokens } : {}),
    };
    return withObject(choice, await valueOf(choice, parse));
  }
}

type ValueOrReason = { readonly value: unknown } | { readonly reason: RequestError };

/** The value of an answer's text, or why there is none. */
async function valueOf(
  { text, finishReason, toolCalls }: Omit<Choice, "object">,
  parse: AnswerRequest["parse"],
): Promise<ValueOrReason> {
  const none = (why: string): ValueOrReason => ({ reason: new RequestError(`the answer has no object: ${why}`) });
  if (parse === undefined) return none("no schema was given");
  if (toolCalls !== undefined && text === "") return none("it calls tools");
  if (finishReason === "length") return none("it was cut at maxTokens");
  try {
    return { value: await parse(JSON.parse(text)) };
  } catch (error) {
    if (error instanceof RequestError) return { reason: error };
    return none(`its text is no whole JSON (${String(error)})`);
  }
}

/** Where there is no value, whoever reads it is told why; others needn't mind. */
function withObject<T extends object>(choice: T, outcome: ValueOrReason): T & { readonly object: unknown } {
  if ("value" in outcome) return { ...choice, object: outcome.value };
  const refuse = (): never => {
    throw outcome.reason;
  };
  return Object.defineProperty(choice, "object", { get: refuse, enumerable: false }) as T & {
    readonly object: unknown;
  };
}

/**
 * @example
 * for await (const part of llm.chat(messages)) if (part.type === "text") process.stdout.write(part.text);
 * const { text } = await llm.chat(messages);
 */
export class Answer<Value = unknown> implements AsyncIterable<AnswerPart>, Promise<Generation<Value>> {
  readonly [Symbol.toStringTag] = "Answer";
  readonly #parts: EventQueue<AnswerPart>;
  readonly #result: Promise<Generation<Value>>;
  readonly #leave = new AbortController();
  #iterated = false;
  #isJson = false;

  /** What `prepare` throws, a wrong option say, is what the answer rejects with. */
  constructor(client: EngineClient, tokenizer: Tokenizer, prepare: () => AnswerRequest | Promise<AnswerRequest>) {
    this.#parts = new EventQueue(() => this.#leave.abort(new MillraceError("ERR_LEFT", "the iteration was left")));
    this.#result = this.#run(client, tokenizer, prepare);
    // Whoever iterates meets the error there; whoever awaits meets it in `then`.
    this.#result.then(
      () => this.#parts.end(),
      (error: unknown) => this.#parts.end({ error }),
    );
  }

  // oxlint-disable-next-line unicorn/no-thenable -- an answer is awaited for its result, as a query builder is
  then<A = Generation<Value>, B = never>(
    onFulfilled?: ((value: Generation<Value>) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#result.then(onFulfilled, onRejected);
  }

  catch<B = never>(onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<Generation<Value> | B> {
    return this.#result.catch(onRejected);
  }

  finally(onFinally?: (() => void) | null): Promise<Generation<Value>> {
    return this.#result.finally(onFinally);
  }

  /** Parts come once: a second iteration throws RequestError. Leaving it early ends the work. */
  [Symbol.asyncIterator](): AsyncIterator<AnswerPart> {
    if (this.#iterated)
      throw new RequestError("this answer is iterated already; its parts come once, await it for the whole");
    this.#iterated = true;
    return this.#withObjects();
  }

  /** The parts, and behind each text of JSON the value so far: made where somebody looks, for it costs what it holds. */
  async *#withObjects(): AsyncGenerator<AnswerPart> {
    const values = new Map<number, PartialJson>();
    for await (const part of this.#parts) {
      yield part;
      if (!this.#isJson || part.type !== "text") continue;
      const { index, text } = part;
      const json = values.get(index) ?? new PartialJson();
      values.set(index, json);
      const object = json.push(text);
      if (object !== undefined) yield { type: "object", index, object: object.value };
    }
  }

  async #run(
    client: EngineClient,
    tokenizer: Tokenizer,
    prepare: () => AnswerRequest | Promise<AnswerRequest>,
  ): Promise<Generation<Value>> {
    const start = performance.now();
    const prepared = prepare();
    // Without a turn of its own where there is nothing to wait for: answers asked for together begin together.
    const request = prepared instanceof Promise ? await prepared : prepared;
    const { work, signal } = request;
    const answers = work.generate.samplers.map((_, i) => {
      const callId = (call: number): string => callName(request, i, call);
      return new Growing(i, new OutputProcessor(tokenizer, { ...request, callId }));
    });
    this.#isJson = request.parse !== undefined;
    const promptLogprobs: TokenLogprob[] = [];
    let first: number | undefined;
    const unfollow = follow(this.#leave, signal);
    const told = await perform(client, work, this.#leave.signal, (event, handle) => {
      if (event.type === "logprobs") promptLogprobs.push(...event.tokens);
      else if (event.type === "tokens") {
        first ??= performance.now();
        this.#take(answers, event, handle, request.logprobs);
      }
    }).finally(unfollow);
    const end = performance.now();
    const all = await summarise(request, answers, promptLogprobs, { ...told, start, first: first ?? start, end });
    // The schema's own type stands for its values from here on.
    return all as Generation<Value>;
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
      const parts: OutputPart[] = finish === "stop" ? [] : output.push(token.id);
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

async function summarise(
  request: AnswerRequest,
  answers: readonly Growing[],
  promptLogprobs: readonly TokenLogprob[],
  told: Ended & { readonly start: number; readonly first: number; readonly end: number },
): Promise<Generation> {
  const { work, seed } = request;
  const { start, first, end, cachedTokens, drafts } = told;
  const { steps, drafted, accepted, predicted } = drafts;
  const [head, ...rest] = await Promise.all(answers.map((answer) => answer.choice(request)));
  if (head === undefined) throw new Error("Millrace defect: an answer without a choice");
  const completionTokens = answers.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const promptTokens = work.prompt.length;
  const generation = {
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
  // What refuses to be read isn't copied with the rest.
  const object = Object.getOwnPropertyDescriptor(head, "object");
  return object === undefined ? generation : Object.defineProperty(generation, "object", object);
}

/**
 * An identifier of a call: equal requests give equal ones, different places of a conversation different ones. Nine letters and
 * digits, as Mistral's templates ask.
 */
function callName({ work, seed }: AnswerRequest, answer: number, call: number): string {
  let hash = 0xcbf29ce484222325n;
  for (const part of [seed, BigInt(work.prompt.length), BigInt(answer), BigInt(call)]) {
    hash = BigInt.asUintN(64, (hash ^ part) * 0x100000001b3n);
    hash ^= hash >> 29n;
  }
  return hash.toString(36).padStart(9, "0").slice(-9);
}

function rate(tokens: number, ms: number): number {
  return ms > 0 ? (1000 * tokens) / ms : 0;
}
