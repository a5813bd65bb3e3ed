import assert from "node:assert/strict";
import { truncate, writeFile } from "node:fs/promises";
import test, { after } from "node:test";

import { inFile } from "../../../test/support/in-file.ts";
import { TensorMaker } from "../../../test/support/memory-artifact.ts";
import { TINY_VOCABULARY, tinyModel } from "../../../test/support/tiny-program.ts";
import type { ModelArtifact, Tensor } from "../../artifact/artifact.ts";
import { ArtifactError, UnsupportedError } from "../../errors.ts";
import { GraphBuilder } from "../../graph/builder.ts";
import type { Graph, Value, WeightRef } from "../../graph/graph.ts";
import type { UploadOptions, Weights } from "../contract.ts";
import { groupStates } from "../groups.ts";
import { ProgramRunner } from "../program-runner.ts";
import { StepPlanBuffer } from "../step-plan.ts";
import { createCpuBackend } from "./backend.ts";

const WIDTH = 64;
const backend = await createCpuBackend({ threads: 2 });
after(() => backend.close());

async function upload(artifact: ModelArtifact, graph: Graph, options?: UploadOptions): Promise<Weights> {
  return backend.upload([backend.lower(graph, artifact, groupStates([graph], "f32"))], options);
}

/** Logits after a few tokens. */
async function logitsOf(artifact: ModelArtifact, graph: Graph): Promise<Float32Array> {
  const runner = await ProgramRunner.create(backend, artifact, graph, { kv: "f32", context: 32 });
  const { logits } = await runner.step([{ sequence: 0, tokens: [1, 2, 3] }], { logits: [0, 1, 2] });
  await runner.close();
  return logits;
}

