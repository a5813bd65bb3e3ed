/**
 * Vectors of texts, and scores of pairs of texts: what `llm.embed` and `llm.rerank` do with a model's rows. The engine pools
 * them in order of position (work/embed.ts); here texts become tokens, and vectors get their length.
 */
import type { DenseLayer } from "../artifact/artifact.ts";
import { checkOptions, checkType, shown } from "../decode/limits.ts";
import { RequestError, UnsupportedError } from "../errors.ts";
import type { PairForm } from "../models/models.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { type EngineClient, perform, type Pooling, POOLINGS } from "./client.ts";
import type { ModelCard } from "./model-card.ts";
import { INSTRUCTION, YesNo } from "./yes-no.ts";

export interface EmbedOptions {
  /** Which rows become the vector: all (their mean), the first or the last one. Default: as the model's files say, else "mean". */
  readonly pooling?: Pooling | undefined;
  /** Make the vector's length 1. Default: as the model's files say, else true. */
  readonly normalize?: boolean | undefined;
  /** Keep only so many of its first columns (models that are trained for it: Matryoshka, Kusupati et al. 2022). */
  readonly dimensions?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A text as one vector, and how many tokens it has. */
export interface Embedding {
  readonly vector: Float32Array;
  readonly tokens: number;
}

export interface Ranked {
  /** The document's place in the list that was given. */
  readonly index: number;
  /** How well it answers the query: 0 … 1. */
  readonly score: number;
}

export interface RerankOptions {
  /** What to look for, for models that are asked in words. Default: passages that answer a web search. */
  readonly instruction?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface EmbedderParts {
  readonly tokenizer: Tokenizer;
  readonly client: EngineClient;
  readonly card: Pick<ModelCard, "info" | "embedding" | "pairs" | "outputs" | "mutual">;
}

export class Embedder {
  readonly #parts: EmbedderParts;

  constructor(parts: EmbedderParts) {
    this.#parts = parts;
  }

