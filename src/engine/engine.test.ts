/** The engine on the toy program (test/support/toy-program.ts): every answer must be what the request gets alone. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { GREEDY } from "../backend/program-runner.ts";
import { Random } from "../../test/support/random.ts";
import { ModelDraft } from "./work/draft.ts";
import { TOY_INPUTS, TOY_OUTPUTS, TOY_VOCAB, ToyProgram } from "../../test/support/toy-program.ts";
import { Guesser, Whimsical } from "../../test/support/whimsical.ts";
import type { Drafter } from "../decode/speculative/drafter.ts";
import { RequestError } from "../errors.ts";
import { type EngineClient, type GivenRows, POOLINGS, type Work, type WorkEvent } from "./client.ts";
import { Engine } from "./engine.ts";
import { optimistic } from "./policies/admission.ts";
import { Balanced } from "./policies/balanced.ts";
import { FirstCome } from "./policies/first-come.ts";
import type { Policy } from "./policies/policy.ts";
import { draftingOptions } from "./program-limits.ts";
import { always } from "./speculator.ts";

interface Options {
  readonly stepTokens: number;
  readonly sequences: number;
  readonly blocks: readonly number[];
  /** Of the recurrent group. Default: enough. */
  readonly granules?: number;
  readonly depth?: number;
  readonly policy?: Policy;
  readonly drafter?: Drafter;
  /** Whether a second toy drafts for the first. */
  readonly drafting?: boolean;
  readonly prefixCache?: boolean;
  /** Bytes for what the prefix tree gives up. */
  readonly swap?: number;
}

function makeEngine(options: Options): { engine: Engine; program: ToyProgram; draft: ToyProgram } {
  const { stepTokens, sequences, depth = 2, policy = new FirstCome(), drafter, prefixCache = false } = options;
  // The drafting toy's group is as large as the target's; what the toy's scan looks back at is not the test's subject.
  const [all = 0] = options.blocks;
  const blocks = [...options.blocks, all, 4 * all, options.granules ?? 8 * sequences];
  const program = new ToyProgram(blocks);
  const maxDraft = drafter === undefined && options.drafting !== true ? 0 : 8;
  const limits = {
    stepTokens,
    maxSequences: sequences,
    maxOutputs: sequences + 5,
    maxListed: 60,
    maxDraft,
    treeSlots: 2 * maxDraft,
    context: 512,
    depth,
  };
  const draft = new ToyProgram(blocks, program);
  const drafting =
    options.drafting === true
      ? [
          {
            program: draft,
            method: "draft" as const,
            depth: 5,
            minProbability: 1e-9,
            options: draftingOptions(limits, blocks.length),
            inputWidths: [],
            makeDraft: () => new ModelDraft(),
          },
        ]
      : [];
  const parts = {
    program,
    limits,
    outputs: TOY_OUTPUTS,
    inputs: TOY_INPUTS,
    policy,
    speculation: drafter && always(drafter),
    drafting,
    prefixCache,
    swap: { bytes: options.swap ?? 0, secondsPerBlock: 0 },
  };
  return { engine: new Engine(parts), program, draft };
}

function work(prompt: readonly number[], maxTokens: number, n: number, seed: number, stopIds: number[] = []): Work {
  const samplers = Array.from({ length: n }, (_, sampleIndex) => ({ ...GREEDY, seed: BigInt(seed), sampleIndex }));
  const generate = { maxTokens, samplers, stopIds: Int32Array.from(stopIds), topLogprobs: 0 };
  return { prompt: Int32Array.from(prompt), generate };
}

