/**
 * What comes with every step (tokens of many requests, the step's record, a moment of the engine) as numbers in typed
 * arrays: a message of them costs the same for one request and for a hundred.
 */
import type { EngineStats, FinishReason, ScoredToken, StepRecord, WorkEvent } from "../client.ts";

export type TokenEvent = Extract<WorkEvent, { readonly type: "tokens" | "logprobs" }>;

export interface PackedTokens {
  /** An event: (request, answer or ANSWERLESS, first or finish, tokens, alternatives of each), ids, ids of alternatives. */
  readonly ints: Int32Array;
  /** An event: log-probabilities of its tokens, those of their alternatives. */
  readonly floats: Float32Array;
}

/** In the place of an answer: the event is about the prompt. */
const ANSWERLESS = -1;
const FINISHES: readonly (FinishReason | undefined)[] = [undefined, "stop", "length"];

/** Gathers events until they are taken. */
export class TokenPacker {
  #ints: number[] = [];
  #floats: number[] = [];

  get isEmpty(): boolean {
    return this.#ints.length === 0;
  }

  add(request: number, event: TokenEvent): void {
    const { tokens } = event;
    const most = Math.max(0, ...tokens.map(({ top }) => top.length));
    const head = event.type === "tokens" ? [event.answer, FINISHES.indexOf(event.finish)] : [ANSWERLESS, event.first];
    this.#ints.push(request, ...head, tokens.length, most);
    for (const { id, logprob } of tokens) {
      this.#ints.push(id);
      this.#floats.push(logprob);
    }
    for (const { top } of tokens) {
      for (let i = 0; i < most; i++) {
        this.#ints.push(top[i]?.id ?? -1);
        this.#floats.push(top[i]?.logprob ?? Number.NaN);
      }
    }
  }

  take(): PackedTokens {
    const packed = { ints: Int32Array.from(this.#ints), floats: Float32Array.from(this.#floats) };
    this.#ints = [];
    this.#floats = [];
    return packed;
  }
}

export function unpackTokens({ ints, floats }: PackedTokens, tell: (request: number, event: TokenEvent) => void): void {
  let [at, float] = [0, 0];
  const int = (): number => ints[at++] ?? -1;
  const real = (): number => floats[float++] ?? Number.NaN;
  while (at < ints.length) {
    const [request, answer, second, count, most] = [int(), int(), int(), int(), int()];
    const own = Array.from({ length: count }, () => ({ id: int(), logprob: real() }));
    const tokens = own.map((token): ScoredToken => ({ ...token, top: alternatives(most, int, real) }));
    const finish = answer === ANSWERLESS ? undefined : FINISHES[second];
    if (answer === ANSWERLESS) tell(request, { type: "logprobs", first: second, tokens });
    else tell(request, { type: "tokens", answer, tokens, ...(finish && { finish }) });
  }
}

function alternatives(count: number, int: () => number, real: () => number): ScoredToken["top"] {
  return Array.from({ length: count }, () => ({ id: int(), logprob: real() }));
}

const RECORD = [
  "id",
  "program",
  "sequences",
  "tokens",
  "samples",
  "drafted",
  "accepted",
  "preempted",
  "ms",
  "planMs",
] as const satisfies readonly (keyof StepRecord)[];

export function packRecords(records: readonly StepRecord[]): Float64Array {
  return Float64Array.from(records.flatMap((record) => RECORD.map((name) => record[name])));
}

export function unpackRecords(packed: Float64Array): StepRecord[] {
  return Array.from({ length: packed.length / RECORD.length }, (_, r) => {
    const values = RECORD.map((name, i) => [name, packed[r * RECORD.length + i] ?? 0]);
    return Object.fromEntries(values) as Record<(typeof RECORD)[number], number>;
  });
}

/** Nine counts, the number of draft depths, two of each, then three of each state group. */
export function packStats({ swap, drafts, blocks, ...stats }: EngineStats): Float64Array {
  const { running, waiting, steps, promptTokens, cachedTokens } = stats;
  const head = [running, waiting, steps, promptTokens, cachedTokens];
  head.push(swap.saved, swap.restored, swap.blocks, swap.bytes, drafts.length);
  for (const { drafted, accepted } of drafts) head.push(drafted, accepted);
  for (const { size, used, cached } of blocks) head.push(size, used, cached);
  return Float64Array.from(head);
}

export function unpackStats(packed: Float64Array): EngineStats {
  let at = 0;
  const next = (): number => packed[at++] ?? 0;
  const [running, waiting, steps, promptTokens, cachedTokens] = [next(), next(), next(), next(), next()];
  const swap = { saved: next(), restored: next(), blocks: next(), bytes: next() };
  const depths = next();
  const drafts = Array.from({ length: depths }, () => ({ drafted: next(), accepted: next() }));
  const groups = Math.max(0, (packed.length - at) / 3);
  const blocks = Array.from({ length: groups }, () => ({ size: next(), used: next(), cached: next() }));
  return { running, waiting, steps, promptTokens, cachedTokens, swap, drafts, blocks };
}