  /** @throws RequestError where a text doesn't fit the context, or an option is wrong. */
  async embed(texts: readonly string[], options: EmbedOptions): Promise<Embedding[]> {
    checkOptions(options);
    const { embedding: defaults, info } = this.#parts.card;
    const { pooling = defaults.pooling ?? "mean", normalize = defaults.normalize ?? true, signal } = options;
    if (!POOLINGS.includes(pooling))
      throw new RequestError(`pooling is one of ${POOLINGS.join(", ")}, not ${shown(pooling)}`);
    if (typeof normalize !== "boolean") throw new RequestError(`normalize is true or false, not ${shown(normalize)}`);
    if (defaults.unread !== undefined)
      throw new UnsupportedError(`this model's vectors need what isn't computed here: ${defaults.unread.join(", ")}`);
    const width = this.#width("hidden");
    if (width === undefined) throw new RequestError(`${info.description}: the model gives no rows to make vectors of`);
    const { dense = [] } = defaults;
    const whole = dense.reduce((columns, layer) => through(layer, columns, info.description), width);
    const { dimensions = whole } = options;
    if (!Number.isInteger(dimensions) || dimensions < 1 || dimensions > whole)
      throw new RequestError(`dimensions is a whole number from 1 to ${whole}, not ${shown(dimensions)}`);
    const prompts = texts.map((text, i) => this.#tokens(text, `text ${i}`));
    return Promise.all(
      prompts.map(async (prompt) => {
        const row = await this.#row(prompt, "hidden", pooling, signal);
        const vector = dense.reduce(applied, row).slice(0, dimensions);
        return { vector: normalize ? unit(vector) : vector, tokens: prompt.length };
      }),
    );
  }

  /** @throws RequestError where the model has no classifier of pairs, and can't be asked in words. */
  async rerank(query: string, documents: readonly string[], options: RerankOptions): Promise<Ranked[]> {
    checkOptions(options);
    checkType("instruction", options.instruction, "string");
    const scores =
      this.#width("scores") === 1
        ? await this.#classified(query, documents, options)
        : await this.#judged(query, documents, options);
    const ranked = scores.map((score, index) => ({ index, score }));
    return ranked.toSorted((a, b) => b.score - a.score || a.index - b.index);
  }

  async #classified(query: string, documents: readonly string[], options: RerankOptions): Promise<number[]> {
    const { pairs } = this.#parts.card;
    const first = this.#tokens(query, "the query");
    const prompts = documents.map((document, i) => pair(first, this.#tokens(document, `document ${i}`), pairs));
    prompts.forEach((prompt, i) => this.#checkLength(prompt, `the query with document ${i}`));
    const rows = await Promise.all(prompts.map((prompt) => this.#row(prompt, "scores", "first", options.signal)));
    return rows.map(([score = NaN]) => 1 / (1 + Math.exp(-score)));
  }

  /** By a model that makes text, asked for yes or no. */
  async #judged(query: string, documents: readonly string[], options: RerankOptions): Promise<number[]> {
    const { client, tokenizer, card } = this.#parts;
    const judge = this.#width("logits") === undefined ? undefined : YesNo.of(tokenizer);
    if (judge === undefined)
      throw new RequestError(
        `${card.info.description}: the model gives no score of two texts; a reranker (a cross-encoder, or Qwen3-Reranker) does`,
      );
    this.#tokens(query, "the query");
    const prompts = documents.map((document, i) => {
      this.#tokens(document, `document ${i}`);
      return judge.prompt(query, document, options.instruction ?? INSTRUCTION);
    });
    const { context } = card.info;
    prompts.forEach(({ length }, i) => {
      if (length < context) return;
      throw new RequestError(`the query with document ${i} has ${length} tokens, the context holds ${context}`);
    });
    return Promise.all(prompts.map((prompt) => judge.score(client, prompt, options.signal)));
  }

  #width(output: string): number | undefined {
    return this.#parts.card.outputs.find(({ name }) => name === output)?.width;
  }

  #tokens(text: string, what: string): Int32Array {
    if (typeof text !== "string") throw new RequestError(`${what}: a text is expected, not ${shown(text)}`);
    const ids = this.#parts.tokenizer.encode(text, { addSpecial: true, parseSpecial: false });
    if (ids.length === 0) throw new RequestError(`${what} is empty`);
    this.#checkLength(ids, what);
    return ids;
  }

  #checkLength({ length }: Int32Array, what: string): void {
    const { context: positions, stepTokens } = this.#parts.card.info;
    const context = Math.min(positions, stepTokens);
    if (length > context) throw new RequestError(`${what} has ${length} tokens, the context holds ${context}`);
  }

  async #row(
    prompt: Int32Array,
    output: string,
    pooling: Pooling,
    signal: AbortSignal | undefined,
  ): Promise<Float32Array> {
    const spans = this.#parts.card.mutual ? { spans: [{ begin: 0, end: prompt.length }] } : {};
    let values = new Float32Array(0);
    await perform(this.#parts.client, { prompt, embed: { output, pooling }, ...spans }, signal, (event) => {
      if (event.type === "vector") values = Float32Array.from(event.values);
    });
    return values;
  }
}

/** Columns behind a layer. */
function through({ weight, inputs }: DenseLayer, columns: number, model: string): number {
  if (inputs === columns) return weight.length / inputs;
  throw new UnsupportedError(`${model}: a dense module reads vectors of ${inputs} columns, and gets ${columns}`);
}

/** activation(x Wᵀ + bias), summed in float64 in one order. */
function applied(x: Float32Array, { weight, inputs, bias, activation }: DenseLayer): Float32Array {
  return Float32Array.from({ length: weight.length / inputs }, (_, row) => {
    let sum = bias?.[row] ?? 0;
    for (let i = 0; i < inputs; i++) sum += (weight[row * inputs + i] ?? 0) * (x[i] ?? 0);
    return activation === "tanh" ? Math.tanh(sum) : sum;
  });
}

/** [start] first [end] second [end]: both texts have their special tokens, of which the second's start gives way. */
function pair(first: Int32Array, second: Int32Array, { separators, segment }: PairForm): Int32Array {
  const end = second.at(-1) ?? 0;
  const rest = [...(separators === 2 ? [end] : []), ...second.subarray(1)];
  return Int32Array.from([...first, ...rest.map((id) => id + (segment ?? 0))]);
}

function unit(vector: Float32Array): Float32Array {
  const length = Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0));
  return length === 0 ? vector : vector.map((x) => x / length);
}
