/**
 * The engine against a toy backend whose "KV cache" holds token ids and whose samples are a hash of everything
 * that a sequence sees through its block tables: whatever batching, chunking, forking or freeing gets wrong
 * changes an answer.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  BLOCK_TOKENS,
  MAX_TOP_LOGPROBS,
  type Pool,
  type Program,
  type SamplerParams,
  type StateGroup,
  type StepPlan,
  type StepResult,
} from "../backend/contract.ts";
import { RequestError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { GREEDY } from "../backend/program-runner.ts";
import { Random } from "../../test/support/random.ts";
import { Engine } from "./engine.ts";
import type { GenerateWork } from "./request.ts";

const VOCAB = 50;
const GROUPS: readonly StateGroup[] = [
  { kind: "kv", states: [0] },
  { kind: "window-kv", window: 21, states: [1] },
];

class ToyProgram implements Program {
  readonly graph = {} as Graph;
  readonly lowered = this.graph;
  readonly memory: Int32Array[];
  readonly samplers = new Map<number, SamplerParams>();
  /** Rows of each step, for the tests that look at scheduling. */
  readonly steps: number[] = [];
  failNext = false;

  constructor(blocks: readonly number[]) {
    this.memory = blocks.map((count) => new Int32Array(count * BLOCK_TOKENS).fill(-7));
  }

  openSampler(slot: number, params: SamplerParams): void {
    assert.ok(!this.samplers.has(slot), `slot ${slot} is open already`);
    this.samplers.set(slot, params);
  }

  closeSampler(slot: number): void {
    assert.ok(this.samplers.delete(slot), `slot ${slot} is not open`);
  }

  async run(plan: StepPlan): Promise<StepResult> {
    await new Promise((resolve) => setImmediate(resolve));
    if (this.failNext) {
      this.failNext = false;
      throw new Error("planned failure");
    }
    this.steps.push(plan.tokenCount);
    for (let c = 0; c < plan.copyCount; c++) {
      const [group = 0, from = 0, to = 0] = plan.copies.subarray(3 * c, 3 * c + 3);
      const memory = this.memory[group];
      assert.ok(memory);
      memory.copyWithin(to * BLOCK_TOKENS, from * BLOCK_TOKENS, (from + 1) * BLOCK_TOKENS);
    }
    const sequenceOf = new Map<number, number>();
    for (let s = 0; s < plan.sequenceCount; s++) {
      for (let row = plan.queryStarts[s] ?? 0; row < (plan.queryStarts[s + 1] ?? 0); row++) {
        sequenceOf.set(row, s);
        for (const [g, memory] of this.memory.entries())
          memory[this.#slot(plan, g, s, plan.positions[row] ?? 0)] = plan.tokens[row] ?? 0;
      }
    }
    const hash = (row: number, salt: string): number => {
      let h = 2166136261;
      const mix = (value: number): void => {
        h = Math.imul(h ^ value, 16777619) >>> 0;
        h = (h ^ (h >>> 13)) >>> 0;
      };
      const s = sequenceOf.get(row) ?? -1;
      const position = plan.positions[row] ?? 0;
      for (const [g, group] of GROUPS.entries()) {
        for (let p = group.window === undefined ? 0 : Math.max(0, position - group.window + 1); p <= position; p++) {
          const value = this.memory[g]?.[this.#slot(plan, g, s, p)] ?? -1;
          assert.ok(value >= 0, `position ${p} of group ${g} was never written`);
          mix(value + 1);
        }
      }
      for (const letter of salt) mix(letter.charCodeAt(0));
      return h;
    };
    const ids = Array.from({ length: plan.sampleCount }, (_, i) => {
      const params = this.samplers.get(plan.sampleSlots[i] ?? -1);
      assert.ok(params, "a sample names a slot that is not open");
      return hash(plan.sampleRows[i] ?? 0, `${params.seed}:${params.sampleIndex}`) % VOCAB;
    });
    return {
      sampleIds: Int32Array.from(ids),
      sampleLogprobs: Float32Array.from(ids, (id) => -id),
      topIds: new Int32Array(plan.sampleCount * MAX_TOP_LOGPROBS),
      topLogprobs: new Float32Array(plan.sampleCount * MAX_TOP_LOGPROBS),
      logprobs: Float32Array.from(
        { length: plan.logprobCount },
        (_, i) => -(hash(plan.logprobRows[i] ?? 0, `${plan.logprobIds[i]}`) % 1000),
      ),
      logits: Float32Array.from(
        { length: plan.logitCount * VOCAB },
        (_, i) => hash(plan.logitRows[Math.floor(i / VOCAB)] ?? 0, `${i % VOCAB}`) % 1000,
      ),
    };
  }

  close(): void {}

  #slot(plan: StepPlan, group: number, sequence: number, position: number): number {
    const table = plan.blockTables[group];
    const block = table?.ids[sequence * (table?.stride ?? 0) + Math.floor(position / BLOCK_TOKENS)] ?? -1;
    assert.ok(block >= 0, `position ${position} of group ${group} has no block`);
    return block * BLOCK_TOKENS + (position % BLOCK_TOKENS);
  }
}

