import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import test, { after } from "node:test";
import { Worker } from "node:worker_threads";

import { TensorMaker } from "../../../test/support/memory-artifact.ts";
import { TINY_VOCABULARY, tinyModel, tinyProgram } from "../../../test/support/tiny-program.ts";
import { MemoryError, NativeError, StepError } from "../../errors.ts";
import type { Backend } from "../contract.ts";
import { groupStates } from "../groups.ts";
import { GREEDY, ProgramRunner, type Feed } from "../program-runner.ts";
import { cpuIsas, createCpuBackend } from "./backend.ts";

const backend = await createCpuBackend({ threads: 2 });
after(() => backend.close());

function sequenceOf(count: number, seed: number): number[] {
  return Array.from({ length: count }, (_, i) => (i * 7 + seed * 13 + ((i * i) % 11)) % TINY_VOCABULARY);
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
        all[sequence]?.push(logits.slice(i * TINY_VOCABULARY, (i + 1) * TINY_VOCABULARY));
      }
    }
    return all;
  } finally {
    await runner.close();
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

test("two steps in flight: the second one's token is the first one's sample, and a third is refused", async () => {
  const tiny = await tinyProgram(backend);
  const first = tiny.plan();
  first.addOpen({ slot: 0, params: GREEDY, prompt: new Int32Array(0), answer: new Int32Array(0) });
  first.addSample(2, 0);
  const running = tiny.program.run(first);
  const second = tiny.plan();
  second.clear();
  second.addSequence([[2], [2]]);
  second.addRows([second.addReference(first.id, 0)], 3);
  second.addOutput(0, 0);
  const next = tiny.program.run(second);
  await assert.rejects(tiny.program.run(tiny.plan()).result, /two steps/);
  const { sampleIds } = await running.result;
  const { outputs } = await next.result;
  const known = tiny.plan();
  known.addRows([sampleIds[0] ?? -1], 3);
  known.addOutput(0, 3);
  assert.deepEqual((await tiny.program.run(known).result).outputs, outputs);
  await tiny.close();
});

test("a plan may be written anew while its step runs, and results belong to their steps", async () => {
  const tiny = await tinyProgram(backend);
  const plan = tiny.plan();
  plan.addOutput(0, 2);
  const expected = (await tiny.program.run(plan).result).outputs[0];
  const { id } = tiny.plan();
  plan.id = id;
  const running = tiny.program.run(plan);
  plan.tokens.fill(9);
  plan.clear();
  const found = (await running.result).outputs[0];
  assert.deepEqual(found, expected);
  assert.notEqual(found?.buffer, expected?.buffer);
  await tiny.close();
});

test("closing a program cancels what is in flight, and what comes later is refused", async () => {
  const tiny = await tinyProgram(backend);
  const plan = tiny.plan();
  plan.addOpen({ slot: 0, params: GREEDY, prompt: new Int32Array(0), answer: new Int32Array(0) });
  plan.addSample(2, 0, 0, true);
  const waiting = tiny.program.run(plan);
  const behind = tiny.program.run(tiny.plan());
  const reasons = [waiting.result, behind.result].map((result) =>
    assert.rejects(result, (error) => error instanceof StepError && ["cancelled", "unrun"].includes(error.reason)),
  );
  await tiny.close();
  await Promise.all(reasons);
  await assert.rejects(tiny.program.run(tiny.plan()).result, /closed/);
});

test("the threads' end cancels what is in flight", async () => {
  const own = await createCpuBackend({ threads: 2 });
  const tiny = await tinyProgram(own);
  const plan = tiny.plan();
  plan.addOpen({ slot: 0, params: GREEDY, prompt: new Int32Array(0), answer: new Int32Array(0) });
  plan.addSample(2, 0, 0, true);
  const waiting = assert.rejects(tiny.program.run(plan).result, StepError);
  await own.close();
  await waiting;
  await assert.rejects(tiny.program.run(tiny.plan()).result, NativeError);
  await assert.rejects(tiny.pool.read(0, Int32Array.of(0)), NativeError);
});

test("logits of more rows than the arena holds are done in several passes, masked samples in any of them", async () => {
  const count = 300;
  const tiny = await tinyProgram(backend, { maxOutputs: 2 * count });
  const plan = tiny.plan();
  plan.addOpen({ slot: 0, params: GREEDY, prompt: new Int32Array(0), answer: new Int32Array(0) });
  for (let i = 0; i < count; i++) plan.addSample(i % 3, 0, 0, i % 50 === 7);
  for (let i = 0; i < count; i++) plan.addOutput(0, (i * 7) % 3);
  const step = tiny.program.run(plan);
  const all = new Uint32Array(2).fill(0xffff_ffff);
  for (let i = 7; i < count; i += 50) step.mask(i, i === 57 ? "drop" : all);
  const { sampleIds, outputs } = await step.result;
  const alone = tiny.plan();
  for (const row of [0, 1, 2]) alone.addSample(row, 0);
  for (const row of [0, 1, 2]) alone.addOutput(0, row);
  const expected = await tiny.program.run(alone).result;
  assert.deepEqual(
    [...sampleIds],
    Array.from(sampleIds, (_, i) => (i === 57 ? -1 : expected.sampleIds[i % 3])),
  );
  const row = (values: Float32Array | undefined, i: number): Float32Array | undefined =>
    values?.slice(i * TINY_VOCABULARY, (i + 1) * TINY_VOCABULARY);
  for (let i = 0; i < count; i++) assert.deepEqual(row(outputs[0], i), row(expected.outputs[0], (i * 7) % 3));
  await tiny.close();
});

test("memory that isn't there is refused with the numbers", async () => {
  const groups = groupStates([tinyModel(new TensorMaker(1))], "f32");
  await assert.rejects(
    backend.allocate(groups, [2 ** 31 - 1, 1]),
    (error) => error instanceof MemoryError && /needs [\d.]+ GiB, [\d.]+ GiB/.test(error.message),
  );
});

test("limits for which there is no memory are a MemoryError, not the end of the process", async () => {
  for (const limit of ["stepTokens", "maxSequences", "maxOutputs", "samplerSlots"] as const) {
    await assert.rejects(tinyProgram(backend, { [limit]: 2 ** 31 - 1 }), MemoryError, limit);
  }
});

test("a pool's blocks are read and written as bytes, in the order of steps", async () => {
  const tiny = await tinyProgram(backend);
  const { pool, program } = tiny;
  const [group] = pool.groups;
  assert.ok(group);
  const size = backend.blockBytes(group);
  const before = pool.read(0, Int32Array.of(1, 2));
  const step = program.run(tiny.plan());
  const after = pool.read(0, Int32Array.of(2, 1));
  assert.ok((await before).every((b) => b === 0));
  const bytes = await after;
  assert.equal(bytes.length, 2 * size);
  assert.ok(bytes.subarray(0, size).some((b) => b !== 0));
  assert.ok(bytes.subarray(size).every((b) => b === 0));
  await step.result;
  const other = Uint8Array.from({ length: 2 * size }, (_, i) => i % 251);
  await pool.write(0, Int32Array.of(3, 0), other);
  assert.deepEqual(await pool.read(0, Int32Array.of(3, 0)), other);
  assert.deepEqual(await pool.read(0, Int32Array.of(0)), other.slice(size));
  await assert.rejects(pool.read(0, Int32Array.of(4)), NativeError);
  await assert.rejects(pool.write(1, Int32Array.of(0), new Uint8Array(3)), /bytes, not 3/);
  await tiny.close();
});

test("counters name the kernels that ran", async () => {
  const tiny = await tinyProgram(backend);
  const plan = tiny.plan();
  for (const row of [0, 1, 2]) plan.addOutput(0, row);
  backend.counters({ reset: true });
  await tiny.program.run(plan).result;
  const counters = backend.counters({ reset: true });
  assert.equal(counters["flat Q8_0"], 2 * 3 + 3);
  assert.equal(counters["attendRows f32"], 2 * 2 * 3);
  assert.equal(backend.counters()["flat Q8_0"], 0);
  assert.match(backend.profile("f16"), /^cpu-(avx512amx|avx512vnni|avxvnni|avx2|neon|scalar)-f16-k\d+$/);
  await tiny.close();
});

test("probes give rates of every instruction set", async () => {
  for (const isa of await cpuIsas()) {
    const probed = await createCpuBackend({ threads: 2, isa });
    const { bytesPerSecond, macsPerSecond } = await probed.probe();
    await probed.close();
    assert.ok(bytesPerSecond > 0, isa);
    // Plain C++ has no instruction for products of bytes.
    for (const rate of [macsPerSecond.bits4, macsPerSecond.bits8]) assert.equal(rate > 0, isa !== "scalar", isa);
  }
});

test("an unknown instruction set and an absurd number of threads are refused", async () => {
  await assert.rejects(createCpuBackend({ isa: "mmx" }), NativeError);
  await assert.rejects(createCpuBackend({ threads: 0 }), NativeError);
  await assert.rejects(createCpuBackend({ threads: 1.5 }), NativeError);
});

test("a process may exit while one step runs and another waits for its mask", { timeout: 60_000 }, () => {
  const module = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);
  const source = `
    import { tinyProgram } from ${module("../../../test/support/tiny-program.ts")};
    import { GREEDY } from ${module("../program-runner.ts")};
    import { createCpuBackend } from ${module("./backend.ts")};
    const backend = await createCpuBackend({ threads: 2 });
    const [waiting, running] = [await tinyProgram(backend), await tinyProgram(backend, { maxOutputs: 8000 })];
    const plan = waiting.plan();
    plan.addOpen({ slot: 0, params: GREEDY, prompt: new Int32Array(0), answer: new Int32Array(0) });
    plan.addSample(2, 0, 0, true);
    waiting.program.run(plan);
    const long = running.plan();
    for (let i = 0; i < 8000; i++) long.addOutput(0, i % 3);
    running.program.run(long);
    process.exit(7);
  `;
  const { status, stderr } = spawnSync(process.execPath, ["--input-type=module", "--eval", source], {
    encoding: "utf8",
  });
  assert.equal(status, 7, stderr);
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
  const tiny = await tinyProgram(backend);
  await tiny.program.run(tiny.plan()).result;
  await tiny.close();
});