/** Everything that a request is told, as a text an answer, and one for its prompt. */
function collect(engine: EngineClient, job: Work, cancelAfter = Infinity): Promise<string[]> {
  const answers = (job.generate?.samplers ?? []).map(() => "");
  let prompt = "";
  let taken = 0;
  return new Promise((resolve, reject) => {
    const handle = engine.submit(job, (event: WorkEvent) => {
      if (event.type === "end") {
        if (event.error === "enough") resolve(answers);
        else if (event.error === undefined) resolve((job.score ?? job.embed) ? [...answers, prompt] : answers);
        // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- what the engine gave
        else reject(event.error);
      } else if (event.type === "tokens") {
        answers[event.answer] += event.tokens.map(({ id, logprob }) => `${id},${logprob} `).join("");
        if (event.finish !== undefined) answers[event.answer] += event.finish;
        taken += event.tokens.length;
        if (taken >= cancelAfter) handle.cancel("enough");
      } else if (event.type === "logprobs") {
        prompt += event.tokens.map(({ id, logprob }, i) => `${event.first + i}:${id},${logprob} `).join("");
      } else if (event.type === "vector") prompt += event.values.join();
      else prompt += event.rows.map((row, i) => `${event.first + i}:${row.join()} `).join("");
    });
  });
}

/** The longest span of the jobs below. */
const SPAN = 4;

/** A vector of a prompt, alone or beside its answers; some tokens of the prompt may see each other. */
function embedding({ prompt, generate }: Work, draw: Random): Work {
  const pooling = POOLINGS[draw.below(POOLINGS.length)] ?? "mean";
  const spans: { begin: number; end: number }[] = [];
  for (let at = draw.below(9); at < prompt.length; at += draw.below(9)) {
    const end = Math.min(prompt.length, at + 1 + draw.below(SPAN));
    spans.push({ begin: at, end });
    at = end;
  }
  return {
    prompt,
    embed: { output: "hidden", pooling },
    ...(generate && draw.below(2) === 0 && { generate }),
    ...(draw.below(2) === 0 && { spans }),
  };
}

/** A row that is given, of a content and a place in it. */
function soft(content: number, rows: number, begin: number): GivenRows {
  const values = Float32Array.from({ length: 2 * rows }, (_, i) => (i % 2 === 0 ? (i >> 1) % 100 : content));
  return { input: "soft", begin, values, content: `picture ${content}` };
}

/** A prompt with pictures in it, whose rows may see each other: equal tokens stand where they are. */
function pictures(job: Work, draw: Random): Work {
  const prompt = job.prompt.slice();
  const given: GivenRows[] = [];
  for (let at = draw.below(20); at < prompt.length; at += draw.below(20)) {
    const content = draw.below(3);
    const rows = content === 0 ? SPAN : 9 * content;
    if (at + rows > prompt.length) break;
    prompt.fill(7, at, at + rows);
    given.push(soft(content, rows, at));
    at += rows;
  }
  const spans = given.flatMap(({ content, begin }) => (content === "picture 0" ? [{ begin, end: begin + SPAN }] : []));
  return { ...job, prompt, given, ...(spans.length > 0 && { spans }) };
}

function alone(job: Work): Promise<string[]> {
  const stepTokens = Math.max(1, ...(job.spans ?? []).map(({ begin, end }) => end - begin));
  return collect(makeEngine({ stepTokens, sequences: 8, blocks: [600, 600], depth: 1 }).engine, job);
}

/** What many prompts go on with. */
const COMMON = Array.from({ length: 60 }, (_, i) => (7 * i) % TOY_VOCAB);

