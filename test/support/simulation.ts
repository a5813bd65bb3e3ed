/**
 * The scheduler without a model: a step gives token 1 until an answer is as long as was said when it was submitted, then the
 * stop token 0. For what policies do; the benchmark of policies adds what a step would cost.
 */
import assert from "node:assert/strict";
import type { StateGroup, StepResult } from "../../src/backend/contract.ts";
import { GREEDY } from "../../src/backend/program-runner.ts";
import { StepPlanBuffer } from "../../src/backend/step-plan.ts";
import type { WorkEvent } from "../../src/engine/client.ts";
import type { Policy } from "../../src/engine/policies/policy.ts";
import { costOf } from "../../src/engine/policies/tenants.ts";
import { EngineRequest } from "../../src/engine/request.ts";
import { Scheduler } from "../../src/engine/scheduler.ts";
import { Generate } from "../../src/engine/work/generate.ts";
import { BlockPool } from "../../src/state/block-pool.ts";
import type { Random } from "./random.ts";

const GROUP: StateGroup = { kind: "kv", states: ["all"], kvHeads: 1, keyDim: 16, valueDim: 16, type: "f32" };
const STOP = 0;

export interface SimulationOptions {
  readonly policy: Policy;
  readonly sequences: number;
  readonly blocks: number;
  readonly stepTokens?: number;
  readonly context?: number;
  readonly prefixCache?: boolean;
}

/** What a step has to compute: rows, and the places that all of them see together. */
export interface StepSize {
  readonly rows: number;
  readonly keys: number;
}

export interface Job {
  readonly prompt: readonly number[];
  /** Tokens of its answer. */
  readonly answer: number;
  /** What it says that it may want. Default: `answer`. */
  readonly maxTokens?: number;
  readonly tenant?: string;
  readonly priority?: number;
}

export class Simulation {
  readonly ended: EngineRequest[] = [];
  steps = 0;
  preempted = 0;
  cachedTokens = 0;
  readonly #scheduler: Scheduler;
  readonly #answers = new Map<EngineRequest, number>();

  constructor({ policy, sequences, blocks, stepTokens = 256, context = 1024, prefixCache = true }: SimulationOptions) {
    const limits = {
      stepTokens,
      maxSequences: sequences,
      maxOutputs: sequences,
      maxListed: 0,
      maxDraft: 0,
      treeSlots: 0,
      context,
      depth: 1,
    };
    const plan = new StepPlanBuffer({
      ...limits,
      samplerSlots: sequences,
      maxMoves: 0,
      maxCopies: sequences,
      outputs: [],
      groups: 1,
    });
    const groups = [{ group: GROUP, pool: new BlockPool(blocks) }];
    this.#scheduler = new Scheduler({ policy, limits, groups, plan, prefixCache });
  }

  /** `listen` hears of each token, and of the end. */
  submit(
    { prompt, answer, maxTokens = answer, tenant, priority }: Job,
    listen: (event: WorkEvent) => void = () => undefined,
  ): EngineRequest {
    const generate = { maxTokens, samplers: [GREEDY], stopIds: Int32Array.of(STOP), topLogprobs: 0 };
    const work = {
      prompt: Int32Array.from(prompt),
      generate,
      ...(tenant !== undefined && { tenant }),
      ...(priority !== undefined && { priority }),
    };
    const request = new EngineRequest(work, listen, [new Generate(generate, undefined)]);
    this.#answers.set(request, answer);
    this.#scheduler.add(request);
    return request;
  }

  get isIdle(): boolean {
    return this.ended.length === this.#answers.size;
  }

  /** Answers that are under way. */
  get running(): number {
    return this.#scheduler.running.length;
  }

  /** Takes a step. `settle` is told how large it is before its result is. */
  step(settle: (size: StepSize) => void = () => undefined): StepSize {
    const scheduled = this.#scheduler.schedule() ?? this.#scheduler.schedule();
    assert.ok(scheduled, "nothing can be done");
    const { plan } = scheduled;
    const keys = plan.seen.subarray(0, plan.tokenCount).reduce((sum, seen) => sum + seen, 0);
    settle({ rows: plan.tokenCount, keys });
    const flight = this.#scheduler.flights.oldest;
    const ids = (flight?.shares ?? []).flatMap(({ sequence: { request, coming, length } }) => {
      const isLast = length - request.work.prompt.length + 1 >= (this.#answers.get(request) ?? 0);
      return coming.map(() => (isLast ? STOP : 1));
    });
    assert.equal(ids.length, plan.sampleCount);
    this.steps += 1;
    this.preempted += flight?.preempted ?? 0;
    const { ended } = this.#scheduler.update(resultOf(ids));
    for (const request of ended) {
      assert.equal(request.failure, undefined);
      this.cachedTokens += request.cachedTokens;
      this.ended.push(request);
    }
    return { rows: plan.tokenCount, keys };
  }

  /** Until all has ended. */
  run(): void {
    while (!this.isIdle) this.step();
  }

  /** What a tenant's requests have cost so far. */
  given(tenant: string): number {
    let sum = 0;
    for (const request of this.#answers.keys()) {
      if (request.work.tenant === tenant && request.cachedTokens >= 0) sum += costOf(request);
    }
    return sum;
  }

  waiting(tenant: string): number {
    return this.#scheduler.waiting.filter(({ work }) => work.tenant === tenant).length;
  }
}

export function textOf(random: Random, length: number): number[] {
  return Array.from({ length }, () => 1 + random.below(1000));
}

function resultOf(ids: readonly number[]): StepResult {
  const none = new Float32Array();
  return {
    sampleIds: Int32Array.from(ids),
    sampleLogprobs: new Float32Array(ids.length),
    topIds: new Int32Array(),
    topLogprobs: none,
    logprobs: none,
    logprobTopIds: new Int32Array(),
    logprobTopLogprobs: none,
    outputs: [],
  };
}
