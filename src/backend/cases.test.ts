/**
 * One suite for every backend: each op in tiny graphs with exact inputs, in every weight format and KV type. A
 * backend's logits must agree within 1e-5 of the row's largest with the reference's on the backend's own lowered
 * graph, where the roundings stand as ops; sampled ids must be equal.
 */
import assert from "node:assert/strict";
import test, { after } from "node:test";
import { GREEDY, ProgramRunner, type Feed, type Outputs } from "./program-runner.ts";
import { openIsas } from "../../test/support/backends.ts";
import { TensorMaker } from "../../test/support/memory-artifact.ts";
import { Random } from "../../test/support/random.ts";
import { opCases, VOCABULARY, type OpCase } from "../../test/support/op-cases.ts";
import { GraphBuilder } from "../graph/builder.ts";
import type { Graph, Op } from "../graph/graph.ts";
import { withInputs } from "../graph/passes.ts";
import { printGraph } from "../graph/printer.ts";
import type { Backend, SamplerParams, StepResult } from "./contract.ts";
import { createReferenceBackend } from "./reference/backend.ts";

const TOLERANCE = 1e-5;
const CONTEXT = 512;
const LOWERED: readonly Op[] = ["quantize", "kvWrite", "attendState"];

const reference = createReferenceBackend();
const others = (await openIsas(2)).map((backend) => [backend.profile("f32"), backend] as const);
/** The reference's answers by case and lowered graph: a backend's instruction sets share them. */
const expectations = new Map<string, Awaited<ReturnType<typeof run>>>();
/** The ops that each backend was seen to run. */
const seen = new Map<string, Set<Op>>(others.map(([name]) => [name, new Set<Op>()]));
after(async () => {
  await Promise.all(others.map(([, backend]) => backend.close()));
});

/** Runs the steps; gives each step's logits of all its rows. */
async function run(
  backend: Backend,
  opCase: OpCase,
  graph: Graph,
  tensors: TensorMaker,
): Promise<{ lowered: Graph; steps: Float32Array[] }> {
  const options = { kv: opCase.kv, context: CONTEXT, sequences: 2 };
  const runner = await ProgramRunner.create(backend, tensors.artifact(), graph, options);
  const random = new Random(7);
  const tokens = Math.min(VOCABULARY, graph.vocabSize);
  const steps: Float32Array[] = [];
  try {
    for (const counts of opCase.steps) {
      const feeds: Feed[] = counts.flatMap((count, sequence) =>
        count === 0 ? [] : [{ sequence, tokens: Array.from({ length: count }, () => random.below(tokens)) }],
      );
      const rows = feeds.reduce((sum, { tokens }) => sum + tokens.length, 0);
      const { logits } = await runner.step(feeds, { logits: Array.from({ length: rows }, (_, i) => rows - 1 - i) });
      steps.push(logits);
    }
    return { lowered: runner.program.lowered, steps };
  } finally {
    runner.close();
  }
}

function assertAgree(actual: Float32Array, expected: Float32Array, width: number, opCase: OpCase, step: number): void {
  assert.equal(actual.length, expected.length);
  let beyond = 0;
  let worst = 0;
  for (let row = 0; row < expected.length; row += width) {
    const largest = expected.subarray(row, row + width).reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    assert.ok(Number.isFinite(largest), `${opCase.name}: the reference gives ${largest}`);
    for (let i = row; i < row + width; i++) {
      const difference = Math.abs((actual[i] ?? NaN) - (expected[i] ?? NaN));
      const relative = difference === 0 ? 0 : difference / largest;
      // Not `>`: a difference that isn't a number is beyond.
      if (!(relative <= TOLERANCE)) beyond += 1;
      worst = Number.isNaN(relative) ? Infinity : Math.max(worst, relative);
    }
  }
  const fine = opCase.roundsInside === true ? beyond <= expected.length / 20 && worst <= 0.01 : beyond === 0;
  const facts = `${beyond} of ${expected.length} values differ, the worst by ${worst.toExponential(2)} of its row's largest`;
  assert.ok(fine, `step ${step} (${opCase.steps[step]?.join(" + ")} rows): ${facts}`);
}