test("random loads under any policy, depth and drafts give every request the answer that it gets alone", async () => {
  const total: Record<string, number> = { preempted: 0, drafted: 0, cached: 0 };
  for (let seed = 1; seed <= 150; seed++) {
    const draw = new Random(seed);
    const next = (below: number): number => draw.below(below);
    const jobs = Array.from({ length: 1 + next(8) }, (_, j) => {
      const prompt = Array.from({ length: 1 + next(next(4) === 0 ? 150 : 70) }, (_, i) =>
        i === 0 ? j % 3 : next(TOY_VOCAB),
      );
      // Some begin like another, as far as a random place.
      if (next(2) === 0) prompt.splice(1, next(prompt.length), ...COMMON.slice(0, next(COMMON.length)));
      const hints = { tenant: `${next(3)}`, priority: next(2) };
      const job = {
        ...work(prompt, 1 + next(40), 1 + next(3), next(1000), next(2) ? [next(TOY_VOCAB)] : []),
        ...hints,
      };
      if (next(5) === 0) return embedding(job, draw);
      if (next(4) === 0) return pictures(job, draw);
      const want = next(2) ? ("logprobs" as const) : ("logits" as const);
      return next(4) === 0 ? { ...job, score: { want, topLogprobs: 0 } } : job;
    });
    const expected: string[][] = [];
    for (const job of jobs) expected.push(await alone(job));
    const known = jobs.flatMap((job, j) =>
      (expected[j] ?? []).map((told) => [...job.prompt, ...(told.match(/\d+(?=,)/g) ?? []).map(Number)]),
    );
    const policy = [
      new FirstCome(),
      new Balanced({ chunkTokens: 1 + next(9) }),
      new Balanced({ admission: optimistic }),
      new Whimsical(draw),
      new Whimsical(draw),
    ][next(5)] as Policy;
    const drafter = next(2) === 0 ? new Guesser(draw, known, TOY_VOCAB) : undefined;
    const drafting = next(2) === 0;
    const { engine, program, draft } = makeEngine({
      stepTokens: SPAN + next(40),
      sequences: 3 + next(12),
      blocks: [24 + next(10), 40 + next(20)],
      granules: 12 + next(12),
      depth: 1 + next(2),
      policy,
      ...(drafter && { drafter }),
      drafting,
      prefixCache: next(3) > 0,
      // The toy's transfers don't wait for a drafter's steps.
      swap: drafting ? 0 : ([0, 2000, 40_000][next(3)] ?? 0),
    });
    const failures = next(4) === 0;
    const together = await Promise.all(
      jobs.map(async (job, j) => {
        for (let wait = next(30); wait > 0; wait--) await new Promise((resolve) => setImmediate(resolve));
        const cancelAfter = next(4) === 0 ? 1 + next(10) : undefined;
        program.failNext = failures && next(3) === 0;
        const answers = await collect(engine, job, cancelAfter).catch((error: unknown) => {
          assert.match(String(error), /planned failure/, `seed ${seed}, request ${j}`);
          assert.ok(failures);
          return undefined;
        });
        return { j, cancelAfter, answers };
      }),
    );
    await engine.idle();
    for (const { j, cancelAfter, answers } of together) {
      for (const [a, answer] of (answers ?? []).entries()) {
        const right = expected[j]?.[a] ?? "";
        if (cancelAfter === undefined) assert.equal(answer, right, `seed ${seed}, request ${j}, answer ${a}`);
        else assert.ok(right.startsWith(answer), `seed ${seed}, request ${j}, answer ${a}, cancelled`);
      }
    }
    for (const { used } of engine.stats().blocks) assert.equal(used, 0, `seed ${seed}: blocks leaked`);
    for (const [name, count] of Object.entries(program.used)) total[name] = (total[name] ?? 0) + count;
    total["draftSteps"] = (total["draftSteps"] ?? 0) + draft.steps.length;
    if (policy instanceof Whimsical) total["preempted"] = (total["preempted"] ?? 0) + policy.preempted;
    total["saved"] = (total["saved"] ?? 0) + engine.stats().swap.saved;
    total["cached"] = (total["cached"] ?? 0) + engine.stats().cachedTokens;
    if (drafter) total["drafted"] = (total["drafted"] ?? 0) + drafter.nodes;
  }
  for (const [name, count] of Object.entries(total))
    assert.ok(count > 0, `${name} never happened: ${JSON.stringify(total)}`);
});