interface Limits {
  readonly chunk: number;
  readonly sequences: number;
  readonly blocks: readonly number[];
}

function makeEngine({ chunk, sequences, blocks }: Limits): { engine: Engine; program: ToyProgram } {
  const program = new ToyProgram(blocks);
  const pool: Pool = {
    kv: "f32",
    groups: GROUPS,
    blocks,
    bytes: 0,
    read: () => new Uint8Array(),
    write: () => undefined,
    close: () => undefined,
  };
  const limits = {
    maxTokens: chunk,
    maxSequences: sequences,
    maxOutputs: sequences + 5,
    context: 512,
    vocabSize: VOCAB,
  };
  return { engine: new Engine(program, pool, limits), program };
}

function work(
  prompt: readonly number[],
  maxTokens: number,
  n: number,
  seed: number,
  stopIds: number[] = [],
): GenerateWork {
  const samplers = Array.from({ length: n }, (_, sampleIndex) => ({ ...GREEDY, seed: BigInt(seed), sampleIndex }));
  return {
    kind: "generate",
    prompt: Int32Array.from(prompt),
    maxTokens,
    samplers,
    stopIds: new Set(stopIds),
    topLogprobs: 0,
  };
}

async function collect(engine: Engine, job: GenerateWork, leaveAfter = Number.POSITIVE_INFINITY): Promise<string[]> {
  const answers = job.samplers.map(() => "");
  let taken = 0;
  for await (const event of engine.submit(job)) {
    assert.equal(event.type, "token");
    if (event.type !== "token") continue;
    answers[event.token.index] += `${event.token.id}${event.token.finish ? `/${event.token.finish}` : ""} `;
    taken += 1;
    if (taken >= leaveAfter) break;
  }
  return answers;
}

const ROOMY: Limits = { chunk: 1, sequences: 8, blocks: [400, 400] };

test("random loads give every request the answer that it gets alone, one token a step", async () => {
  for (let seed = 1; seed <= 60; seed++) {
    const draw = new Random(seed);
    const next = (below: number): number => draw.below(below);
    const jobs = Array.from({ length: 1 + next(8) }, () => {
      const prompt = Array.from({ length: 1 + next(70) }, () => next(VOCAB));
      return work(prompt, 1 + next(40), 1 + next(3), next(1000), next(2) ? [next(VOCAB)] : []);
    });
    const alone: string[][] = [];
    for (const job of jobs) alone.push(await collect(makeEngine(ROOMY).engine, job));
    const limits = { chunk: 1 + next(40), sequences: 3 + next(6), blocks: [20 + next(60), 30 + next(60)] };
    const { engine, program } = makeEngine(limits);
    const together = await Promise.all(
      jobs.map(async (job, i) => {
        for (let wait = next(30); wait > 0; wait--) await new Promise((resolve) => setImmediate(resolve));
        const leaveAfter = next(4) === 0 ? 1 + next(10) : undefined;
        return { i, leaveAfter, answers: await collect(engine, job, leaveAfter) };
      }),
    );
    await engine.idle();
    for (const { i, leaveAfter, answers } of together) {
      const expected = alone[i] ?? [];
      for (const [a, answer] of answers.entries()) {
        if (leaveAfter === undefined) assert.equal(answer, expected[a], `seed ${seed}, request ${i}, answer ${a}`);
        else assert.ok(expected[a]?.startsWith(answer), `seed ${seed}, request ${i}, answer ${a}, left early`);
      }
    }
    assert.equal(engine.usedBlocks, 0, `seed ${seed}: blocks leaked`);
    assert.equal(program.samplers.size, 0, `seed ${seed}: sampler slots leaked`);
  }
});

