/**
 * Random workloads, and the comparison behind promise 1: every request of a workload gives the same ids and the
 * same bits of logits as when it runs alone, one token a step, on one thread.
 */
import type { ModelArtifact } from "../../src/artifact/artifact.ts";
import type { Backend, KvType } from "../../src/backend/contract.ts";
import type { WordReader } from "../../src/decode/speculative/datastore.ts";
import type { Drafter } from "../../src/decode/speculative/drafter.ts";
import type { SpeculationOption } from "../../src/decode/speculative/option.ts";
import type { DraftingOptions } from "../../src/engine/drafting-models.ts";
import { assemble } from "../../src/engine/assemble.ts";
import type { GenerateOptions } from "../../src/engine/input.ts";
import type { Llm } from "../../src/engine/llm.ts";
import type { Policy } from "../../src/engine/policies/policy.ts";
import { adapterFile, matricesOf, randomAdapter } from "./adapters.ts";
import { borrowed } from "./backends.ts";
import type { Random } from "./random.ts";

export interface Job {
  readonly kind: "generate" | "logits";
  readonly prompt: readonly number[];
  readonly options: GenerateOptions;
  /** Aborts after so many tokens. */
  readonly abortAfter?: number;
}

export interface Outcome {
  /** A line for each answer: ids, bits of the chosen and the 20 best log-probabilities; or a hash of all logits. */
  readonly answers: readonly string[];
  /** Prompt and answer, for each answer of a generation. */
  readonly tokens: readonly (readonly number[])[];
  /** Tokens that were guessed and verified. */
  readonly drafted: number;
}

export interface WorkloadShape {
  readonly vocab: number;
  /** The longest prompt, and the longest answer. */
  readonly prompt: number;
  readonly answer: number;
  readonly requests: number;
}

/** The adapters that jobs may name. */
const ADAPTERS = ["one", "two"] as const;
/** Everything but embeddings and experts. */
const NOT_ADAPTED = /embd|exps|gate_inp|norm/;

export function randomJobs(random: Random, shape: WorkloadShape): Job[] {
  const common = Array.from({ length: shape.prompt }, () => random.below(shape.vocab));
  return Array.from({ length: random.between(1, shape.requests) }, (): Job => {
    // Mostly short ones, some that reach over several KV tiles.
    const longest = random.below(2) === 0 ? shape.prompt : Math.min(60, shape.prompt);
    const prompt = Array.from({ length: random.between(1, longest) }, () => random.below(shape.vocab));
    // Half of them begin alike, as far as a random place.
    const shared = random.below(2) === 0 ? random.below(prompt.length) : 0;
    prompt.splice(0, shared, ...common.slice(0, shared));
    const adapter = random.pick([undefined, undefined, ...ADAPTERS]);
    if (random.below(5) === 0) return { kind: "logits", prompt: prompt.slice(0, 200), options: { adapter } };
    const options: GenerateOptions = {
      adapter,
      maxTokens: random.between(1, shape.answer),
      temperature: random.pick([0, 0.7, 1, 1.5]),
      topK: random.pick([0, 0, 40]),
      topP: random.pick([1, 0.9]),
      minP: random.pick([0, 0.05]),
      repetitionPenalty: random.pick([1, 1, 1.2]),
      presencePenalty: random.pick([0, 0, 0.5]),
      frequencyPenalty: random.pick([0, 0, 0.3]),
      seed: random.next(),
      n: random.pick([1, 1, 1, 2, 3]),
      logprobs: 20,
      minTokens: random.pick([0, 5]),
      ...(random.below(8) === 0 && { grammar: { regex: "[a-zA-Z ,.]*" } }),
    };
    const job = { kind: "generate", prompt, options } as const;
    return random.below(6) === 0 ? { ...job, abortAfter: random.between(1, 8) } : job;
  });
}

export interface EngineShape {
  readonly kv: KvType;
  readonly stepTokens: number;
  readonly context: number;
  readonly maxSequences: number;
  readonly kvBytes?: number;
  readonly swapBytes?: number;
  readonly prefixCache: boolean;
  readonly policy?: Policy;
  readonly drafter?: Drafter;
  readonly speculation?: SpeculationOption;
  readonly drafting?: readonly DraftingOptions[];
  readonly datastore?: WordReader;
  readonly depth?: 1 | 2;
}

