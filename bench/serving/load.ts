/** What clients ask for in a benchmark of serving, and what became of it: plain data between processes. */
import { Random } from "../../test/support/random.ts";

export interface Planned {
  /** Seconds after the first one. */
  readonly at: number;
  /** Token ids, or a text. */
  readonly prompt: readonly number[] | string;
  readonly answer: number;
  readonly key?: string;
}

export interface Task {
  readonly url: string;
  readonly model: string;
  readonly requests: readonly Planned[];
}

/** Milliseconds since the task began. */
export interface Outcome {
  readonly sent: number;
  /** When each event with text came. */
  readonly events: readonly number[];
  readonly end: number;
  readonly status: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly tokens: number;
}

export interface Mix {
  readonly count: number;
  /** Requests a second; Infinity: all at once. */
  readonly rate: number;
  /** Tokens: least and most. */
  readonly prompt: readonly [number, number];
  readonly answer: readonly [number, number];
  readonly seed: number;
}

/** Ordinary token ids that the built-in model's small vocabulary has, too; different for different `salt`. */
export function promptIds(length: number, salt: number): number[] {
  return Array.from({ length }, (_, i) => 1000 + ((i * 7919 + salt * 104_729) % 14_000));
}

/** Poisson arrivals of prompts that have nothing in common but chance. */
export function poisson({ count, rate, prompt, answer, seed }: Mix): Planned[] {
  const random = new Random(seed);
  let at = 0;
  return Array.from({ length: count }, (_, i) => {
    if (i > 0 && Number.isFinite(rate)) at -= Math.log(1 - random.below(1 << 24) / (1 << 24)) / rate;
    const length = random.between(...prompt);
    return { at, prompt: promptIds(length, seed * 10_007 + i), answer: random.between(...answer) };
  });
}

export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}

export interface Summary {
  readonly requests: number;
  readonly failed: number;
  readonly requestsPerSecond: number;
  readonly tokensPerSecond: number;
  /** Milliseconds from sending to the first text, and from an event to the next. */
  readonly firstToken: readonly number[];
  readonly gaps: readonly number[];
  /** Mean positions of a sequence while its answer grows. */
  readonly meanContext: number;
}

export function summarise(outcomes: readonly Outcome[]): Summary {
  const done = outcomes.filter(({ status, events }) => status === 200 && events.length > 0);
  const seconds = (Math.max(...outcomes.map(({ end }) => end)) - Math.min(...outcomes.map(({ sent }) => sent))) / 1000;
  const tokens = done.reduce((sum, one) => sum + one.tokens, 0);
  const places = done.reduce((sum, one) => sum + one.tokens * (one.promptTokens + one.tokens / 2), 0);
  return {
    requests: outcomes.length,
    failed: outcomes.length - done.length,
    requestsPerSecond: done.length / seconds,
    tokensPerSecond: tokens / seconds,
    firstToken: done.map(({ sent, events }) => (events[0] ?? Number.NaN) - sent),
    gaps: done.flatMap(({ events }) => events.slice(1).map((at, i) => at - (events[i] ?? 0))),
    meanContext: places / Math.max(1, tokens),
  };
}

/** p50 / p90 / p99 */
export function percentiles(values: readonly number[], digits = 0): string {
  return [0.5, 0.9, 0.99].map((q) => quantile(values, q).toFixed(digits)).join(" / ");
}
