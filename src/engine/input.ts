/**
 * The input processor: what a user asks for → work for the engine. Chat messages go through the model's template
 * and the tokenizer, parameters are checked and completed, a prompt that can't fit is an error with the numbers.
 */
import type { GenerationDefaults } from "../artifact/artifact.ts";
import { checkGrammarSpec } from "../decode/grammar/check-spec.ts";
import type { GrammarSpec } from "../decode/grammar/spec.ts";
import { checkNumber, checkOptions, checkType, LIMITS, shown } from "../decode/limits.ts";
import { resolveSampling, type SamplingOptions } from "../decode/sampling.ts";
import type { MethodName } from "../decode/speculative/methods.ts";
import { parseSpeculation, type SpeculationOption, type SpeculationPlan } from "../decode/speculative/option.ts";
import { LengthError, RequestError } from "../errors.ts";
import type { ChatMessage, ChatTemplate } from "../chat/chat-template.ts";
import { answerFormat, type ReasoningBudget } from "../chat/answer-format.ts";
import { reasoningFormat } from "../chat/reasoning.ts";
import { readSchema } from "../chat/standard-schema.ts";
import { checkTools, readTools, type ToolChoice, type Tools, type ToolSpec } from "../chat/tools.ts";
import type { MarkedText } from "../tokenizer/marked-text.ts";
import type { EncodeOptions, Tokenizer } from "../tokenizer/tokenizer.ts";
import type { AnswerRequest } from "./answer.ts";

export interface GenerateOptions<Schema = unknown> extends SamplingOptions {
  /** The most tokens of an answer. Default 1,024; never more than the context leaves. */
  readonly maxTokens?: number;
  /** Texts that end the answer; they are not part of it. */
  readonly stop?: string | readonly string[];
  /** Token ids that end the answer, beside the model's own. */
  readonly stopTokens?: readonly number[];
  /** Answers to draw from one prompt. Default 1. */
  readonly n?: number;
  /** Report each token's log-probability, and this many alternatives (0 to 20). */
  readonly logprobs?: number;
  /** Report the log-probability of each token of the prompt but the first, and this many alternatives (0 to 20). */
  readonly promptLogprobs?: number;
  /** What the answer's text must satisfy; in a chat, behind the model's reasoning. */
  readonly grammar?: GrammarSpec;
  /**
   * The answer is JSON that validates, and `object` its value: a JSON Schema (2020-12, or draft 7), or a Standard Schema that
   * has one, such as zod's, which gives `object` its type.
   */
  readonly schema?: Schema;
  /** Higher goes first. Default 0. */
  readonly priority?: number;
  /**
   * Seconds for which what was computed stays in memory after the answer, for a conversation that goes on after a pause.
   * Default 0: as long as nobody else needs the memory.
   */
  readonly keepSeconds?: number;
  /** Whose the request is: tenants who ask for more than there is get equal shares. Default "". */
  readonly tenant?: string;
  /** The name of a loaded adapter that answers. Default: none, the base model. */
  readonly adapter?: string | undefined;
  /** What was computed for a prompt is shared only with prompts of an equal salt. Default "". */
  readonly cacheSalt?: string;
  /** How this answer's tokens are guessed. Default: as the model was loaded. The answer is the same with any. */
  readonly speculation?: SpeculationOption;
  /** A text, or its token ids, that the answer will repeat in large part (a file to be edited): it is a draft. */
  readonly prediction?: string | readonly number[];
  readonly signal?: AbortSignal | undefined;
}

export interface PromptOptions {
  /** Parse special tokens written in the prompt, such as `<|im_end|>`. Default true. */
  readonly parseSpecial?: boolean;
  /** Put the model's BOS token before the prompt, where it has one. Default true. */
  readonly addSpecial?: boolean;
}

export interface ChatOptions<Schema = unknown> extends GenerateOptions<Schema> {
  /** What the model may call, by name. */
  readonly tools?: Tools;
  /** Default "auto". */
  readonly toolChoice?: ToolChoice;
  /** Several calls in one answer, where the model's format knows that. Default true. */
  readonly parallelToolCalls?: boolean;
  /** The most tokens of reasoning; then it is ended, and the answer begins. Default: no limit but `maxTokens`. */
  readonly reasoningBudget?: number;
  /** More variables for the chat template (`enable_thinking`, …). */
  readonly templateVariables?: Readonly<Record<string, unknown>>;
}

const DEFAULT_MAX_TOKENS = 1024;