test("a drafting model saves steps, also in forks and behind a prefix that another sequence left", async () => {
  const { engine, program, draft } = makeEngine({
    stepTokens: 40,
    sequences: 4,
    blocks: [60, 60],
    depth: 1,
    prefixCache: true,
    drafting: true,
  });
  const jobs = [work(COMMON, 60, 2, 1), work([...COMMON, 1], 60, 1, 2), work(COMMON.slice(0, 30), 60, 1, 3)];
  const drafted: number[] = [];
  for (const job of jobs) {
    const [before, rows] = [program.steps.length, draft.steps.reduce((sum, count) => sum + count, 0)];
    assert.deepEqual(await collect(engine, job), await alone(job));
    // Three in four of its tokens are right, five at most in a step: 3.3 tokens a step on average.
    const steps = program.steps.length - before;
    assert.ok(steps < 60 / 2, `${steps} steps`);
    drafted.push(draft.steps.reduce((sum, count) => sum + count, 0) - rows);
  }
  // The second and the third job begin with what the first has left, in the drafting model's memory too.
  assert.ok((drafted[1] ?? Infinity) < COMMON.length + 60, `${drafted.join()} rows`);
  for (const { used } of engine.stats().blocks) assert.equal(used, 0);
});

test("scores don't depend on chunks or company", async () => {
  const prompt = Int32Array.from({ length: 90 }, (_, i) => (i * 7) % TOY_VOCAB);
  const { engine } = makeEngine({ stepTokens: 16, sequences: 4, blocks: [100, 100] });
  for (const want of ["logits", "logprobs"] as const) {
    const job = { prompt, score: { want, topLogprobs: 0 } };
    const [expected] = await alone(job);
    assert.equal(expected?.trim().split(" ").length, want === "logits" ? 90 : 89);
    const [one, two] = await Promise.all([
      collect(engine, job),
      collect(engine, job),
      collect(engine, work([1], 30, 2, 1)),
    ]);
    assert.equal(one[0], expected);
    assert.equal(two[0], expected);
  }
  assert.deepEqual(await collect(engine, { prompt: Int32Array.of(4), score: { want: "logprobs", topLogprobs: 0 } }), [
    "",
  ]);
  assert.equal(engine.stats().blocks[0]?.used, 0);
});

test("a picture's prefix is shared with those who have the same picture there, and nobody else", async () => {
  const { engine, program } = makeEngine({ stepTokens: 64, sequences: 2, blocks: [40, 60], prefixCache: true });
  const prompt = (content: number, ending: number): Work => ({
    ...work([...COMMON.slice(0, 10), ...Array.from({ length: 30 }, () => 7), ending], 6, 1, 4),
    given: [soft(content, 30, 10)],
  });
  const computed = async (job: Work): Promise<number> => {
    const before = program.steps.length;
    assert.deepEqual(await collect(engine, job), await alone(job));
    return program.steps[before] ?? 0;
  };
  assert.equal(await computed(prompt(1, 3)), 41);
  // The last block has the same rows of the picture, too.
  assert.equal(await computed(prompt(1, 4)), 1);
  assert.equal(await computed(prompt(2, 3)), 31);
  const spans = [{ begin: 10, end: 40 }];
  assert.equal(await computed({ ...prompt(1, 3), spans }), 31, "rows that see each other are other rows");
  assert.notDeepEqual(await alone(prompt(1, 3)), await alone(prompt(2, 3)));
  const refused = async (change: Partial<GivenRows>, message: RegExp): Promise<void> =>
    assert.rejects(collect(engine, { ...prompt(1, 3), given: [{ ...soft(1, 30, 10), ...change }] }), message);
  await refused({ input: "pixels" }, /no input "pixels"; it has soft/);
  await refused({ begin: 12 }, /rows at 12 … 42; the prompt has 41/);
  await refused({ values: new Float32Array(5) }, /5 given values are not rows of 2/);
  await refused({ values: Float32Array.of(1, Number.NaN) }, /not finite/);
  const twice = { ...prompt(1, 3), given: [soft(1, 20, 0), soft(2, 20, 19)] };
  await assert.rejects(collect(engine, twice), /row 19 is given twice/);
});

test("calls made together share the first step, and a decode is never starved by a long prompt", async () => {
  const { engine, program } = makeEngine({ stepTokens: 32, sequences: 4, blocks: [100, 100] });
  const long = Array.from({ length: 300 }, () => 2);
  await Promise.all([collect(engine, work([1], 20, 1, 1)), collect(engine, work(long, 2, 1, 2))]);
  assert.equal(program.steps[0], 32);
  assert.ok(program.steps.length <= 24, `${program.steps.length} steps`);
});

