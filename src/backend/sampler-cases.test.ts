/**
 * Sampling on every backend: logits are rows of a table, so all have them exactly, and all must choose the reference's
 * ids. What counts for a sample is what the plan says: slots opened, committed, opened again in mid-answer; drafted rows;
 * masks that come late, are dropped, or allow nothing.
 */
import assert from "node:assert/strict";
import test, { after } from "node:test";
import { openIsas } from "../../test/support/backends.ts";
import { TensorMaker } from "../../test/support/memory-artifact.ts";
import { GraphBuilder } from "../graph/builder.ts";
import type { Graph } from "../graph/graph.ts";
import { NO_SAMPLE, NOT_FINITE, type Backend, type SamplerParams, type StepResult } from "./contract.ts";
import { ProgramRunner, type Feed, type SampleWish } from "./program-runner.ts";
import { createReferenceBackend } from "./reference/backend.ts";

const VOCABULARY = 300;

const reference = createReferenceBackend();
const others = (await openIsas(2)).map((backend) => [backend.profile("f32"), backend] as const);
const all = [["reference", reference] as const, ...others];
after(async () => {
  await Promise.all(others.map(([, backend]) => backend.close()));
});

function samplingGraph(tensors: TensorMaker): Graph {
  const g = new GraphBuilder("sampling");
  const x = g.embed(tensors.tensor("table", "F32", [VOCABULARY, VOCABULARY], 2));
  return g.finish(x, { contextLength: 512 });
}