test("scores don't depend on chunks or company", async () => {
  const ids = Int32Array.from({ length: 90 }, (_, i) => (i * 7) % VOCAB);
  const score = async (engine: Engine, want: "logits" | "logprobs"): Promise<string> => {
    const rows: string[] = [];
    for await (const event of engine.submit({ kind: "score", prompt: ids, want })) {
      if (event.type === "score") rows.push(`${event.score.row}:${event.score.logprob ?? event.score.logits?.join()}`);
    }
    return rows.join("\n");
  };
  const { engine } = makeEngine({ chunk: 16, sequences: 4, blocks: [100, 100] });
  for (const want of ["logits", "logprobs"] as const) {
    const expected = await score(makeEngine(ROOMY).engine, want);
    assert.equal(expected.split("\n").length, want === "logits" ? 90 : 89);
    const [one, two] = await Promise.all([
      score(engine, want),
      score(engine, want),
      collect(engine, work([1, 2], 30, 2, 1)),
    ]);
    assert.equal(one, expected);
    assert.equal(two, expected);
  }
  assert.equal(engine.usedBlocks, 0);
});

test("calls made together share the first step, and a decode is never starved by a long prompt", async () => {
  const { engine, program } = makeEngine({ chunk: 32, sequences: 4, blocks: [100, 100] });
  await Promise.all([
    collect(engine, work([1], 20, 1, 1)),
    collect(
      engine,
      work(
        Array.from({ length: 300 }, () => 2),
        2,
        1,
        2,
      ),
    ),
  ]);
  assert.equal(program.steps[0], 32);
  assert.ok(program.steps.length <= 22, `${program.steps.length} steps`);
});

test("a request that can never fit fails with the numbers, and harms nobody", async () => {
  const { engine } = makeEngine({ chunk: 8, sequences: 2, blocks: [5, 20] });
  const fine = collect(engine, work([1, 2, 3], 10, 1, 1));
  assert.throws(
    () => engine.submit(work([1], 100, 1, 1)),
    (error) => error instanceof RequestError && /needs 7 KV blocks.*has 5/.test(error.message),
  );
  assert.throws(() => engine.submit(work([1], 5, 3, 1)), /3 answers.*2 sequences/);
  assert.throws(() => engine.submit(work([1], 600, 1, 1)), /601 positions.*512/);
  assert.equal((await fine)[0]?.split(" ").length, 11);
});

test("one of n answers can be ended; the others stay what they are", async () => {
  const { engine, program } = makeEngine({ chunk: 8, sequences: 4, blocks: [100, 100] });
  const job = work([1, 2, 3], 30, 3, 9);
  const expected = await collect(makeEngine(ROOMY).engine, job);
  const answers = ["", "", ""];
  const stream = engine.submit(job);
  for await (const event of stream) {
    if (event.type !== "token") continue;
    const { index, id, finish } = event.token;
    answers[index] += `${id}${finish ? `/${finish}` : ""} `;
    if (index === 0 && answers[0]?.split(" ").length === 6) stream.endAnswer(0);
  }
  assert.ok(answers[0] !== expected[0] && expected[0]?.startsWith(answers[0] ?? "-"));
  assert.deepEqual(answers.slice(1), expected.slice(1));
  assert.ok(program.steps.filter((rows) => rows === 3).length < 10, "the ended answer was computed on");
  await engine.idle();
  assert.equal(engine.usedBlocks, 0);
});

test("an aborted request ends with the signal's reason; a failed step ends its requests, not the engine", async () => {
  const { engine, program } = makeEngine({ chunk: 8, sequences: 4, blocks: [100, 100] });
  const abort = new AbortController();
  const reason = new Error("enough");
  const aborted = (async () => {
    for await (const _ of engine.submit(work([1], 200, 1, 1), abort.signal)) abort.abort(reason);
  })();
  const other = collect(engine, work([5], 20, 1, 1));
  await assert.rejects(aborted, (error) => error === reason);
  assert.deepEqual(await other, await collect(makeEngine(ROOMY).engine, work([5], 20, 1, 1)));
  program.failNext = true;
  await assert.rejects(collect(engine, work([5], 20, 1, 1)), /planned failure/);
  assert.equal((await collect(engine, work([5], 3, 1, 1)))[0]?.split(" ").length, 4);
  await engine.idle();
  assert.equal(engine.usedBlocks, 0);
  const late = collect(engine, work([5], 100, 1, 1));
  await new Promise((resolve) => setImmediate(resolve));
  await Promise.all([engine.close(), assert.rejects(late, /closed while it answered/)]);
  assert.throws(() => engine.submit(work([5], 1, 1, 1)), /is closed/);
  assert.equal(engine.usedBlocks, 0);
});