test("more decodes than a step has rows take turns", async () => {
  const { engine } = makeEngine({ stepTokens: 2, sequences: 6, blocks: [100, 100] });
  const lengths: number[] = [0, 0, 0, 0, 0, 0];
  let spread = 0;
  await Promise.all(
    lengths.map(
      (_, i) =>
        new Promise<void>((resolve) => {
          engine.submit(work([i], 30, 1, i), (event) => {
            if (event.type === "end") resolve();
            lengths[i] = (lengths[i] ?? 0) + 1;
            const open = lengths.filter((length) => length < 30);
            if (open.length === lengths.length) spread = Math.max(spread, Math.max(...open) - Math.min(...open));
          });
        }),
    ),
  );
  assert.ok(spread <= 3, `one was ${spread} tokens ahead of another`);
});

test("two steps are in flight while one sequence decodes", async () => {
  const { engine, program } = makeEngine({ stepTokens: 8, sequences: 1, blocks: [20, 20] });
  assert.deepEqual(await collect(engine, work([1, 2, 3], 20, 1, 5)), await alone(work([1, 2, 3], 20, 1, 5)));
  assert.ok(program.used.references >= 18, `${program.used.references} references`);
  assert.ok(program.used.inFlight >= 18, `${program.used.inFlight} times two in flight`);
});

test("a request that can never fit is refused through its events, with the numbers, and harms nobody", async () => {
  const { engine } = makeEngine({ stepTokens: 8, sequences: 2, blocks: [5, 20] });
  const fine = collect(engine, work([1, 2, 3], 10, 1, 1));
  await assert.rejects(
    collect(engine, work([1], 100, 1, 1)),
    (error) => error instanceof RequestError && /needs 7 KV blocks.*has 5/.test(error.message),
  );
  await assert.rejects(collect(engine, work([1], 5, 3, 1)), /3 answers.*2 sequences/);
  await assert.rejects(collect(engine, work([1], 600, 1, 1)), /601 positions.*512/);
  const embed = { output: "hidden", pooling: "mean" } as const;
  const text = { prompt: new Int32Array(9), embed };
  await assert.rejects(collect(engine, { ...text, spans: [{ begin: 0, end: 9 }] }), /9 tokens see each other.*holds 8/);
  await assert.rejects(
    collect(engine, { ...text, embed: { ...embed, output: "pooled" } }),
    /no output "pooled".*hidden/,
  );
  assert.equal((await fine)[0]?.split(" ").length, 11);
});

