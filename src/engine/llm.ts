/**
 * Llm: a loaded model as a program uses it. It joins the tokenizer, the input processor and an engine client; it
 * holds no policy of its own.
 */
import type { ChatMessage } from "../chat/chat-template.ts";
import { checkNumber, checkOptions, checkType, shown } from "../decode/limits.ts";
import { type MillraceError, RequestError } from "../errors.ts";
import type { OutputOf } from "../chat/standard-schema.ts";
import { readTools, type Tools } from "../chat/tools.ts";
import type { EncodeOptions, Tokenizer } from "../tokenizer/tokenizer.ts";
import { type AgentOptions, AgentRun } from "./agent.ts";
import type { AdapterInfo } from "./adapters.ts";
export type { AdapterInfo } from "./adapters.ts";
import { Answer } from "./answer.ts";
export type { AgentOptions, AgentPart, AgentResult, AgentRun, AgentStep } from "./agent.ts";
export type { Answer, AnswerPart, Choice, Generation, Timings, TokenLogprob, Usage } from "./answer.ts";
export type { ChatOptions, GenerateOptions, PromptOptions } from "./input.ts";
export type { EmbedOptions, Embedding, Ranked, RerankOptions } from "./embedder.ts";
export type { Perplexity, PerplexityOptions } from "./perplexity.ts";
import { type EngineClient, type EngineStats, type MemoryMap, perform, type Pin, type StepRecord } from "./client.ts";
import type { ChatOptions, GenerateOptions, InputProcessor, PromptOptions } from "./input.ts";
import type { EmbedOptions, Embedder, Embedding, Ranked, RerankOptions } from "./embedder.ts";
import type { LlmInfo } from "./model-card.ts";
export type { LlmInfo } from "./model-card.ts";
import { measurePerplexity, type Perplexity, type PerplexityOptions } from "./perplexity.ts";

export interface LlmParts {
  readonly info: LlmInfo;
  readonly tokenizer: Tokenizer;
  readonly input: InputProcessor;
  readonly client: EngineClient;
  readonly embedder: Embedder;
  /** Frees what lies under the client: program, pool, weights, backend, files. */
  readonly release: () => Promise<void>;
}

export class Llm implements AsyncDisposable {
  readonly info: LlmInfo;
  readonly tokenizer: Tokenizer;
  readonly #input: InputProcessor;
  readonly #client: EngineClient;
  readonly #embedder: Embedder;
  readonly #release: () => Promise<void>;
  #closing: Promise<void> | undefined;

  constructor(parts: LlmParts) {
    this.info = parts.info;
    this.tokenizer = parts.tokenizer;
    this.#input = parts.input;
    this.#client = parts.client;
    this.#embedder = parts.embedder;
    this.#release = parts.release;
  }