async function open(backend: Backend, sequences: number, samplerSlots = sequences): Promise<ProgramRunner> {
  const tensors = new TensorMaker(11);
  const graph = samplingGraph(tensors);
  const options = { kv: "f32", context: 64, sequences, samplerSlots } as const;
  return ProgramRunner.create(backend, tensors.artifact(), graph, options);
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

const SAMPLERS: readonly Partial<SamplerParams>[] = [
  {},
  { temperature: 1 },
  { temperature: 0.7, topK: 20 },
  { temperature: 1.3, topP: 0.8 },
  { temperature: 1, minP: 0.05 },
  { temperature: 0.9, topK: 50, topP: 0.9, minP: 0.02, seed: 0xfedc_ba98_7654_3210n },
  { temperature: 0, repetitionPenalty: 1.7 },
  { temperature: 0, presencePenalty: 1.5, frequencyPenalty: 0.6 },
  { temperature: 0.8, repetitionPenalty: 1.3, presencePenalty: 0.4, frequencyPenalty: 0.2, seed: 5n },
  { temperature: 1, biasIds: Int32Array.of(7, 9, 11), biasValues: Float32Array.of(3, -Infinity, 6) },
  { temperature: 0, minTokens: 6, stopIds: Int32Array.from({ length: 280 }, (_, i) => i) },
  { temperature: 1, seed: 1n, sampleIndex: 3 },
  { temperature: 3, topK: 1 },
  { temperature: 1, topP: 0 },
];
const STEPS = 24;

interface Sampled {
  readonly ids: Int32Array[];
  readonly floats: Float32Array[];
  readonly top: Int32Array[];
}

/** One sequence for each sampler; every sampled token is fed and committed without JavaScript looking at it. */
async function sampleAll(backend: Backend): Promise<Sampled> {
  const count = SAMPLERS.length;
  const runner = await open(backend, count, count + 2);
  const sampled: Sampled = { ids: [], floats: [], top: [] };
  const keep = (result: StepResult): void => {
    sampled.ids.push(result.sampleIds);
    sampled.floats.push(result.sampleLogprobs, result.logprobs, result.logprobTopLogprobs);
    sampled.top.push(result.topIds, result.logprobTopIds);
  };
  const slotOf = (i: number): number => count + 1 - i;
  for (const [i, params] of SAMPLERS.entries()) runner.open(slotOf(i), params, [i, i + 1, i + 1]);
  const prompts: Feed[] = SAMPLERS.map((_, i) => ({ sequence: i, tokens: [i, i + 1, i + 1] }));
  const samples = SAMPLERS.map((_, i) => ({ row: 3 * i + 2, slot: slotOf(i), top: i === 0 ? 5 : i === 1 ? 20 : 0 }));
  const logprobs = [0, 5, 9].map((row) => ({ row, id: 17 * row, top: row === 5 ? 3 : 0 }));
  let last = runner.submit(prompts, { samples, logprobs });
  keep(await last.result);
  for (let step = 0; step < STEPS; step++) {
    const drawn = SAMPLERS.map((_, i) => ({ step: last.id, sample: i }));
    const feeds = drawn.map((token, i): Feed => ({ sequence: i, tokens: [token] }));
    for (const [i, token] of drawn.entries()) runner.commit(slotOf(i), token);
    const outputs = { samples: samples.map((sample, row) => ({ ...sample, row })), logprobs: [{ row: 2, id: 5 }] };
    last = runner.submit(feeds, outputs);
    keep(await last.result);
  }
  await runner.close();
  return sampled;
}

for (const [name, backend] of others) {
  test(`${name}: samples, alternatives and log-probabilities are the reference's`, async () => {
    const actual = await sampleAll(backend);
    const expected = await sampleAll(reference);
    assert.deepEqual(actual.ids, expected.ids);
    assert.deepEqual(actual.top, expected.top);
    assert.equal(actual.floats.length, expected.floats.length);
    for (const [i, floats] of expected.floats.entries()) {
      assert.equal(actual.floats[i]?.length, floats.length);
      for (const [j, wanted] of floats.entries()) {
        const x: number = actual.floats[i]?.[j] ?? NaN;
        const fine: boolean = x === wanted || Math.abs(x - wanted) <= 1e-5 * Math.max(1, Math.abs(wanted));
        assert.ok(fine, `${x}, the reference has ${wanted}`);
      }
    }
  });
}

test("reference: every sampler chooses a token of its own way", async () => {
  const { ids } = await sampleAll(reference);
  const answers = SAMPLERS.map((_, i) => ids.map((step) => step[i]).join(" "));
  // Top-k 1 at any temperature and top-p 0 are greedy, but their prompts differ, so all answers do.
  assert.equal(new Set(answers).size, answers.length);
  const stops = ids.slice(0, 6).map((step) => step[10] ?? 0);
  assert.ok(
    stops.every((id) => id >= 280),
    `no stop token in the first six: ${stops.join(" ")}`,
  );
});

// --- What counts for a sample. --------------------------------------------------------------------------------------

/** Row 5 of the table again and again: only what counts changes the answer. */
const PROMPT = [5];
const PENALISED: Partial<SamplerParams> = {
  presencePenalty: 2.5,
  frequencyPenalty: 1.25,
  repetitionPenalty: 1.1,
  minTokens: 4,
  stopIds: Int32Array.from({ length: 150 }, (_, i) => 2 * i),
};

/** The answer, one token a step; `between` may change slots before each step. */
async function answerOf(
  runner: ProgramRunner,
  length: number,
  between: (answer: readonly number[]) => void,
): Promise<number[]> {
  const answer: number[] = [];
  runner.open(0, PENALISED, PROMPT);
  for (let i = 0; i < length; i++) {
    // The token that is fed is always the same; the answer is what the slot says.
    const { sampleIds } = await runner.step([{ sequence: 0, tokens: PROMPT }], { samples: [{ row: 0, slot: 0 }] });
    answer.push(sampleIds[0] ?? -1);
    between(answer);
  }
  return answer;
}

for (const [name, backend] of all) {
  test(`${name}: a sample counts for nothing until it is committed`, async () => {
    const runner = await open(backend, 1);
    const answer = await answerOf(runner, 5, () => undefined);
    assert.equal(new Set(answer).size, 1, answer.join(" "));
    await runner.close();
  });

  test(`${name}: a slot opened again in mid-answer goes on exactly`, async () => {
    const straight = await open(backend, 1);
    const expected = await answerOf(straight, 16, (answer) => straight.commit(0, answer.at(-1) ?? -1));
    await straight.close();
    assert.ok(new Set(expected).size > 8, expected.join(" "));
    const preempted = await open(backend, 1);
    const found = await answerOf(preempted, 16, (answer) => {
      if (answer.length % 3 === 1) {
        preempted.commit(0, answer.at(-1) ?? -1);
        return;
      }
      // Half the time closed first, half the time simply opened.
      if (answer.length % 3 === 2) preempted.closeSlot(0);
      preempted.open(0, PENALISED, PROMPT, answer);
    });
    assert.deepEqual(found, expected);
    await preempted.close();
  });

  test(`${name}: three equal rows of one slot are one token, and drafted rows count as if committed`, async () => {
    const runner = await open(backend, 1, 2);
    const params = { presencePenalty: 3 };
    runner.open(0, params, PROMPT);
    const rows = [{ sequence: 0, tokens: [5, 5, 5] }];
    const equal = await runner.step(rows, { samples: upTo(3).map((row) => ({ row, slot: 0 })) });
    const [first = -1] = equal.sampleIds;
    assert.deepEqual([...equal.sampleIds], [first, first, first]);
    // A draft of token 5, which is likely until the answer has it twice: each sample counts the rows of its path.
    const likely = { biasIds: Int32Array.of(5), biasValues: Float32Array.of(50), frequencyPenalty: 30 };
    runner.open(1, likely, PROMPT);
    const drafted = await runner.step(rows, { samples: upTo(3).map((row) => counted(row, upTo(row + 1))) });
    const alone: number[] = [];
    for (let i = 0; i < 3; i++) {
      runner.commit(1, 5);
      const step = await runner.step([{ sequence: 0, tokens: PROMPT }], { samples: [{ row: 0, slot: 1 }] });
      alone.push(step.sampleIds[0] ?? -1);
    }
    assert.deepEqual([...drafted.sampleIds], alone);
    assert.equal(alone[0], 5);
    assert.notEqual(alone[1], 5);
    // Nothing but the lists counts.
    runner.open(1, likely, PROMPT);
    const ignored = await runner.step(rows, { samples: upTo(3).map((row) => counted(row, [])) });
    assert.deepEqual([...ignored.sampleIds], [5, 5, 5]);
    await runner.close();
  });

  test(`${name}: with hundreds of samples in a step each is the one taken alone`, async () => {
    const runner = await open(backend, 5, 1);
    runner.open(0, { temperature: 1, presencePenalty: 2, frequencyPenalty: 0.5, seed: 9n }, [1, 2], [3, 4, 4, 250]);
    const feeds = upTo(5).map((sequence) => ({ sequence, tokens: upTo(64).map((i) => (64 * sequence + i) % 300) }));
    const { sampleIds } = await runner.step(feeds, { samples: upTo(320).map((row) => ({ row, slot: 0 })) });
    runner.restart();
    const alone: number[] = [];
    for (const feed of feeds) {
      const step = await runner.step([feed], { samples: upTo(64).map((row) => ({ row, slot: 0 })) });
      alone.push(...step.sampleIds);
    }
    assert.deepEqual([...sampleIds], alone);
    assert.ok(new Set(alone).size > 50);
    await runner.close();
  });

  test(`${name}: logits that aren't finite give no sample, and harm no other row`, async () => {
    const tensors = new TensorMaker(1);
    const values = Array.from({ length: 40 * 40 }, (_, i) => Math.sin(i));
    for (const [row, wrong] of [NaN, Infinity, -Infinity].entries()) values[40 * (row + 1) + 7] = wrong;
    const g = new GraphBuilder("not finite");
    const graph = g.finish(g.embed(tensors.values("table", "F32", [40, 40], values)), { contextLength: 64 });
    const options = { kv: "f32", context: 16 } as const;
    const runner = await ProgramRunner.create(backend, tensors.artifact(), graph, options);
    for (const temperature of [0, 1]) {
      runner.restart();
      runner.open(0, { temperature }, []);
      const samples = upTo(5).map((row) => ({ row, slot: 0, top: 2 }));
      const { sampleIds } = await runner.step([{ sequence: 0, tokens: [0, 1, 2, 3, 4] }], { samples });
      assert.deepEqual([...sampleIds.subarray(1, 4)], [NOT_FINITE, NOT_FINITE, NOT_FINITE]);
      assert.ok((sampleIds[0] ?? -1) >= 0 && (sampleIds[4] ?? -1) >= 0);
    }
    await runner.close();
  });
}

function counted(row: number, rows: readonly number[]): SampleWish {
  return { row, slot: 1, counted: rows };
}

// --- Masks. ---------------------------------------------------------------------------------------------------------

/** The bits of the ids that a mask allows. */
function maskOf(ids: readonly number[]): Uint32Array {
  const mask = new Uint32Array(Math.ceil(VOCABULARY / 32));
  for (const id of ids) mask[id >> 5] = ((mask[id >> 5] ?? 0) | (1 << (id & 31))) >>> 0;
  return mask;
}

const ALLOWED = [3, 31, 32, 77, 130, 131, 200, 255, 256, 299];

for (const [name, backend] of all) {
  test(`${name}: masks that come late, in any order, and are dropped`, async () => {
    const runner = await open(backend, 4, 4);
    for (const slot of upTo(4)) runner.open(slot, { temperature: slot % 2, seed: 3n }, [slot]);
    const feeds = upTo(4).map((sequence) => ({ sequence, tokens: [9, 40 + sequence] }));
    const wishes = upTo(4).map((slot) => ({ row: 2 * slot + 1, slot }));
    const logits = wishes.map(({ row }) => row);
    const free = await runner.step(feeds, { samples: wishes, logits });

    const best = (sample: number): number =>
      ALLOWED.reduce((most, id) =>
        (free.logits[sample * VOCABULARY + id] ?? NaN) > (free.logits[sample * VOCABULARY + most] ?? NaN) ? id : most,
      );
    const masks = [undefined, maskOf(ALLOWED), maskOf(ALLOWED), "drop"] as const;
    for (const order of [
      [1, 2, 3],
      [3, 2, 1],
    ]) {
      for (const late of [false, true]) {
        runner.restart();
        const samples = wishes.map((wish, i) => ({ ...wish, masked: i > 0 }));
        const step = runner.submit(feeds, { samples });
        let ended = false;
        void step.result.then(() => (ended = true));
        for (const sample of order) {
          if (late) await new Promise((resolve) => setTimeout(resolve, 2));
          assert.equal(ended, false, "a step ended before its last mask came");
          step.mask(sample, masks[sample] ?? assert.fail());
        }
        const { sampleIds, sampleLogprobs } = await step.result;
        assert.equal(sampleIds[0], free.sampleIds[0], "a sample without a mask is what it was");
        assert.equal(sampleLogprobs[0], free.sampleLogprobs[0]);
        assert.ok(ALLOWED.includes(sampleIds[1] ?? -1), `${sampleIds[1]} is forbidden`);
        assert.equal(sampleIds[2], best(2), "the greedy one is the best of the allowed");
        assert.equal(sampleIds[3], NO_SAMPLE);
      }
    }
    await runner.close();
  });

  test(`${name}: a mask that allows nothing gives no sample, and lifts the ban of stop tokens`, async () => {
    const runner = await open(backend, 1, 3);
    runner.open(0, {}, []);
    runner.open(1, { minTokens: 2, stopIds: Int32Array.of(77, 131) }, []);
    runner.open(2, { minTokens: 2, stopIds: Int32Array.from(upTo(VOCABULARY)) }, []);
    const samples = [0, 1, 1, 2].map((slot, i) => ({ row: 0, slot, masked: i < 3 }));
    const step = runner.submit([{ sequence: 0, tokens: [8] }], { samples });
    step.mask(0, maskOf([]));
    step.mask(1, maskOf([77]));
    step.mask(2, maskOf([77, 200]));
    assert.deepEqual([...(await step.result).sampleIds], [NO_SAMPLE, 77, 200, NO_SAMPLE]);
    assert.throws(() => step.mask(3, "drop"));
    assert.throws(() => step.mask(0, "drop"));
    await runner.close();
  });

  test(`${name}: while a mask is missing no later step begins, and its samples can be named`, async () => {
    const runner = await open(backend, 1, 1);
    runner.open(0, {}, []);
    const first = runner.submit([{ sequence: 0, tokens: [8] }], { samples: [{ row: 0, slot: 0, masked: true }] });
    const second = runner.submit([{ sequence: 0, tokens: [{ step: first.id, sample: 0 }] }], { logits: [0] });
    const ended: string[] = [];
    void first.result.then(() => ended.push("first"));
    void second.result.then(() => ended.push("second"));
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual(ended, []);
    first.mask(0, maskOf([131]));
    const { logits } = await second.result;
    assert.deepEqual(ended, ["first", "second"]);
    runner.restart();
    const known = await runner.step([{ sequence: 0, tokens: [8, 131] }], { logits: [1] });
    assert.deepEqual(logits, known.logits);
    await runner.close();
  });
}