for (const [name, backend] of others) {
  opCases().forEach((opCase, index) => {
    test(`${name}: ${opCase.name}`, async () => {
      const tensors = new TensorMaker(index + 1);
      const graph = opCase.graph(tensors);
      const actual = await run(backend, opCase, graph, tensors);
      const key = `${opCase.name}\n${printGraph(actual.lowered)}`;
      const expected = expectations.get(key) ?? (await run(reference, opCase, actual.lowered, tensors));
      expectations.set(key, expected);
      for (const { op } of actual.lowered.nodes) seen.get(name)?.add(op);
      actual.steps.forEach((logits, i) => assertAgree(logits, expected.steps[i] ?? logits, graph.vocabSize, opCase, i));
    });
  });

  test(`${name}: the cases covered every op`, () => {
    const plain = new Set(
      opCases().flatMap((opCase, i) => opCase.graph(new TensorMaker(i + 1)).nodes.map(({ op }) => op)),
    );
    plain.delete("attention");
    const missing = [...plain, ...LOWERED].filter((op) => seen.get(name)?.has(op) !== true);
    assert.deepEqual(missing, []);
  });
}

/** Attention as a write and a read, the one lowering that rounds nothing with F32 KV. */
function splitAttention(graph: Graph): Graph {
  const g = new GraphBuilder(graph.name);
  for (const state of graph.states) g.state(state);
  const renamed: number[] = [];
  for (const node of graph.nodes) {
    const copy = withInputs(node, (value) => renamed[value] ?? -1);
    if (copy.op !== "attention") {
      renamed.push(g.push(copy));
      continue;
    }
    const { inputs, op: _op, ...options } = copy;
    g.kvWrite(inputs[1], inputs[2], options.state);
    renamed.push(g.attendState(inputs[0], options));
  }
  return g.finish(renamed[graph.logits] ?? -1, { contextLength: graph.contextLength });
}

test("reference: attention split into kvWrite and attendState has the same bits", async () => {
  for (const opCase of opCases().filter(({ name }) => /^attention (GQA|a window)|^three/.test(name))) {
    const tensors = new TensorMaker(3);
    const graph = opCase.graph(tensors);
    const whole = await run(reference, opCase, graph, tensors);
    const split = await run(reference, opCase, splitAttention(graph), tensors);
    assert.deepEqual(split.steps, whole.steps);
  }
});

test("reference: a case's logits change when one weight does", async () => {
  // The comparison above can fail: the same graph over other random weights doesn't agree.
  const opCase = opCases().find(({ name }) => name === "linear Q4_K");
  assert.ok(opCase !== undefined);
  const [one, other] = [new TensorMaker(1), new TensorMaker(2)];
  const a = await run(reference, opCase, opCase.graph(one), one);
  const b = await run(reference, opCase, opCase.graph(other), other);
  assert.throws(() => assertAgree(a.steps[0] ?? new Float32Array(0), b.steps[0] ?? new Float32Array(0), 37, opCase, 0));
});

// --- Sampling: logits are rows of a table, so every backend has them exactly. ---------------------------------------

const SAMPLED = 300;

function samplingGraph(tensors: TensorMaker): Graph {
  const g = new GraphBuilder("sampling");
  const x = g.embed(tensors.tensor("table", "F32", [SAMPLED, SAMPLED], 2));
  return g.finish(g.rows(x), { contextLength: CONTEXT });
}

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

interface Sampled {
  readonly ids: Int32Array[];
  readonly floats: Float32Array[];
  readonly top: Int32Array[];
}

