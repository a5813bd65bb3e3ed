/**
 * One suite for every backend: each op in tiny graphs with exact inputs, in every weight format and KV type. A
 * backend's logits must agree within 1e-5 of the row's largest with the reference's on the backend's own lowered
 * graph, where the roundings stand as ops; sampled ids must be equal.
 */
import assert from "node:assert/strict";
import test, { after } from "node:test";
import { openIsas } from "../../test/support/backends.ts";
import { TensorMaker } from "../../test/support/memory-artifact.ts";
import { Random } from "../../test/support/random.ts";
import { opCases, VOCABULARY, type OpCase } from "../../test/support/op-cases.ts";
import { GraphBuilder } from "../graph/builder.ts";
import type { Graph, Op } from "../graph/graph.ts";
import { withInputs } from "../graph/passes.ts";
import { printGraph } from "../graph/printer.ts";
import { OP_TRAITS } from "../graph/traits.ts";
import type { Backend, Lowered } from "./contract.ts";
import { groupStates } from "./groups.ts";
import { ProgramRunner, type Feed } from "./program-runner.ts";
import { createReferenceBackend } from "./reference/backend.ts";

const TOLERANCE = 1e-5;
const CONTEXT = 512;

const reference = createReferenceBackend();
const others = (await openIsas(2)).map((backend) => [backend.profile("f32"), backend] as const);
/** The reference's answers by case and lowered graph: a backend's instruction sets share them. */
const expectations = new Map<string, Float32Array[]>();
/** The ops that each backend was seen to run. */
const seen = new Map<string, Set<Op>>(others.map(([name]) => [name, new Set<Op>()]));
after(async () => {
  await Promise.all(others.map(([, backend]) => backend.close()));
});

function lower(backend: Backend, opCase: OpCase, graph: Graph, tensors: TensorMaker): Lowered {
  return backend.lower(graph, tensors.artifact(), groupStates([graph], opCase.kv));
}

/** Runs the steps; gives each step's logits of all its rows. */
async function run(backend: Backend, opCase: OpCase, lowered: Lowered): Promise<Float32Array[]> {
  const options = { kv: opCase.kv, context: CONTEXT, sequences: 2 };
  const [runner] = await ProgramRunner.open(backend, [lowered], options);
  assert.ok(runner !== undefined);
  const random = new Random(7);
  const tokens = Math.min(VOCABULARY, lowered.graph.vocabSize);
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
    return steps;
  } finally {
    await runner.close();
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
      const lowered = lower(backend, opCase, graph, tensors);
      const actual = await run(backend, opCase, lowered);
      const key = `${opCase.name}\n${printGraph(lowered.graph)}`;
      const expected = expectations.get(key) ?? (await run(reference, opCase, lowered));
      expectations.set(key, expected);
      for (const { op } of lowered.graph.nodes) seen.get(name)?.add(op);
      assert.equal(actual.length, expected.length);
      for (const [i, logits] of actual.entries())
        assertAgree(logits, expected[i] ?? assert.fail(), graph.vocabSize, opCase, i);
    });
  });

  test(`${name}: the cases covered every op`, () => {
    // What adapters add has a suite of its own: adapter-cases.test.ts.
    const plain = ["attention", "latentAttention", "lora"];
    const ops = Object.keys(OP_TRAITS).filter((op) => !plain.includes(op));
    assert.deepEqual([...(seen.get(name) ?? [])].toSorted(), ops.toSorted());
  });
}

for (const [name, backend] of [["reference", reference] as const, ...others]) {
  test(`${name}: a latent state gives the bits of one that holds its values twice`, async () => {
    // In q8 a key's scale rounds its first columns otherwise than one of their own would.
    const cases = opCases().filter((each) => each.name.startsWith("latent attention") && each.kv !== "q8");
    for (const opCase of cases) {
      const tensors = new TensorMaker(5);
      const graph = opCase.graph(tensors);
      const latent = await run(backend, opCase, lower(backend, opCase, graph, tensors));
      const twice = await run(backend, opCase, lower(backend, opCase, withValues(graph), tensors));
      assert.deepEqual(latent, twice);
    }
  });
}

/** Latent attention as attention with values of their own. */
function withValues(graph: Graph): Graph {
  const g = new GraphBuilder(graph.name);
  for (const state of graph.states) g.state({ ...state, kind: "kv" } as typeof state);
  for (const node of graph.nodes) {
    if (node.op !== "latentAttention") {
      g.push(node);
      continue;
    }
    const { inputs, op: _op, ...options } = node;
    const state = graph.states[options.state];
    assert.ok(state?.kind === "latent-kv");
    // The logits are the last node, so the slice moves nobody.
    const values = g.slice(inputs[1], 0, state.valueDim);
    g.output("logits", g.attention(inputs[0], inputs[1], values, options));
  }
  return g.build(graph);
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
  for (const [output, value] of graph.outputs) g.output(output, renamed[value] ?? -1);
  return g.build(graph);
}

test("reference: attention split into kvWrite and attendState has the same bits", async () => {
  for (const opCase of opCases().filter(({ name }) => /^attention (GQA|a window|sinks|slopes)|^three/.test(name))) {
    const tensors = new TensorMaker(3);
    const lowered = lower(reference, opCase, opCase.graph(tensors), tensors);
    const whole = await run(reference, opCase, lowered);
    const split = await run(reference, opCase, { ...lowered, graph: splitAttention(lowered.graph) });
    assert.deepEqual(split, whole);
  }
});

test("reference: a case's logits change when one weight does", async () => {
  // The comparison above can fail: the same graph over other random weights doesn't agree.
  const opCase = opCases().find(({ name }) => name === "linear Q4_K");
  assert.ok(opCase !== undefined);
  const [one, other] = [new TensorMaker(1), new TensorMaker(2)];
  const a = await run(reference, opCase, lower(reference, opCase, opCase.graph(one), one));
  const b = await run(reference, opCase, lower(reference, opCase, opCase.graph(other), other));
  assert.throws(() => assertAgree(a[0] ?? new Float32Array(0), b[0] ?? new Float32Array(0), 37, opCase, 0));
});