  /**
   * The assistant's next turn. Iterate for parts as they come, or await for the whole answer. Throws RequestError
   * where the messages don't fit the context or a parameter is wrong.
   */
  chat<Schema = unknown>(
    messages: readonly ChatMessage[],
    options: ChatOptions<Schema> = {},
  ): Answer<OutputOf<Schema>> {
    return new Answer(this.#client, this.tokenizer, () => this.#input.chat(messages, options));
  }

  /**
   * A conversation in which the model calls tools and is told their results, until it answers without a call, or `maxSteps`
   * answers have been given. Iterate for what happens, or await for the whole.
   */
  agent<Schema = unknown>(options: AgentOptions<Schema>): AgentRun<OutputOf<Schema>> {
    return new AgentRun((messages, chatOptions) => this.chat<Schema>(messages, chatOptions), options);
  }

  /** Continues a prompt, a text or token ids, as it is: no chat template. */
  generate<Schema = unknown>(
    prompt: string | ArrayLike<number>,
    options: GenerateOptions<Schema> & PromptOptions = {},
  ): Answer<OutputOf<Schema>> {
    return new Answer(this.#client, this.tokenizer, () => this.#input.generate(prompt, options));
  }

  /** The text that the chat template makes of the messages, and of tools. */
  renderChat(messages: readonly ChatMessage[], variables?: Readonly<Record<string, unknown>>, tools?: Tools): string {
    return this.#input.render(messages, { variables, tools: readTools(tools) }).value;
  }

  /** Token ids of the prompt that `chat` makes of the messages, and of tools. */
  tokenizeChat(
    messages: readonly ChatMessage[],
    variables?: Readonly<Record<string, unknown>>,
    tools?: Tools,
  ): Int32Array {
    return this.#input.encodeChat(this.#input.render(messages, { variables, tools: readTools(tools) }));
  }

  /** Token ids of a text; by default as `generate` would read it. */
  tokenize(text: string, options: EncodeOptions = {}): Int32Array {
    if (typeof text !== "string") throw new RequestError(`a text is expected, not ${shown(text)}`);
    checkOptions(options);
    return this.tokenizer.encode(text, { addSpecial: true, parseSpecial: true, ...options });
  }

  detokenize(ids: ArrayLike<number>, options: { readonly skipSpecial?: boolean } = {}): string {
    checkOptions(options);
    return this.tokenizer.decode(this.#input.checkIds(ids), { skipSpecial: false, ...options });
  }

  /** Logits `[vocabSize]` after each of the ids, for evaluation, of the base model or of a loaded adapter. */
  async logits(
    ids: ArrayLike<number>,
    options: { readonly signal?: AbortSignal; readonly adapter?: string | undefined } = {},
  ): Promise<Float32Array[]> {
    checkOptions(options);
    const { adapter } = options;
    checkType("adapter", adapter, "string");
    const prompt = this.#input.checkIds(ids);
    this.#input.checkLength(prompt.length, 0);
    const rows: Float32Array[] = [];
    const score = { want: "logits", topLogprobs: 0 } as const;
    const work = { prompt, score, ...(adapter !== undefined && { adapter }) };
    await perform(this.#client, work, options.signal, (event) => {
      if (event.type === "logits") rows.push(...event.rows);
    });
    return rows;
  }

  /**
   * Texts as vectors `[dimensions]`, in order. A text's vector has the same bits whatever else is in the list, and whatever
   * else the model does meanwhile.
   *
   * @example
   * const [a, b] = await llm.embed(["a cat", "a dog"]);
   *
   * @throws RequestError where a text doesn't fit the context, or an option is wrong.
   */
  async embed(texts: readonly string[], options: EmbedOptions = {}): Promise<Float32Array[]> {
    return (await this.embedCounted(texts, options)).map(({ vector }) => vector);
  }

  /** The same, with the number of tokens of each text. */
  embedCounted(texts: readonly string[], options: EmbedOptions = {}): Promise<Embedding[]> {
    return this.#embedder.embed(checkTexts(texts), options);
  }

  /**
   * The documents in the order of how well they answer the query, the best first, by a model that reads both together (a
   * cross-encoder).
   *
   * @throws RequestError where the model gives no such score, or a text doesn't fit the context.
   */
  rerank(query: string, documents: readonly string[], options: RerankOptions = {}): Promise<Ranked[]> {
    return this.#embedder.rerank(query, checkTexts(documents), options);
  }

  /** How well the model predicts a text, in windows that don't overlap, without BOS. */
  async perplexity(text: string | ArrayLike<number>, options: PerplexityOptions = {}): Promise<Perplexity> {
    checkOptions(options);
    if (options.limit !== undefined) checkNumber("limit", options.limit);
    checkType("onProgress", options.onProgress, "function");
    const ids = this.#input.checkIds(
      typeof text === "string" ? this.tokenizer.encode(text, { addSpecial: false, parseSpecial: false }) : text,
    );
    this.#input.checkLength(Math.min(ids.length, 2), 0);
    const window = checkNumber("window", options.window ?? Math.min(1024, this.info.context));
    this.#input.checkLength(window, 0);
    const bytes = (part: Int32Array): number =>
      part.reduce((sum, id) => sum + this.tokenizer.tokenBytes(id, true).length, 0);
    return measurePerplexity(this.#client, ids, bytes, { ...options, window });
  }

  /**
   * Computes the beginning of prompts to come (a system prompt, a document) and keeps it in memory until it is released:
   * messages without the turn that they ask for, a text, or token ids.
   *
   * @throws RequestError where the model was loaded without a prefix cache, or memory has no room.
   */
  pin(prompt: readonly ChatMessage[] | string | ArrayLike<number>): Promise<Pin> {
    return this.#client.pin(this.#input.prefix(prompt));
  }

  /**
   * Loads an adapter, which requests then name (`adapter`), while the model answers: a folder as PEFT saves it, a GGUF
   * file, or `hf:owner/repo`. The model must have been loaded with `adapters`, or room for some (`maxAdapters`).
   *
   * @throws RequestError where the name is taken or there is no room, ArtifactError where the files are malformed or made
   * for another model, UnsupportedError, MemoryError with the numbers, NetworkError.
   */
  loadAdapter(name: string, reference: string): Promise<AdapterInfo> {
    return this.#client.loadAdapter(name, reference);
  }

  /** New requests can't name it; resolves when the last one that does has ended, and its memory is free. */
  dropAdapter(name: string): Promise<void> {
    return this.#client.dropAdapter(name);
  }

  /** The adapters that are loaded. */
  adapters(): readonly AdapterInfo[] {
    return this.#client.adapters();
  }

  /** Why the model answers no more, though nobody has closed it: its engine's thread has ended. Undefined: it answers. */
  get failure(): MillraceError | undefined {
    return this.#client.failure;
  }

  /** How much is under way, and the KV memory in use. */
  stats(): EngineStats {
    return this.#client.stats();
  }

  /** What each KV block is for, and the shape of the prefix tree. */
  memory(): Promise<MemoryMap> {
    return this.#client.memory();
  }

  /** Tells of each step of the engine, until the function that it returns is called. */
  watch(listen: (record: StepRecord) => void): () => void {
    return this.#client.watch(listen);
  }

  /** Ends what is under way and frees the memory. */
  close(): Promise<void> {
    this.#closing ??= this.#client.close().then(this.#release);
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function checkTexts(texts: readonly string[]): readonly string[] {
  const list: unknown = texts;
  if (Array.isArray(list)) return texts;
  throw new RequestError(`a list of texts is expected, not ${shown(list)}`);
}