/** One sequence for each sampler; every sampled token is fed to the next step without JavaScript looking at it. */
async function sampleAll(backend: Backend): Promise<Sampled> {
  const tensors = new TensorMaker(11);
  const graph = samplingGraph(tensors);
  const count = SAMPLERS.length;
  const options = { kv: "f32", context: 64, sequences: count, samplerSlots: count + 2 } as const;
  const runner = await ProgramRunner.create(backend, tensors.artifact(), graph, options);
  const sampled: Sampled = { ids: [], floats: [], top: [] };
  const keep = (result: StepResult): void => {
    sampled.ids.push(result.sampleIds);
    sampled.floats.push(result.sampleLogprobs, result.logprobs);
    sampled.top.push(result.topIds.slice(0, 5), result.topIds.slice(20, 40));
  };
  try {
    const slotOf = (i: number): number => count + 1 - i;
    SAMPLERS.forEach((params, i) => {
      runner.program.openSampler(slotOf(i), { ...GREEDY, ...params }, Int32Array.of(i, i + 1, i + 1));
    });
    const prompts: Feed[] = SAMPLERS.map((_, i) => ({ sequence: i, tokens: [i, i + 1, i + 1] }));
    const samples = SAMPLERS.map((_, i) => ({ row: 3 * i + 2, slot: slotOf(i), top: i === 0 ? 5 : i === 1 ? 20 : 0 }));
    const logprobs = [0, 5, 9].map((row) => ({ row, id: 17 * row }));
    keep(await runner.step(prompts, { samples, logprobs }));
    for (let step = 0; step < 24; step++) {
      const feeds = SAMPLERS.map((_, i): Feed => ({ sequence: i, tokens: [-1 - i] }));
      const outputs: Outputs = {
        samples: samples.map((sample, row) => ({ ...sample, row })),
        logprobs: [{ row: 2, id: 5 }],
      };
      keep(await runner.step(feeds, outputs));
    }
    return sampled;
  } finally {
    runner.close();
  }
}

for (const [name, backend] of others) {
  test(`${name}: samples, alternatives and log-probabilities are the reference's`, async () => {
    const actual = await sampleAll(backend);
    const expected = await sampleAll(reference);
    assert.deepEqual(actual.ids, expected.ids);
    assert.deepEqual(actual.top, expected.top);
    actual.floats.forEach((floats, i) => {
      floats.forEach((x, j) => {
        const wanted = expected.floats[i]?.[j] ?? NaN;
        assert.ok(Math.abs(x - wanted) <= 1e-5 * Math.max(1, Math.abs(wanted)), `${x}, the reference has ${wanted}`);
      });
    });
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

// --- State: copies inside a step, blocks as bytes. ---------------------------------------------------------------------

for (const [name, backend] of [["reference", reference] as const, ...others]) {
  for (const way of ["fork", "transfer"] as const) {
    test(`${name}: a sequence goes on from copied blocks (${way}) with the same bits`, async () => {
      const opCase = opCases().find(({ name }) => name === "three layers in two state groups");
      assert.ok(opCase !== undefined);
      const tensors = new TensorMaker(5);
      const graph = opCase.graph(tensors);
      for (const kv of ["f16", "f32", "q8"] as const) {
        const options = { kv, context: CONTEXT, sequences: 2 };
        const runner = await ProgramRunner.create(backend, tensors.artifact(), graph, options);
        try {
          const random = new Random(9);
          const tokens = Array.from({ length: 45 }, () => random.below(graph.vocabSize));
          await runner.step([{ sequence: 0, tokens }], {});
          runner[way](0, 1);
          const logits = [0, 1, 2];
          const copied = await runner.step([{ sequence: 1, tokens: [1, 2, 3] }], { logits });
          const original = await runner.step([{ sequence: 0, tokens: [1, 2, 3] }], { logits });
          assert.deepEqual(copied.logits, original.logits);
          assert.ok(original.logits.some((x) => x !== 0));
        } finally {
          runner.close();
        }
      }
    });
  }
}
