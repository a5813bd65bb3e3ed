/**
 * What each parameter may be: one table for the API, the command line and the server, so that all three refuse the same
 * and say the same. Values come from callers, whatever the types say; what is wrong is a RequestError that names it.
 */
import { MAX_TOP_LOGPROBS } from "../backend/contract.ts";
import { RequestError } from "../errors.ts";

export interface Limit {
  readonly whole: boolean;
  readonly low: number;
  readonly high: number;
}

const number = (low: number, high: number): Limit => ({ whole: false, low, high });
const whole = (low: number, high: number): Limit => ({ whole: true, low, high });
const MANY = 2 ** 31 - 1;

export const LIMITS = {
  // Of an answer.
  temperature: number(0, 100),
  topK: whole(0, MANY),
  topP: number(0, 1),
  minP: number(0, 1),
  repetitionPenalty: number(0.01, 100),
  presencePenalty: number(-100, 100),
  frequencyPenalty: number(-100, 100),
  minTokens: whole(0, MANY),
  maxTokens: whole(1, MANY),
  reasoningBudget: whole(0, MANY),
  keepSeconds: number(0, 86_400),
  n: whole(1, 1024),
  logprobs: whole(0, MAX_TOP_LOGPROBS),
  promptLogprobs: whole(0, MAX_TOP_LOGPROBS),
  /** Of one token; -Infinity beside it. Larger ones say nothing more, and would be infinite in single precision. */
  logitBias: number(-1e6, 1e6),
  /** How many texts; each text that comes is compared with all of them. */
  stopTexts: whole(0, 64),
  /** Of one text. */
  stopCharacters: whole(0, 1000),
  // Of an engine. Memory is asked for at load: far above these, not even the tables of a step fit.
  context: whole(1, 2 ** 24),
  kvBytes: whole(1, 2 ** 46),
  swapBytes: whole(0, 2 ** 46),
  maxSequences: whole(1, 4096),
  stepTokens: whole(1, 65_536),
  chunkTokens: whole(1, 65_536),
  threads: whole(1, 256),
  maxAdapters: whole(0, 4096),
  maxRank: whole(1, 1024),
  adapterBytes: whole(1, 2 ** 46),
  // Of drafts.
  "speculation.depth": whole(1, 64),
  "speculation.tree": whole(1, 64),
  // Of perplexity.
  window: whole(2, 2 ** 24),
  limit: whole(1, MANY),
} as const satisfies Record<string, Limit>;

/** "a whole number from 1 to 256" */
export function rangeText({ whole: isWhole, low, high }: Limit): string {
  return `a ${isWhole ? "whole number" : "number"} from ${low} to ${high}`;
}

export function checkNumber(name: keyof typeof LIMITS, value: unknown): number {
  const limit = LIMITS[name];
  if (typeof value === "number" && value >= limit.low && value <= limit.high)
    if (!limit.whole || Number.isInteger(value)) return value;
  throw new RequestError(`${name} must be ${rangeText(limit)}, not ${shown(value)}`);
}

/** Options that the caller may have left out, or given as something else. */
export function checkOptions(options: unknown): void {
  if (typeof options !== "object" || options === null || Array.isArray(options))
    throw new RequestError(`options must be an object, not ${shown(options)}`);
  if ("signal" in options && options.signal !== undefined && !(options.signal instanceof AbortSignal))
    throw new RequestError(`signal must be an AbortSignal, not ${shown(options.signal)}`);
}

export function checkChoice<T extends string>(name: string, value: unknown, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === value);
  if (found !== undefined) return found;
  throw new RequestError(`${name} must be one of ${choices.join(", ")}, not ${shown(value)}`);
}

export function checkType<T>(name: string, value: T, type: "boolean" | "string" | "function"): T {
  // oxlint-disable-next-line valid-typeof -- the parameter's own type says which
  if (value === undefined || typeof value === type) return value;
  throw new RequestError(`${name} must be a ${type}, not ${shown(value)}`);
}

/** A value of any kind for a message: short, and without running code of its own. */
export function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "a list" : "an object";
  if (typeof value === "function") return "a function";
  return String(value);
}
