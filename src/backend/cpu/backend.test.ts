import assert from "node:assert/strict";
import { mkdtemp, open, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import test, { after } from "node:test";
import { Worker } from "node:worker_threads";

import { TensorMaker } from "../../../test/support/memory-artifact.ts";
import { GREEDY, ProgramRunner, type Feed } from "../program-runner.ts";
import type { ModelArtifact, Tensor } from "../../artifact/artifact.ts";
import type { DType } from "../../artifact/dtype.ts";
import { fileSource } from "../../artifact/node-file.ts";
import { ArtifactError, MemoryError, NativeError, UnsupportedError } from "../../errors.ts";
import { GraphBuilder } from "../../graph/builder.ts";
import type { Graph, Value, WeightRef } from "../../graph/graph.ts";
import { groupStates } from "../groups.ts";
import type { Backend, Program, StepPlan } from "../contract.ts";
import { cpuIsas, createCpuBackend } from "./backend.ts";

const VOCABULARY = 48;
const WIDTH = 64;
const backend = await createCpuBackend({ threads: 2 });
after(() => backend.close());

/** A transformer of two layers whose linears are Q4_0, Q8_0 and F16, with a window in its second layer. */
function tinyModel(tensors: TensorMaker): Graph {
  const g = new GraphBuilder("tiny");
  const frequencies = Float32Array.from({ length: 8 }, (_, i) => 10_000 ** (-i / 8));
  let x: Value = g.embed(tensors.tensor("table", "Q8_0", [VOCABULARY, WIDTH]));
  for (const layer of [0, 1]) {
    const weight = (name: string, dtype: "Q4_0" | "Q8_0" | "F16", n: number, k: number): WeightRef =>
      tensors.tensor(`${layer}.${name}`, dtype, [n, k], 0.2);
    const norm = (name: string): WeightRef => tensors.tensor(`${layer}.${name}`, "F32", [WIDTH], 0.1, 1);
    const state = g.state({
      ...(layer === 0 ? { kind: "kv" as const } : { kind: "window-kv" as const, window: 40 }),
      name: `layer ${layer}`,
      kvHeads: 2,
      keyDim: 16,
      valueDim: 16,
    });
    const h = g.rmsNorm(x, norm("norm1"), { eps: 1e-5 });
    const rope = { headDim: 16, style: "half", frequencies, magnitude: 1 } as const;
    const q = g.rope(g.linear(h, weight("q", "Q8_0", 64, WIDTH)), rope);
    const k = g.rope(g.linear(h, weight("k", "Q8_0", 32, WIDTH)), rope);
    const v = g.linear(h, weight("v", "Q8_0", 32, WIDTH));
    const a = g.attention(q, k, v, { state, heads: 4, scale: 0.25 });
    x = g.add(x, g.linear(a, weight("o", "F16", WIDTH, 64)));
    const m = g.rmsNorm(x, norm("norm2"), { eps: 1e-5 });
    const inner = g.gate(
      g.linear(m, weight("gate", "Q4_0", 96, WIDTH)),
      g.linear(m, weight("up", "Q4_0", 96, WIDTH)),
      "silu",
    );
    x = g.add(x, g.linear(inner, weight("down", "Q4_0", WIDTH, 96)));
  }
  const last = g.rmsNorm(x, tensors.tensor("norm", "F32", [WIDTH], 0.1, 1), { eps: 1e-5 });
  const logits = g.linear(g.rows(last), tensors.tensor("head", "Q8_0", [VOCABULARY, WIDTH], 0.2));
  return g.finish(logits, { contextLength: 512 });
}

function sequenceOf(count: number, seed: number): number[] {
  return Array.from({ length: count }, (_, i) => (i * 7 + seed * 13 + ((i * i) % 11)) % VOCABULARY);
}

/** Logits of all rows of a few ragged steps. */
async function stepsOf(on: Backend, cuts: readonly (readonly [number, number])[]): Promise<Float32Array[][]> {
  const tensors = new TensorMaker(1);
  const graph = tinyModel(tensors);
  const runner = await ProgramRunner.create(on, tensors.artifact(), graph, { kv: "f16", context: 320, sequences: 2 });
  const all: Float32Array[][] = [[], []];
  const done = [0, 0];
  try {
    for (const cut of cuts) {
      const feeds: Feed[] = [];
      for (const [sequence, count] of cut.entries()) {
        const from = done[sequence] ?? 0;
        if (count > 0) feeds.push({ sequence, tokens: sequenceOf(320, sequence).slice(from, from + count) });
        done[sequence] = from + count;
      }
      const rows = feeds.flatMap(({ sequence, tokens }) => tokens.map(() => sequence));
      const { logits } = await runner.step(feeds, { logits: rows.map((_, i) => i) });
      for (const [i, sequence] of rows.entries()) {
        all[sequence]?.push(logits.slice(i * VOCABULARY, (i + 1) * VOCABULARY));
      }
    }
    return all;
  } finally {
    runner.close();
  }
}

test("neither threads nor chunks change a bit, on every instruction set", async () => {
  const alone = Array.from({ length: 300 }, () => [1, 0] as const);
  for (const isa of await cpuIsas()) {
    const results: Float32Array[][][] = [];
    for (const threads of [1, 2, 3]) {
      const on = await createCpuBackend({ threads, isa });
      assert.equal(on.isa, isa);
      if (threads === 1) results.push(await stepsOf(on, alone));
      results.push(
        await stepsOf(on, [
          [300, 60],
          [0, 3],
          [0, 17],
          [0, 1],
        ]),
      );
      results.push(
        await stepsOf(on, [
          [7, 1],
          [129, 30],
          [1, 9],
          [1, 1],
          [2, 0],
          [160, 40],
        ]),
      );
      await on.close();
    }
    const [first, ...others] = results;
    for (const other of others) {
      assert.deepEqual(other[0], first?.[0]);
      assert.equal(other[1]?.length, 81);
      assert.deepEqual(other[1], results[1]?.[1]);
    }
  }
});

async function tinyProgram(): Promise<{ program: Program; plan: () => StepPlan; close: () => void }> {
  const tensors = new TensorMaker(1);
  const graph = tinyModel(tensors);
  const groups = groupStates(graph);
  const weights = await backend.upload(tensors.artifact(), graph);
  const pool = backend.allocate(graph, groups, [4, 4], "f32");
  const program = backend.compile(graph, weights, pool, {
    maxTokens: 32,
    maxSequences: 2,
    maxOutputs: 8,
    samplerSlots: 2,
  });
  const plan = (): StepPlan => ({
    tokenCount: 3,
    sequenceCount: 1,
    tokens: Int32Array.of(1, 2, 3),
    positions: Int32Array.of(0, 1, 2),
    queryStarts: Int32Array.of(0, 3),
    blockTables: groups.map(() => ({ ids: Int32Array.of(2, -1), stride: 2 })),
    copyCount: 0,
    copies: new Int32Array(6),
    sampleCount: 1,
    sampleRows: Int32Array.of(2),
    sampleSlots: Int32Array.of(0),
    sampleTop: Int32Array.of(3),
    logprobCount: 1,
    logprobRows: Int32Array.of(0),
    logprobIds: Int32Array.of(5),
    logitCount: 1,
    logitRows: Int32Array.of(1),
  });
  const close = (): void => {
    program.close();
    pool.close();
    weights.close();
  };
  return { program, plan, close };
}

test("a plan that doesn't fit is refused, and harms nothing", async () => {
  const { program, plan, close } = await tinyProgram();
  program.openSampler(0, GREEDY, Int32Array.of(1, 2, 3));
  const before = (await program.run(plan())).logits.slice(0, VOCABULARY);
  const bad: [RegExp, (plan: StepPlan) => void][] = [
    [/token id/, (p) => (p.tokens[1] = VOCABULARY)],
    [/reference to a sample/, (p) => (p.tokens[1] = -2)],
    [/token count/, (p) => (p.tokenCount = 33)],
    [/token count/, (p) => (p.tokenCount = 0)],
    [/shorter than its count/, (p) => ((p.tokenCount = 4), (p.queryStarts[1] = 4))],
    [/sequence count/, (p) => (p.sequenceCount = 3)],
    [/query start/, (p) => (p.queryStarts[1] = 2)],
    [/query start/, (p) => (p.queryStarts[0] = 1)],
    [/position/, (p) => (p.positions[0] = -1)],
    [/consecutive/, (p) => (p.positions[2] = 7)],
    [/block id \(4/, (p) => p.blockTables[0]?.ids.fill(4)],
    [/block id \(-1/, (p) => p.blockTables[1]?.ids.fill(-1)],
    [/blocks of a sequence/, (p) => p.positions.set([40, 41, 42])],
    [/block id \(-1/, (p) => p.positions.set([15, 16, 17])],
    [/block of a copy/, (p) => ((p.copyCount = 1), p.copies.set([0, 1, 4]))],
    [/state group/, (p) => ((p.copyCount = 1), p.copies.set([2, 1, 1]))],
    [/shorter than its count/, (p) => (p.copyCount = 3)],
    [/shorter than its count|output count/, (p) => (p.copyCount = -1)],
    [/output row/, (p) => (p.sampleRows[0] = 3)],
    [/output row/, (p) => (p.logitRows[0] = -1)],
    [/output count/, (p) => (p.sampleCount = 9)],
    [/output count/, (p) => (p.sampleCount = -1)],
    [/isn't open/, (p) => (p.sampleSlots[0] = 1)],
    [/isn't open/, (p) => (p.sampleSlots[0] = 2)],
    [/alternatives/, (p) => (p.sampleTop[0] = 21)],
    [/logprob/, (p) => (p.logprobIds[0] = VOCABULARY)],
  ];
  for (const [message, spoil] of bad) {
    const spoiled = plan();
    spoil(spoiled);
    await assert.rejects(
      program.run(spoiled),
      (error) => error instanceof NativeError && message.test(error.message),
      `${message}`,
    );
  }
  assert.deepEqual((await program.run(plan())).logits.slice(0, VOCABULARY), before);
  assert.throws(() => program.openSampler(2, GREEDY, new Int32Array(0)), NativeError);
  assert.throws(() => program.openSampler(1, GREEDY, Int32Array.of(VOCABULARY)), /outside of the vocabulary/);
  close();
});

test("one step at a time; closing while one runs is safe", async () => {
  const { program, plan, close } = await tinyProgram();
  program.openSampler(0, GREEDY, new Int32Array(0));
  const running = program.run(plan());
  await assert.rejects(program.run(plan()), /runs a step already/);
  await running;
  const last = program.run(plan());
  close();
  await assert.rejects(last, /closed/);
  assert.throws(() => program.openSampler(0, GREEDY, new Int32Array(0)), /closed/);
});

/** The artifact's tensors in one file, so that they have a descriptor. */
async function inFile(
  t: test.TestContext,
  artifact: ModelArtifact,
): Promise<{ file: string; artifact: ModelArtifact }> {
  const folder = await mkdtemp(path.join(tmpdir(), "millrace-upload-"));
  t.after(() => rm(folder, { recursive: true }));
  const file = path.join(folder, "weights.bin");
  const handle = await open(file, "w");
  const offsets = new Map<string, number>();
  let offset = 0;
  for (const tensor of artifact.tensors.values()) {
    await handle.write(await tensor.source.read(tensor.offset, tensor.byteLength), 0, tensor.byteLength, offset);
    offsets.set(tensor.name, offset);
    offset += tensor.byteLength;
  }
  await handle.close();
  const source = await fileSource(file);
  t.after(() => source.close());
  assert.notEqual(source.fd, undefined);
  const tensors = [...artifact.tensors.values()].map((tensor): [string, Tensor] => [
    tensor.name,
    { ...tensor, source, offset: offsets.get(tensor.name) ?? 0 },
  ]);
  return { file, artifact: { ...artifact, tensors: new Map(tensors) } };
}

/** Logits after a few tokens. */
async function logitsOf(artifact: ModelArtifact, graph: Graph): Promise<Float32Array> {
  const runner = await ProgramRunner.create(backend, artifact, graph, { kv: "f32", context: 32 });
  const { logits } = await runner.step([{ sequence: 0, tokens: [1, 2, 3] }], { logits: [0, 1, 2] });
  runner.close();
  return logits;
}

test("weights from a file descriptor are those from bytes; progress reaches its end", async (t) => {
  const tensors = new TensorMaker(1);
  const graph = tinyModel(tensors);
  const { artifact } = await inFile(t, tensors.artifact());
  assert.deepEqual(await logitsOf(artifact, graph), await logitsOf(tensors.artifact(), graph));
  const seen: number[] = [];
  const weights = await backend.upload(artifact, graph, {
    onProgress: ({ loadedBytes, totalBytes }) => seen.push(loadedBytes / totalBytes),
  });
  weights.close();
  assert.equal(seen[0], 0);
  assert.equal(seen.at(-1), 1);
  assert.ok(seen.every((share, i) => i === 0 || share >= (seen[i - 1] ?? 0)));
});

test("a file that shrank while it is read, a missing tensor, an abort: errors that say so", async (t) => {
  const tensors = new TensorMaker(1);
  const graph = tinyModel(tensors);
  const { file, artifact } = await inFile(t, tensors.artifact());
  const signal = AbortSignal.abort(new Error("enough"));
  await assert.rejects(backend.upload(artifact, graph, { signal }), /enough/);
  await truncate(file, 5000);
  await assert.rejects(
    backend.upload(artifact, graph),
    (error) => error instanceof NativeError && /weights\.bin, tensor .*the file ends/.test(error.message),
  );
  const less = new Map(artifact.tensors);
  less.delete("1.up");
  await assert.rejects(backend.upload({ ...artifact, tensors: less }, graph), (error) => {
    return error instanceof ArtifactError && /1\.up/.test(error.message);
  });
  await writeFile(file, "");
});

test("weights of several parts: transposed, and of mixed formats", async () => {
  const tensors = new TensorMaker(4);
  const rows = (name: string, from: number, count: number) => ({ tensor: name, rowStart: from, rowCount: count });
  const g = new GraphBuilder("parts");
  const x = g.embed(tensors.tensor("table", "F32", [VOCABULARY, 64]));
  const values = Array.from({ length: 64 * 40 }, (_, i) => ((i * 37) % 101) / 50 - 1);
  tensors.values("conv", "F32", [64, 40], values);
  const straight = Array.from({ length: 40 * 64 }, (_, i) => values[(i % 64) * 40 + Math.floor(i / 64)] ?? 0);
  tensors.values("linear", "F32", [40, 64], straight);
  tensors.tensor("a", "Q8_0", [24, 64]);
  tensors.tensor("b", "Q4_0", [40, 64]);
  const conv = g.linear(x, { name: "conv", shape: [40, 64], parts: [{ tensor: "conv", transpose: true }] });
  const plain = g.linear(x, { name: "linear", shape: [40, 64], parts: [{ tensor: "linear" }] });
  const mixed = g.linear(x, {
    name: "mixed",
    shape: [48, 64],
    parts: [rows("a", 3, 13), rows("b", 8, 32), rows("a", 0, 3)],
  });
  const a = g.linear(x, { name: "a", shape: [24, 64], parts: [{ tensor: "a" }] });
  const b = g.linear(x, { name: "b", shape: [40, 64], parts: [{ tensor: "b" }] });
  const check = (values_: readonly Value[], width: number): Value =>
    values_.map((v) => g.slice(v, 0, width)).reduce((sum, v, i) => g.add(sum, g.scale(v, 10 ** -i)));
  const first = g.add(g.slice(conv, 0, 40), g.scale(plain, -1));
  const second = g.add(g.slice(mixed, 0, 13), g.scale(g.slice(a, 3, 13), -1));
  const third = g.add(g.slice(mixed, 13, 32), g.scale(g.slice(b, 8, 32), -1));
  const fourth = g.add(g.slice(mixed, 45, 3), g.scale(g.slice(a, 0, 3), -1));
  const graph = g.finish(
    g.rows(
      check(
        [first, second, third, fourth].map((v) => g.slice(v, 0, 3)),
        3,
      ),
    ),
    { contextLength: 32 },
  );
  assert.ok(
    (await logitsOf(tensors.artifact(), graph)).every((v) => v === 0),
    "equal rows give equal bits",
  );
  const other = g.finish(g.rows(check([conv, mixed, a, b], 24)), { contextLength: 32 });
  assert.ok((await logitsOf(tensors.artifact(), other)).some((v) => v !== 0));

  const float = new GraphBuilder("mixed");
  const y = float.embed({ name: "table", shape: [VOCABULARY, 64], parts: [{ tensor: "table" }] });
  const parts = [{ tensor: "a" }, { tensor: "linear" }];
  const joined = float.linear(y, { name: "joined", shape: [64, 64], parts });
  const unsupported = float.finish(float.rows(joined), { contextLength: 32 });
  await assert.rejects(logitsOf(tensors.artifact(), unsupported), UnsupportedError);
});

test("experts put together from tensors of their own are those of stacked tensors", async () => {
  const tensors = new TensorMaker(6);
  const [n, inner] = [3, 32];
  const table = tensors.tensor("table", "F32", [VOCABULARY, WIDTH]);
  const router = tensors.tensor("router", "F32", [n, WIDTH]);
  const gateUp = tensors.tensor("gateUp", "Q8_0", [n, 2 * inner, WIDTH]);
  const down = tensors.tensor("down", "Q8_0", [n, WIDTH, inner]);
  const graphOf = (gu: WeightRef, d: WeightRef): Graph => {
    const g = new GraphBuilder("experts");
    const options = { router, gateUp: gu, down: d, experts: n, topK: 2, normalize: true, activation: "silu" } as const;
    return g.finish(g.rows(g.moe(g.embed(table), options)), { contextLength: 32 });
  };
  // The same rows, named one half of an expert at a time.
  const halves = Array.from({ length: 2 * n }, (_, i) => ({ tensor: "gateUp", rowStart: i * inner, rowCount: inner }));
  const each = Array.from({ length: n }, (_, i) => ({ tensor: "down", rowStart: i * WIDTH, rowCount: WIDTH }));
  const stacked = await logitsOf(tensors.artifact(), graphOf(gateUp, down));
  const parts = graphOf({ ...gateUp, parts: halves }, { ...down, parts: each });
  assert.deepEqual(await logitsOf(tensors.artifact(), parts), stacked);
  const swapped = graphOf({ ...gateUp, parts: halves.toReversed() }, { ...down, parts: each });
  assert.notDeepEqual(await logitsOf(tensors.artifact(), swapped), stacked);
});

test("memory that isn't there is refused with the numbers", () => {
  const tensors = new TensorMaker(1);
  const graph = tinyModel(tensors);
  assert.throws(
    () => backend.allocate(graph, groupStates(graph), [2 ** 31 - 1, 1], "f32"),
    (error) => error instanceof MemoryError && /needs [\d.]+ GiB, [\d.]+ GiB/.test(error.message),
  );
});

test("a pool's blocks are read and written as bytes", async () => {
  const { program, plan, close } = await tinyProgram();
  program.openSampler(0, GREEDY, new Int32Array(0));
  await program.run(plan());
  const tensors = new TensorMaker(1);
  const graph = tinyModel(tensors);
  const groups = groupStates(graph);
  const pool = backend.allocate(graph, groups, [4, 4], "q8");
  const bytes = pool.read(0, 1);
  assert.equal(bytes.length, backend.blockBytes(graph, groups[0] ?? assert.fail(), "q8"));
  assert.ok(bytes.every((b) => b === 0));
  pool.write(
    0,
    3,
    bytes.map((_, i) => i % 251),
  );
  assert.deepEqual(
    pool.read(0, 3),
    bytes.map((_, i) => i % 251),
  );
  assert.throws(() => pool.read(0, 4), NativeError);
  assert.throws(() => pool.write(1, 0, new Uint8Array(3)), /bytes, not 3/);
  pool.close();
  close();
});

test("counters name the kernels that ran", async () => {
  const { program, plan, close } = await tinyProgram();
  program.openSampler(0, GREEDY, new Int32Array(0));
  backend.counters({ reset: true });
  await program.run(plan());
  const counters = backend.counters({ reset: true });
  assert.equal(counters["flat Q8_0"], 2 * 3 + 3);
  assert.equal(counters["attendRows f32"], 2 * 2 * 3);
  assert.equal(backend.counters()["flat Q8_0"], 0);
  assert.match(backend.profile("f16"), /^cpu-(avx512vnni|avx2|neon|scalar)-f16-k\d+$/);
  close();
});

test("a graph is lowered without its weights as with them", async () => {
  const tensors = new TensorMaker(1);
  const graph = tinyModel(tensors);
  const artifact = tensors.artifact();
  const runner = await ProgramRunner.create(backend, artifact, graph, { kv: "f16", context: 32 });
  const dtypeOf = (name: string): DType => artifact.tensors.get(name)?.dtype ?? assert.fail(name);
  assert.deepEqual(backend.lower(graph, dtypeOf), runner.program.lowered);
  assert.ok(runner.program.lowered.nodes.some((node) => node.op === "quantize"));
  runner.close();
});

test("an unknown instruction set and an absurd number of threads are refused", async () => {
  await assert.rejects(createCpuBackend({ isa: "mmx" }), NativeError);
  await assert.rejects(createCpuBackend({ threads: 0 }), NativeError);
  await assert.rejects(createCpuBackend({ threads: 1.5 }), NativeError);
});

test("a worker thread has the addon for itself, and may end while a step runs", { timeout: 60_000 }, async () => {
  const source = `
    import { parentPort } from "node:worker_threads";
    import { TensorMaker } from ${JSON.stringify(new URL("../../../test/support/memory-artifact.ts", import.meta.url).href)};
    import { ProgramRunner } from ${JSON.stringify(new URL("../program-runner.ts", import.meta.url).href)};
    import { GraphBuilder } from ${JSON.stringify(new URL("../../graph/builder.ts", import.meta.url).href)};
    import { createCpuBackend } from ${JSON.stringify(new URL("./backend.ts", import.meta.url).href)};
    const backend = await createCpuBackend({ threads: 2 });
    const tensors = new TensorMaker(1);
    const g = new GraphBuilder("slow");
    let x = g.embed(tensors.tensor("table", "Q8_0", [64, 256]));
    for (let i = 0; i < 40; i++) x = g.linear(x, tensors.tensor("w" + i, "F16", [256, 256], 0.06));
    const graph = g.finish(g.rows(x), { contextLength: 512 });
    const runner = await ProgramRunner.create(backend, tensors.artifact(), graph, { kv: "f16", context: 512 });
    const tokens = Array.from({ length: 256 }, (_, i) => i % 64);
    const { logits } = await runner.step([{ sequence: 0, tokens: [1, 2, 3] }], { logits: [2] });
    const step = runner.step([{ sequence: 0, tokens }], { logits: tokens.map((_, i) => i) });
    parentPort.postMessage(logits.length);
    await step;
    runner.restart();
    while (true) await runner.step([{ sequence: 0, tokens }], { logits: [0] }).then(() => runner.restart());
  `;
  for (let round = 0; round < 3; round++) {
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`));
    const width = await new Promise((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
    });
    assert.equal(width, 256);
    await new Promise((resolve) => setTimeout(resolve, 30 * round));
    await worker.terminate();
  }
  // This thread's addon lives on.
  const { program, plan, close } = await tinyProgram();
  program.openSampler(0, GREEDY, new Int32Array(0));
  await program.run(plan());
  close();
});