test("weights from a file descriptor are those from bytes; progress reaches its end", async (t) => {
  const tensors = new TensorMaker(1);
  const graph = tinyModel(tensors);
  const { artifact } = await inFile(t, tensors.artifact());
  assert.deepEqual(await logitsOf(artifact, graph), await logitsOf(tensors.artifact(), graph));
  const seen: number[] = [];
  const weights = await upload(artifact, graph, {
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
  await assert.rejects(upload(artifact, graph, { signal }), /enough/);
  await truncate(file, 5000);
  await assert.rejects(
    upload(artifact, graph),
    (error) => error instanceof ArtifactError && /weights\.bin changed .* and has 5000/.test(error.message),
  );
  const less = new Map(artifact.tensors);
  less.delete("1.up");
  await assert.rejects(upload({ ...artifact, tensors: less }, graph), (error) => {
    return error instanceof ArtifactError && /1\.up/.test(error.message);
  });
  await writeFile(file, "");
});

test("after a failed read no further one begins, and the error is the read's", async () => {
  const tensors = new TensorMaker(1);
  const graph = tinyModel(tensors);
  const artifact = tensors.artifact();
  let reads = 0;
  const broken = new Map(
    [...artifact.tensors].map(([name, tensor]): [string, Tensor] => {
      const read = async (): Promise<Uint8Array> => {
        reads += 1;
        throw new Error(`no ${name}`);
      };
      return [name, { ...tensor, source: { ...tensor.source, read } }];
    }),
  );
  await assert.rejects(upload({ ...artifact, tensors: broken }, graph), /^Error: no /);
  assert.ok(reads <= 2, `${reads} reads after a failure`);
});

test("weights that a base holds are taken from there, whatever the graphs call them", async () => {
  const tensors = new TensorMaker(3);
  const table = tensors.tensor("table", "Q8_0", [TINY_VOCABULARY, WIDTH]);
  const inner = tensors.tensor("inner", "Q8_0", [WIDTH, WIDTH]);
  const graphOf = (head: WeightRef, ...matrices: readonly WeightRef[]): Graph => {
    const g = new GraphBuilder("based");
    const x = matrices.reduce((v, weight) => g.linear(v, weight), g.embed(table));
    return g.finish(g.rows(g.linear(x, head)), { contextLength: 32 });
  };
  const artifact = tensors.artifact();
  const lower = (graph: Graph) => backend.lower(graph, artifact, []);
  const base = await backend.upload([lower(graphOf(table))]);
  const renamed = { ...table, name: "another name" };
  const same = await backend.upload([lower(graphOf(renamed))], { base });
  assert.equal(same.bytes, 0);
  const more = await backend.upload([lower(graphOf(table, inner))], { base });
  const whole = await backend.upload([lower(graphOf(table, inner)), lower(graphOf(table))]);
  assert.equal(more.bytes + base.bytes, whole.bytes);

  const limits = { samplerSlots: 0, maxListed: 0, maxMoves: 0, maxCopies: 0, outputs: ["logits"] };
  const logits = async (weights: Weights): Promise<Float32Array | undefined> => {
    const pool = await backend.allocate([], []);
    const options = { stepTokens: 4, maxSequences: 1, maxOutputs: 4, ...limits };
    const program = await backend.compile(lower(graphOf(table, inner)), weights, pool, options);
    const plan = new StepPlanBuffer({ ...options, groups: 0, context: 32 });
    plan.id = 1;
    plan.addSequence([]);
    plan.addRows([5, 6], 0);
    plan.addOutput(0, 1);
    const { outputs } = await program.run(plan).result;
    await program.close();
    pool.close();
    return outputs[0];
  };
  assert.deepEqual(await logits(more), await logits(whole));
  for (const weights of [whole, more, same, base]) weights.close();
});

test("weights of several parts: transposed, and of mixed formats", async () => {
  const tensors = new TensorMaker(4);
  const rows = (name: string, from: number, count: number) => ({ tensor: name, rowStart: from, rowCount: count });
  const table = tensors.tensor("table", "F32", [TINY_VOCABULARY, 64]);
  const values = Array.from({ length: 64 * 40 }, (_, i) => ((i * 37) % 101) / 50 - 1);
  tensors.values("conv", "F32", [64, 40], values);
  const straight = Array.from({ length: 40 * 64 }, (_, i) => values[(i % 64) * 40 + Math.floor(i / 64)] ?? 0);
  tensors.values("linear", "F32", [40, 64], straight);
  tensors.tensor("a", "Q8_0", [24, 64]);
  tensors.tensor("b", "Q4_0", [40, 64]);
  const graphOf = (differences: boolean): Graph => {
    const g = new GraphBuilder("parts");
    const x = g.embed(table);
    const conv = g.linear(x, { name: "conv", shape: [40, 64], parts: [{ tensor: "conv", transpose: true }] });
    const plain = g.linear(x, { name: "linear", shape: [40, 64], parts: [{ tensor: "linear" }] });
    const parts = [rows("a", 3, 13), rows("b", 8, 32), rows("a", 0, 3)];
    const mixed = g.linear(x, { name: "mixed", shape: [48, 64], parts });
    const a = g.linear(x, { name: "a", shape: [24, 64], parts: [{ tensor: "a" }] });
    const b = g.linear(x, { name: "b", shape: [40, 64], parts: [{ tensor: "b" }] });
    const less = (v: Value, w: Value): Value => g.add(v, g.scale(w, -1));
    const sumOf = (values_: readonly Value[], width: number): Value =>
      values_.map((v) => g.slice(v, 0, width)).reduce((sum, v, i) => g.add(sum, g.scale(v, 10 ** -i)));
    const zeros = [
      less(g.slice(conv, 0, 40), plain),
      less(g.slice(mixed, 0, 13), g.slice(a, 3, 13)),
      less(g.slice(mixed, 13, 32), g.slice(b, 8, 32)),
      less(g.slice(mixed, 45, 3), g.slice(a, 0, 3)),
    ];
    const result = differences ? sumOf(zeros, 3) : sumOf([conv, mixed, a, b], 24);
    return g.finish(g.rows(result), { contextLength: 32 });
  };
  const differences = await logitsOf(tensors.artifact(), graphOf(true));
  assert.ok(
    differences.every((v) => v === 0),
    "equal rows give equal bits",
  );
  assert.ok((await logitsOf(tensors.artifact(), graphOf(false))).some((v) => v !== 0));

  const float = new GraphBuilder("mixed");
  const y = float.embed({ name: "table", shape: [TINY_VOCABULARY, 64], parts: [{ tensor: "table" }] });
  const parts = [{ tensor: "a" }, { tensor: "linear" }];
  const joined = float.linear(y, { name: "joined", shape: [64, 64], parts });
  const unsupported = float.finish(float.rows(joined), { contextLength: 32 });
  await assert.rejects(logitsOf(tensors.artifact(), unsupported), UnsupportedError);
});

test("experts put together from tensors of their own are those of stacked tensors", async () => {
  const tensors = new TensorMaker(6);
  const [n, inner] = [3, 32];
  const table = tensors.tensor("table", "F32", [TINY_VOCABULARY, WIDTH]);
  const router = tensors.tensor("router", "F32", [n, WIDTH]);
  const gateUp = tensors.tensor("gateUp", "Q8_0", [n, 2 * inner, WIDTH]);
  const down = tensors.tensor("down", "Q8_0", [n, WIDTH, inner]);
  const graphOf = (gu: WeightRef, d: WeightRef): Graph => {
    const g = new GraphBuilder("experts");
    const x = g.embed(table);
    const routes = g.route(g.linear(x, router), { topK: 2, scores: "softmax", normalize: true, factor: 1 });
    const experts = g.experts(x, routes, { gateUp: gu, down: d, activation: "silu", weighs: "output" });
    return g.finish(g.rows(experts), { contextLength: 32 });
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