export interface RunResult {
  readonly outcomes: readonly Outcome[];
  readonly steps: number;
  readonly cachedTokens: number;
  /** Requests that lost their memory for a while. */
  readonly preempted: number;
  /** Blocks that gave way to others and were kept outside, and those that came back. */
  readonly saved: number;
  readonly restored: number;
  /** The memory that the engine had. */
  readonly kvBytes: number;
}

/** Runs jobs on an engine of their own: one after another, or arriving at random moments. */
export async function runJobs(
  artifact: ModelArtifact,
  backend: Backend,
  jobs: readonly Job[],
  engine: EngineShape,
  arrivals?: Random,
): Promise<RunResult> {
  const changes = matricesOf(artifact, NOT_ADAPTED).filter(([name]) => name.startsWith("blk."));
  const llm = await assemble({ ...artifact, close: async () => undefined }, borrowed(backend), {
    ...engine,
    swapSeconds: 0,
    ...(engine.drafting && { drafting: engine.drafting.map(unclosed) }),
    adapters: { one: "8", two: "3" },
    openAdapter: async (rank) =>
      adapterFile(randomAdapter(Number(rank), changes, { rank: Number(rank), dtype: "F16", scale: 0.1 })),
  });
  let preempted = 0;
  llm.watch((step) => (preempted += step.preempted));
  try {
    const outcomes: Outcome[] = [];
    if (arrivals) {
      // All at once, or spread over a few steps.
      const spread = arrivals.pick([1, 4]);
      const waits = jobs.map(() => arrivals.below(spread));
      const running = jobs.map(async (job, i) => {
        for (let wait = waits[i] ?? 0; wait > 0; wait--) await new Promise((resolve) => setTimeout(resolve, 1));
        outcomes[i] = await runJob(llm, job);
      });
      await Promise.all(running);
    } else {
      for (const job of jobs) outcomes.push(await runJob(llm, job));
    }
    const { steps, cachedTokens, swap } = llm.stats();
    const { saved, restored } = swap;
    return { outcomes, steps, cachedTokens, preempted, saved, restored, kvBytes: llm.info.kvBytes };
  } finally {
    await llm.close();
  }
}

/** The artifact is the caller's. */
function unclosed(drafting: DraftingOptions): DraftingOptions {
  const { artifact } = drafting;
  return { ...drafting, ...(artifact && { artifact: { ...artifact, close: async () => undefined } }) };
}

async function runJob(llm: Llm, job: Job): Promise<Outcome> {
  if (job.kind === "logits") {
    const rows = await llm.logits(job.prompt, { adapter: job.options.adapter });
    return { answers: [`${rows.length} rows ${hash(rows)}`], tokens: [], drafted: 0 };
  }
  const abort = new AbortController();
  const answer = llm.generate(job.prompt, { ...job.options, signal: abort.signal });
  if (job.abortAfter !== undefined) {
    let parts = 0;
    try {
      for await (const _ of answer) if (++parts >= job.abortAfter) abort.abort();
    } catch {
      // What it said before it was aborted is not compared: where that was depends on the moment.
    }
    return { answers: [], tokens: [], drafted: 0 };
  }
  const { choices, timings } = await answer;
  const bits = new Uint32Array(1);
  const float = new Float32Array(bits.buffer);
  const hex = (value: number): string => {
    float[0] = value;
    return (bits[0] ?? 0).toString(16);
  };
  return {
    drafted: timings.drafted,
    tokens: choices.map(({ tokens }) => [...job.prompt, ...tokens]),
    answers: choices.map(({ tokens, logprobs, finishReason }) => {
      const details = (logprobs ?? []).map(({ logprob, top }) =>
        [hex(logprob), ...top.map((t) => `${t.id}:${hex(t.logprob)}`)].join(),
      );
      return `${tokens.join()} ${finishReason} ${details.join(" ")}`;
    }),
  };
}

/** FNV-1a over the bits of all rows. */
function hash(rows: readonly Float32Array[]): string {
  let h = 2166136261;
  for (const row of rows)
    for (const word of new Uint32Array(row.buffer, row.byteOffset, row.length)) h = Math.imul(h ^ word, 16777619);
  return (h >>> 0).toString(16);
}