export interface InputParts {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate | undefined;
  /** The template's source; "" where there is none. */
  readonly templateSource: string;
  readonly defaults: GenerationDefaults;
  readonly vocabSize: number;
  readonly context: number;
  /** The methods of drafting that requests may name; none where speculation is off. */
  readonly methods: readonly MethodName[];
  /** Encodes long texts elsewhere; undefined: all are encoded here and now. */
  readonly longTexts?: LongTexts | undefined;
}

export class InputProcessor {
  readonly #parts: InputParts;
  readonly #tokenizer: Tokenizer;
  readonly #stopIds: ReadonlySet<number>;
  /** Looked for when the first chat comes. */
  #controls: ReadonlyMap<string, number> | undefined;

  constructor(parts: InputParts) {
    const { tokenizer, defaults, vocabSize } = parts;
    this.#parts = parts;
    this.#tokenizer = tokenizer;
    // A tokenizer may name tokens that the model doesn't have; they never come.
    const stopIds = [...tokenizer.stopIds, ...(defaults.eosTokenIds ?? [])].filter((id) => id < vocabSize);
    this.#stopIds = new Set(stopIds);
  }

  /** The prompt that the model's template makes of the messages. */
  render(
    messages: readonly ChatMessage[],
    { variables, tools, addGenerationPrompt = true }: RenderOptions = {},
  ): MarkedText {
    const { template, context } = this.#parts;
    if (Array.isArray(messages) && messages.length > context) {
      throw new LengthError(`there are ${messages.length} messages, the context has ${context} tokens`);
    }
    if (!template) {
      throw new RequestError("the model has no chat template; use generate() (or --raw) with a prompt of your own");
    }
    return template.render(messages, { addGenerationPrompt, tools, ...(variables && { variables }) });
  }

