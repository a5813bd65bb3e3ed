/**
 * Sampling parameters as a user writes them, and how they become the explicit SamplerParams that a backend
 * knows: the model's defaults fill what is missing, a missing seed is drawn (and reported), everything is checked.
 */
import type { GenerationDefaults } from "../artifact/artifact.ts";
import { MAX_TOP_LOGPROBS, type SamplerParams } from "../backend/contract.ts";
import { RequestError } from "../errors.ts";

export interface SamplingOptions {
  /** 0 picks the most likely token. Default: the model's own, else 0.7. */
  readonly temperature?: number;
  /** Only the k most likely tokens; 0: all. Default: the model's own, else 0. */
  readonly topK?: number;
  /** Only the most likely tokens whose probabilities add up to p, 0 < p ≤ 1. Default: the model's own, else 1. */
  readonly topP?: number;
  /** Only tokens at least this many times as likely as the likeliest, 0 ≤ p ≤ 1. Default: the model's own, else 0.05. */
  readonly minP?: number;
  /** Divides positive logits of tokens of prompt and answer, multiplies negative ones (Keskar et al. 2019). Default 1. */
  readonly repetitionPenalty?: number;
  /** Subtracted from the logits of tokens that the answer has. Default 0. */
  readonly presencePenalty?: number;
  /** Subtracted for each time that the answer has the token. Default 0. */
  readonly frequencyPenalty?: number;
  /** Added to the logits of token ids; −Infinity forbids one. */
  readonly logitBias?: Readonly<Record<number, number>> | ReadonlyMap<number, number>;
  /** 64 bits; drawn and reported where missing. Equal seeds give equal answers. */
  readonly seed?: number | bigint;
  /** Answers end only after so many tokens. Default 0. */
  readonly minTokens?: number;
}

/** Everything decided except which answer it is for. */
export type ResolvedSampling = Omit<SamplerParams, "sampleIndex">;

const SEED_MASK = (1n << 64n) - 1n;

export function drawSeed(): bigint {
  // 53 bits, so that a reported seed survives JSON and `number`.
  const [high = 0, low = 0] = crypto.getRandomValues(new Uint32Array(2));
  return (BigInt(high & 0x1f_ffff) << 32n) | BigInt(low);
}

export function resolveSampling(
  options: SamplingOptions,
  defaults: GenerationDefaults,
  stopIds: ReadonlySet<number>,
  vocabSize: number,
): ResolvedSampling {
  const number = (name: keyof SamplingOptions, value: number, low: number, high: number): number => {
    if (typeof value === "number" && value >= low && value <= high) return value;
    throw new RequestError(`${name} must be a number from ${low} to ${high}, not ${String(value)}`);
  };
  const whole = (name: keyof SamplingOptions, value: number, high: number): number => {
    if (Number.isInteger(value) && value >= 0 && value <= high) return value;
    throw new RequestError(`${name} must be a whole number from 0 to ${high}, not ${String(value)}`);
  };
  const topP = number("topP", options.topP ?? defaults.topP ?? 1, 0, 1);
  const bias = biasEntries(options.logitBias, vocabSize);
  const repetitionPenalty = options.repetitionPenalty ?? defaults.repetitionPenalty ?? 1;
  return {
    temperature: number("temperature", options.temperature ?? defaults.temperature ?? 0.7, 0, 100),
    topK: whole("topK", options.topK ?? defaults.topK ?? 0, 2 ** 31 - 1),
    topP: Math.max(topP, 1e-9),
    minP: number("minP", options.minP ?? defaults.minP ?? 0.05, 0, 1),
    repetitionPenalty: number("repetitionPenalty", repetitionPenalty, 0.01, 100),
    presencePenalty: number("presencePenalty", options.presencePenalty ?? 0, -100, 100),
    frequencyPenalty: number("frequencyPenalty", options.frequencyPenalty ?? 0, -100, 100),
    biasIds: Int32Array.from(bias, ([id]) => id),
    biasValues: Float32Array.from(bias, ([, value]) => value),
    minTokens: whole("minTokens", options.minTokens ?? 0, 2 ** 31 - 1),
    stopIds: Int32Array.from(stopIds),
    seed: resolveSeed(options.seed),
  };
}

export function checkTopLogprobs(name: string, value: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= MAX_TOP_LOGPROBS) return value;
  throw new RequestError(`${name} must be a whole number from 0 to ${MAX_TOP_LOGPROBS}, not ${String(value)}`);
}

function resolveSeed(seed: number | bigint | undefined): bigint {
  if (seed === undefined) return drawSeed();
  if (typeof seed === "number" && !Number.isSafeInteger(seed)) {
    throw new RequestError(`seed must be a whole number (a bigint beyond 2^53), not ${seed}`);
  }
  return BigInt(seed) & SEED_MASK;
}

function biasEntries(bias: SamplingOptions["logitBias"], vocabSize: number): [number, number][] {
  if (bias === undefined) return [];
  const entries: [number, number][] =
    bias instanceof Map ? [...bias] : Object.entries(bias).map(([id, value]) => [Number(id), Number(value)]);
  for (const [id, value] of entries) {
    if (!Number.isInteger(id) || id < 0 || id >= vocabSize) {
      throw new RequestError(`logitBias names token ${id}; the vocabulary has the ids 0 to ${vocabSize - 1}`);
    }
    if (Number.isNaN(value) || value === Number.POSITIVE_INFINITY) {
      throw new RequestError(`logitBias of token ${id} must be a number or -Infinity, not ${value}`);
    }
  }
  return entries;
}
