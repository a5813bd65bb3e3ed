/**
 * Sampling parameters as a user writes them, and how they become the explicit SamplerParams that a backend
 * knows: the model's defaults fill what is missing, a missing seed is drawn (and reported), everything is checked.
 */
import type { GenerationDefaults } from "../artifact/artifact.ts";
import type { SamplerParams } from "../backend/contract.ts";
import { RequestError } from "../errors.ts";
import { checkNumber, LIMITS, rangeText, shown } from "./limits.ts";

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
  const bias = biasEntries(options.logitBias, vocabSize);
  const minTokens = checkNumber("minTokens", options.minTokens ?? 0);
  const forbidden = new Set(bias.filter(([, value]) => value === -Infinity).map(([id]) => id));
  if (minTokens > 0) for (const id of stopIds) forbidden.add(id);
  if (forbidden.size >= vocabSize) throw new RequestError("every token is forbidden, by logitBias and minTokens");
  return {
    temperature: checkNumber("temperature", options.temperature ?? defaults.temperature ?? 0.7),
    topK: checkNumber("topK", options.topK ?? defaults.topK ?? 0),
    topP: Math.max(checkNumber("topP", options.topP ?? defaults.topP ?? 1), 1e-9),
    minP: checkNumber("minP", options.minP ?? defaults.minP ?? 0.05),
    repetitionPenalty: checkNumber("repetitionPenalty", options.repetitionPenalty ?? defaults.repetitionPenalty ?? 1),
    presencePenalty: checkNumber("presencePenalty", options.presencePenalty ?? 0),
    frequencyPenalty: checkNumber("frequencyPenalty", options.frequencyPenalty ?? 0),
    biasIds: Int32Array.from(bias, ([id]) => id),
    biasValues: Float32Array.from(bias, ([, value]) => value),
    minTokens,
    stopIds: Int32Array.from(stopIds),
    seed: resolveSeed(options.seed),
  };
}

function resolveSeed(seed: unknown): bigint {
  if (seed === undefined) return drawSeed();
  if (typeof seed === "bigint" || (typeof seed === "number" && Number.isSafeInteger(seed)))
    return BigInt(seed) & SEED_MASK;
  throw new RequestError(`seed must be a whole number (a bigint beyond 2^53), not ${shown(seed)}`);
}

function biasEntries(bias: unknown, vocabSize: number): [number, number][] {
  if (bias === undefined) return [];
  if (typeof bias !== "object" || bias === null || Array.isArray(bias) || ArrayBuffer.isView(bias))
    throw new RequestError(`logitBias must be a map or an object from token ids to numbers, not ${shown(bias)}`);
  const entries: [unknown, unknown][] =
    bias instanceof Map
      ? [...bias]
      : Object.entries(bias).map(([id, value]) => [/^\d+$/.test(id) ? Number(id) : id, value]);
  return entries.map(([id, value]) => {
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= vocabSize)
      throw new RequestError(`logitBias names token ${shown(id)}; the vocabulary has the ids 0 to ${vocabSize - 1}`);
    const { low, high } = LIMITS.logitBias;
    if (typeof value !== "number" || !(value === -Infinity || (value >= low && value <= high)))
      throw new RequestError(
        `logitBias of token ${id} must be ${rangeText(LIMITS.logitBias)}, or -Infinity, not ${shown(value)}`,
      );
    return [id, value];
  });
}