  /** A promise where the text is so long that it is encoded elsewhere. */
  chat(messages: readonly ChatMessage[], options: ChatOptions): AnswerRequest | Promise<AnswerRequest> {
    checkOptions(options);
    const { toolChoice = "auto", parallelToolCalls = true, templateVariables } = options;
    const tools = readTools(options.tools);
    checkTools(tools, toolChoice);
    checkType("parallelToolCalls", parallelToolCalls, "boolean");
    const text = this.render(messages, { variables: templateVariables, tools });
    const { grammar, parse } = answerGrammar(options);
    const { templateSource } = this.#parts;
    const hasToken = (token: string): boolean => this.#tokenizer.tokenId(token) !== undefined;
    const reasoning = reasoningFormat(templateSource, text.value, hasToken);
    const controls = (this.#controls ??= controlTokens(this.#tokenizer));
    const format = answerFormat({
      template: templateSource,
      reasoning,
      tools: { tools, choice: toolChoice, parallel: parallelToolCalls },
      grammar,
      controls: [...controls.keys()],
    });
    const budget =
      options.reasoningBudget === undefined
        ? undefined
        : format.budget(checkNumber("reasoningBudget", options.reasoningBudget));
    const held = {
      grammar: format.grammar,
      budget,
      parse,
      parser: format.parser,
      shows: new Set(format.marks.map((name) => controls.get(name) ?? -1)),
    };
    const { longTexts } = this.#parts;
    const isHere = longTexts === undefined || text.length < LONG_TEXT;
    if (!isHere) this.#checkCharacters(text.value);
    const ids = isHere ? this.encodeChat(text) : longTexts.encodeMarked(text);
    return after(ids, (known) => this.#answer(this.checkIds(known), options, held));
  }

  generate(
    prompt: string | ArrayLike<number>,
    options: GenerateOptions & PromptOptions,
  ): AnswerRequest | Promise<AnswerRequest> {
    checkOptions(options);
    const { parseSpecial = true, addSpecial = true } = options;
    checkType("parseSpecial", parseSpecial, "boolean");
    checkType("addSpecial", addSpecial, "boolean");
    const held = answerGrammar(options);
    const ids = typeof prompt === "string" ? this.encodeText(prompt, { addSpecial, parseSpecial }) : prompt;
    return after(ids, (known) => this.#answer(this.checkIds(known), options, held));
  }

  /** A promise where the text is so long that it is encoded elsewhere. */
  encodeText(text: string, options: EncodeOptions): Int32Array | Promise<Int32Array> {
    this.#checkCharacters(text);
    const { longTexts } = this.#parts;
    const isHere = longTexts === undefined || text.length < LONG_TEXT;
    return isHere ? this.#tokenizer.encode(text, options) : longTexts.encode(text, options);
  }

  /** The template writes BOS itself; no message writes a control token. */
  encodeChat(text: MarkedText): Int32Array {
    this.#checkCharacters(text.value);
    return this.#tokenizer.encodeMarked(text);
  }

  /** Token ids of what prompts begin with. */
  prefix(prompt: readonly ChatMessage[] | string | ArrayLike<number>): Int32Array {
    if (typeof prompt === "string") this.#checkCharacters(prompt);
    if (typeof prompt === "string")
      return this.checkIds(this.#tokenizer.encode(prompt, { addSpecial: true, parseSpecial: true }));
    const list: unknown = prompt;
    if (!Array.isArray(list) && !ArrayBuffer.isView(list))
      throw new RequestError(`a text, messages or a list of token ids is expected, not ${shown(list)}`);
    const isIds = (value: typeof prompt): value is ArrayLike<number> =>
      value.length === 0 || typeof value[0] === "number";
    return this.checkIds(isIds(prompt) ? prompt : this.encodeChat(this.render(prompt, { addGenerationPrompt: false })));
  }

  /** A copy of token ids, checked. */
  checkIds(ids: ArrayLike<number>): Int32Array {
    if (!Array.isArray(ids) && !ArrayBuffer.isView(ids))
      throw new RequestError(`a text or a list of token ids is expected, not ${shown(ids)}`);
    const { vocabSize } = this.#parts;
    for (let i = 0; i < ids.length; i++) {
      const id: unknown = ids[i];
      if (typeof id === "number" && Number.isInteger(id) && id >= 0 && id < vocabSize) continue;
      throw new RequestError(`${shown(id)} is not a token id (valid: 0 to ${vocabSize - 1})`);
    }
    return Int32Array.from(ids);
  }

  /** Throws where a prompt leaves no room in the context for `answer` tokens. */
  checkLength(tokens: number, answer: number): void {
    if (tokens === 0) throw new RequestError("the prompt is empty: it has no tokens");
    if (tokens + answer > this.#parts.context) {
      throw new LengthError(
        `the prompt has ${tokens} tokens, the context has ${this.#parts.context}` +
          (answer > 0 ? ` and ${answer} of them must be left for the answer` : "") +
          "; shorten the prompt or load the model with a larger context",
      );
    }
  }

  /** A text that is sure not to fit isn't tokenized: that alone would keep others waiting. */
  #checkCharacters({ length }: string): void {
    const { context } = this.#parts;
    const most = CHARACTERS_PER_TOKEN * context + FREE_CHARACTERS;
    if (length <= most) return;
    throw new LengthError(
      `the prompt has ${length} characters; for a context of ${context} tokens at most ${most} are read; shorten it`,
    );
  }

  #answer(prompt: Int32Array, options: GenerateOptions, { grammar, budget, ...output }: HeldTo): AnswerRequest {
    this.checkLength(prompt.length, 1);
    const number = (name: string, value: number): number => {
      if (Number.isFinite(value)) return value;
      throw new RequestError(`${name} must be a finite number, not ${shown(value)}`);
    };
    const maxTokens = checkNumber("maxTokens", options.maxTokens ?? DEFAULT_MAX_TOKENS);
    const n = checkNumber("n", options.n ?? 1);
    const stopIds =
      options.stopTokens !== undefined
        ? new Set([...this.#stopIds, ...this.checkIds(options.stopTokens)])
        : this.#stopIds;
    const sampling = resolveSampling(options, this.#parts.defaults, stopIds, this.#parts.vocabSize);
    const topLogprobs = checkNumber("logprobs", options.logprobs ?? 0);
    return {
      work: {
        prompt,
        ...(options.priority !== undefined && { priority: number("priority", options.priority) }),
        ...(options.keepSeconds !== undefined && { keepSeconds: checkNumber("keepSeconds", options.keepSeconds) }),
        ...(options.tenant !== undefined && { tenant: options.tenant }),
        ...(options.adapter !== undefined && { adapter: checkType("adapter", options.adapter, "string") }),
        ...(options.cacheSalt !== undefined && { cacheSalt: options.cacheSalt }),
        generate: {
          maxTokens: Math.min(maxTokens, this.#parts.context - prompt.length),
          samplers: Array.from({ length: n }, (_, sampleIndex) => ({ ...sampling, sampleIndex })),
          stopIds: Int32Array.from(stopIds),
          topLogprobs,
          ...(grammar && { grammar }),
          ...(budget && { budget }),
          ...this.#drafting(options),
        },
        ...(options.promptLogprobs !== undefined && {
          score: { want: "logprobs", topLogprobs: checkNumber("promptLogprobs", options.promptLogprobs) },
        }),
      },
      stop: stopTexts(options.stop),
      ...output,
      seed: sampling.seed,
      logprobs: options.logprobs !== undefined,
      signal: options.signal,
    };
  }

  #drafting({ speculation, prediction }: GenerateOptions): {
    readonly speculation?: SpeculationPlan;
    readonly prediction?: Int32Array;
  } {
    const { methods } = this.#parts;
    const plan = speculation === undefined ? undefined : parseSpeculation(speculation);
    const absent = plan?.methods.find((name) => !methods.includes(name));
    if (absent !== undefined)
      throw new RequestError(
        methods.length === 0
          ? "the model was loaded with speculation off, so no request can have it"
          : `the model was loaded without what speculation ${shown(absent)} needs`,
      );
    if (prediction === undefined) return plan === undefined ? {} : { speculation: plan };
    const encode = (text: string): Int32Array => this.#tokenizer.encode(text, { addSpecial: false });
    const all = this.checkIds(typeof prediction === "string" ? encode(prediction) : prediction);
    // No answer is longer, and a longer text would be searched at every step.
    const ids = all.slice(0, this.#parts.context);
    return { ...(plan && { speculation: plan }), ...(methods.length > 0 && { prediction: ids }) };
  }
}

/** Encodes texts without keeping the caller's thread from its other work. */
export interface LongTexts {
  encode(text: string, options: EncodeOptions): Promise<Int32Array>;
  encodeMarked(text: MarkedText): Promise<Int32Array>;
}

/** Characters: shorter texts are encoded in a millisecond or two. */
const LONG_TEXT = 16_384;

/** At once where the value is there: what is asked for together stays together. */
function after<T, U>(value: T | Promise<T>, then: (value: T) => U): U | Promise<U> {
  return value instanceof Promise ? value.then(then) : then(value);
}

/** What holds an answer, and what reads it. */
interface HeldTo extends Pick<AnswerRequest, "parse" | "parser" | "shows"> {
  readonly grammar: GrammarSpec | undefined;
  readonly budget?: ReasoningBudget | undefined;
}

interface RenderOptions {
  readonly variables?: Readonly<Record<string, unknown>> | undefined;
  readonly tools?: readonly ToolSpec[];
  readonly addGenerationPrompt?: boolean;
}

/** What the options ask of an answer's text, and what becomes of it. */
function answerGrammar({ grammar, schema }: GenerateOptions): Pick<HeldTo, "grammar" | "parse"> {
  if (grammar !== undefined && schema !== undefined)
    throw new RequestError("schema is short for grammar: { schema }; give one of them");
  if (schema !== undefined) {
    const read = readSchema(schema, "the schema");
    const spec = { schema: read.schema, ...(read.strict && { strict: true }) };
    checkGrammarSpec(spec);
    return { grammar: spec, parse: read.parse };
  }
  if (grammar !== undefined) checkGrammarSpec(grammar);
  return { grammar, parse: undefined };
}

/** Ids of the vocabulary's control tokens by name. */
function controlTokens(tokenizer: Tokenizer): ReadonlyMap<string, number> {
  const controls = new Map<string, number>();
  for (let id = 0; id < tokenizer.vocabSize; id++)
    if (tokenizer.isSpecial(id)) controls.set(tokenizer.tokenText(id), id);
  return controls;
}

/** Texts have 3 to 5; long runs of white space, in vocabularies that have tokens for them, come near the first. */
const CHARACTERS_PER_TOKEN = 64;
const FREE_CHARACTERS = 16_384;
const MAX_STOPS = LIMITS.stopTexts.high;
const MAX_STOP_LENGTH = LIMITS.stopCharacters.high;

function stopTexts(stop: unknown): readonly string[] {
  if (stop === undefined) return [];
  const texts: readonly unknown[] = Array.isArray(stop) ? stop : [stop];
  if (texts.length > MAX_STOPS) throw new RequestError(`stop has ${texts.length} texts, expected ${MAX_STOPS} at most`);
  return texts.map((text) => {
    if (typeof text === "string" && text.length <= MAX_STOP_LENGTH) return text;
    const found = typeof text === "string" ? `one of ${text.length} characters` : shown(text);
    throw new RequestError(
      `stop must be a text or a list of texts of ${MAX_STOP_LENGTH} characters at most, not ${found}`,
    );
  });
}
