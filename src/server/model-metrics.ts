/**
 * What is counted of one model: its requests as they end, and its engine's steps as they come. /metrics writes it down, the
 * live view shows it.
 */
import type { StepRecord } from "../engine/client.ts";
import type { Generation, Llm } from "../engine/llm.ts";
import { Counter, Histogram } from "./prometheus.ts";

/** Seconds. */
const LATENCY = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];
const TOKENS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768];

export class ModelMetrics {
  readonly timeToFirstToken = new Histogram(LATENCY);
  /** From one step's end to the next, once for each token that it gave. */
  readonly interToken = new Histogram(LATENCY);
  readonly requestSeconds = new Histogram(LATENCY);
  readonly requestPromptTokens = new Histogram(TOKENS);
  readonly requestGenerationTokens = new Histogram(TOKENS);
  readonly stepTokens = new Histogram(TOKENS);
  readonly stepSeconds = new Histogram(LATENCY);
  /** By `finished_reason`: one an answer; "abort" and "error" one a request. */
  readonly ends = new Counter();
  promptTokens = 0;
  generationTokens = 0;
  preemptions = 0;
  /** Of all steps; `generationTokens` counts a request's when it ends. */
  sampledTokens = 0;
  #lastStep = -Infinity;
  #draftMs = 0;
  readonly #unwatch: () => void;

  constructor(llm: Llm) {
    this.#unwatch = llm.watch((record) => this.#step(record));
  }

  firstToken(ms: number): void {
    this.timeToFirstToken.observe(ms / 1000);
  }

  done({ choices, usage }: Generation, ms: number): void {
    for (const { finishReason } of choices) this.ends.add({ finished_reason: finishReason });
    this.promptTokens += usage.promptTokens;
    this.generationTokens += usage.completionTokens;
    this.requestPromptTokens.observe(usage.promptTokens);
    this.requestGenerationTokens.observe(usage.completionTokens);
    this.requestSeconds.observe(ms / 1000);
  }

  failed(reason: "abort" | "error"): void {
    this.ends.add({ finished_reason: reason });
  }

  close(): void {
    this.#unwatch();
  }

  #step({ program, tokens, samples, drafted, accepted, preempted, ms }: StepRecord): void {
    // The steps of a model that drafts belong to the step that verifies.
    this.#draftMs += program === 0 ? 0 : ms;
    if (program !== 0) return;
    const now = performance.now();
    // Steps overlap while there is work; after a pause a step is as long as it took.
    const interval = Math.min(ms + this.#draftMs, now - this.#lastStep);
    this.#lastStep = now;
    this.#draftMs = 0;
    // Of what was drawn behind drafts, only what came true is a token.
    const given = samples - drafted + accepted;
    this.stepTokens.observe(tokens);
    this.stepSeconds.observe(interval / 1000);
    if (given > 0) this.interToken.observe(interval / 1000, given);
    this.sampledTokens += given;
    this.preemptions += preempted;
  }
}