test("a policy that admits nobody doesn't hang the engine", async () => {
  const policy: Policy = { admit: () => [], turns: () => [], victim: () => undefined };
  const { engine } = makeEngine({ stepTokens: 8, sequences: 2, blocks: [5, 20], policy });
  await assert.rejects(collect(engine, work([1], 3, 1, 1)), /can't hold this request/);
});

test("one of n answers can be ended: its blocks are free at once, the others stay what they are", async () => {
  const { engine, program } = makeEngine({ stepTokens: 8, sequences: 4, blocks: [100, 100] });
  const job = work([1, 2, 3], 30, 3, 9);
  const expected = await alone(job);
  const answers = ["", "", ""];
  await new Promise<void>((resolve) => {
    const handle = engine.submit(job, (event) => {
      if (event.type === "end") resolve();
      if (event.type !== "tokens") return;
      for (const { id, logprob } of event.tokens) answers[event.answer] += `${id},${logprob} `;
      answers[event.answer] += event.finish ?? "";
      if (event.answer === 0 && answers[0]?.split(" ").length === 6) handle.endAnswer(0);
    });
  });
  assert.ok(answers[0] !== expected[0] && expected[0]?.startsWith(answers[0] ?? "-"));
  assert.deepEqual(answers.slice(1), expected.slice(1));
  assert.ok(program.steps.filter((rows) => rows === 3).length < 10, "the ended answer was computed on");
  await engine.idle();
  assert.equal(engine.stats().blocks[0]?.used, 0);
});

test("a failed step ends its requests, not the engine; what came behind it is planned anew", async () => {
  const { engine, program } = makeEngine({ stepTokens: 8, sequences: 4, blocks: [100, 100] });
  program.failNext = true;
  await assert.rejects(collect(engine, work([5], 20, 1, 1)), /planned failure/);
  assert.deepEqual(await collect(engine, work([5], 3, 1, 1)), await alone(work([5], 3, 1, 1)));
  // One whose step fails while another's first rows are in the step behind it.
  const victim = collect(engine, work([7], 200, 1, 1));
  await new Promise((resolve) => setImmediate(resolve));
  const other = collect(engine, work([8, 9], 20, 2, 1));
  program.failNext = true;
  await assert.rejects(victim, /planned failure/);
  assert.deepEqual(await other, await alone(work([8, 9], 20, 2, 1)));
  await engine.idle();
  assert.equal(engine.stats().blocks[0]?.used, 0);
});

test("whoever leaves is not waited for, and a listener that throws ends its own request", async () => {
  const { engine, program } = makeEngine({ stepTokens: 8, sequences: 4, blocks: [100, 100] });
  assert.equal((await collect(engine, work([5], 200, 1, 1), 3))[0]?.trim().split(" ").length, 3);
  await engine.idle();
  assert.ok(program.used.cancelled > 0, "the step in flight was waited for");
  const thrown = new Promise((resolve) => {
    engine.submit(work([6], 50, 1, 1), (event) => {
      if (event.type === "end") resolve(event.error);
      else throw new Error("mine");
    });
  });
  const other = collect(engine, work([8], 20, 1, 1));
  assert.match(String(await thrown), /mine/);
  assert.deepEqual(await other, await alone(work([8], 20, 1, 1)));
  const late = collect(engine, work([5], 100, 1, 1));
  await new Promise((resolve) => setImmediate(resolve));
  await Promise.all([engine.close(), assert.rejects(late, /closed while it answered/)]);
  await assert.rejects(collect(engine, work([5], 1, 1, 1)), /is closed/);
  assert.equal(engine.stats().blocks[0]?.used, 0);
});

test("a pinned prompt stays in memory, whatever comes, until it is released", async () => {
  const { engine, program } = makeEngine({ stepTokens: 16, sequences: 4, blocks: [12, 24], prefixCache: true });
  const prompt = Array.from({ length: 40 }, (_, i) => i % TOY_VOCAB);
  const pin = await engine.pin(Int32Array.from(prompt));
  assert.equal(pin.tokens, 32);
  for (let i = 0; i < 8; i++)
    await collect(
      engine,
      work(
        Array.from({ length: 60 }, () => i),
        20,
        1,
        i,
      ),
    );
  const rows = program.steps.length;
  const job = work([...prompt, 3], 4, 1, 1);
  assert.deepEqual(await collect(engine, job), await alone(job));
  assert.equal(program.steps[rows], 9, "41 tokens, 32 of them pinned");
  assert.equal(engine.stats().blocks[0]?.used, 2);
  pin.release();
  pin.release();
  assert.equal(engine.stats().blocks[0]?.used, 0);
  const off = makeEngine({ stepTokens: 16, sequences: 4, blocks: [12, 24] }).engine;
  await assert.rejects(off.pin(Int32Array.of(1, 2)), /without a prefix cache/);
});

test("each step is told to whoever watches", async () => {
  const { engine } = makeEngine({ stepTokens: 8, sequences: 4, blocks: [100, 100] });
  const rows: number[] = [];
  const stop = engine.watch(({ tokens }) => rows.push(tokens));
  await collect(engine, work([5, 6, 7], 4, 1, 1));
  stop();
  await collect(engine, work([5], 4, 1, 1));
  assert.deepEqual(rows, [3, 1, 1, 1]);
});

test("what gave way to others comes back, and the answers are the same", async () => {
  const engines = [0, 100_000].map((swap) =>
    makeEngine({ stepTokens: 16, sequences: 2, blocks: [14, 14], granules: 40, prefixCache: true, swap }),
  );
  const rows: number[][] = [];
  for (const { engine, program } of engines) {
    const own: number[] = [];
    for (const [i, first] of [1, 2, 3, 1, 2, 3, 1].entries()) {
      const prompt = Array.from({ length: 132 }, (_, place) => (first * place) % TOY_VOCAB);
      const before = program.steps.reduce((sum, count) => sum + count, 0);
      const job = work(prompt, 6, 1, i);
      assert.deepEqual(await collect(engine, job), await alone(job));
      own.push(program.steps.reduce((sum, count) => sum + count, 0) - before);
    }
    rows.push(own);
    await engine.idle();
    assert.equal(engine.stats().blocks[0]?.used, 0);
  }
  const [without, with_] = engines.map(({ engine }) => engine.stats().swap);
  assert.deepEqual(without, { saved: 0, restored: 0, blocks: 0, bytes: 0 });
  assert.ok(with_ !== undefined && with_.saved > 8 && with_.restored >= 8, JSON.stringify(with_));
  assert.ok(
    rows[0]?.every((count) => count > 120),
    `each has all the memory, and leaves little: ${rows[0]?.join(" ")}`,
  );
  for (const count of rows[1]?.slice(3) ?? []) assert.ok(count < 30, `${rows[1]?.join(" ")}`);
});

test("a preempted request finds its memory outside", async () => {
  const { engine } = makeEngine({
    stepTokens: 32,
    sequences: 4,
    blocks: [20, 60],
    granules: 60,
    policy: new Balanced({ admission: optimistic }),
    prefixCache: true,
    swap: 100_000,
  });
  const jobs = [1, 2, 3].map((first) =>
    work(
      Array.from({ length: 66 }, (_, place) => (first * place) % TOY_VOCAB),
      80,
      1,
      first,
    ),
  );
  let preempted = 0;
  engine.watch((step) => (preempted += step.preempted));
  const answers = await Promise.all(jobs.map((job) => collect(engine, job)));
  for (const [j, job] of jobs.entries()) assert.deepEqual(answers[j], await alone(job));
  assert.ok(preempted > 0, "nobody was preempted");
  const { saved, restored } = engine.stats().swap;
  assert.ok(saved > 0 && restored > 0, `${saved} saved, ${restored} restored`);
});

test("what a request asks to have kept stays through a pause, until its time is over or nobody could go on", async () => {
  const { engine, program } = makeEngine({ stepTokens: 16, sequences: 4, blocks: [20, 40], prefixCache: true });
  const prompt = Array.from({ length: 40 }, (_, i) => i % TOY_VOCAB);
  const used = (): number => engine.stats().blocks[0]?.used ?? -1;
  const others = async (): Promise<void> => {
    for (let i = 0; i < 8; i++) await collect(engine, work(Array<number>(60).fill(i), 20, 1, i));
  };
  await collect(engine, { ...work(prompt, 9, 1, 1), keepSeconds: 60 });
  assert.equal(used(), 3, "48 of 49 tokens");
  await others();
  const rows = program.steps.length;
  const job = work([...prompt, 3], 4, 1, 1);
  assert.deepEqual(await collect(engine, job), await alone(job));
  assert.equal(program.steps[rows], 1, "41 tokens, 40 of them kept: the last eight as the beginning of a block");

  // Half of the memory at most, and the oldest gives way.
  for (let i = 0; i < 6; i++) await collect(engine, { ...work(Array<number>(70).fill(i), 2, 1, i), keepSeconds: 60 });
  assert.ok(used() <= 10 && used() >= 8, `${used()} blocks are kept`);
  const large = work(Array<number>(250).fill(5), 40, 1, 1);
  assert.deepEqual(await collect(engine, large), await alone(large));

  assert.equal(used(), 0, "all of it was needed");

  await collect(engine, { ...work([9, 9, ...prompt], 2, 1, 1), keepSeconds: 0.02 });
  assert.ok(used() > 0);
  for (let i = 0; i < 200 && used() > 0; i++) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(used(), 0);
});
