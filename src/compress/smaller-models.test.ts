/** Passes that make smaller models: what goes is what was to go, what they leave is exact where it can be, and runs. */
import assert from "node:assert/strict";
import { after, test } from "node:test";

import type { ModelArtifact, Tensor } from "../artifact/artifact.ts";
import { memorySource } from "../artifact/byte-source.ts";
import { tensorValues } from "../artifact/tensor-values.ts";
import { invariant } from "../errors.ts";
import { modelGraph } from "../models/models.ts";
import { largestGap, logitsOf, openCompressor, randomCalibration } from "../../test/support/compressed.ts";
import { tinyModel } from "../../test/support/tiny-models.ts";
import { randomOrthogonal } from "./linear-algebra/qr.ts";
import { SeededRandom } from "./linear-algebra/random.ts";
import { bestSubset, mixtureOutput } from "./expert-subsets.ts";
import { matrixMap } from "./row-maps.ts";
import { memoryStore } from "./store.ts";
import { residualStream } from "./stream.ts";
import { withTensorMap } from "./tensors.ts";
import { turnStream } from "./turn-stream.ts";

const compressor = await openCompressor();
after(() => compressor.close());

const SIZE = { layers: 3, width: 48, heads: 4, kvHeads: 2, headDim: 16, hidden: 64, expertHidden: 32, vocab: 300 };
const TOKENS = [1, 200, 30, 4, 17, 99];
const calibration = randomCalibration(300, 3, 40);
const LIMIT = 1e-4;

async function gap(a: ModelArtifact, b: ModelArtifact): Promise<number> {
  return largestGap(await logitsOf(compressor.backend, a, TOKENS), await logitsOf(compressor.backend, b, TOKENS));
}

/** The model with some of a tensor's values changed. */
async function edited(
  model: ModelArtifact,
  changes: Readonly<Record<string, (value: number, i: number, columns: number) => number>>,
): Promise<ModelArtifact> {
  const tensors = new Map(model.tensors);
  for (const [name, change] of Object.entries(changes)) {
    const tensor = model.tensors.get(name);
    invariant(tensor !== undefined, name);
    const columns = tensor.shape.at(-1) ?? 1;
    const values = (await tensorValues(tensor)).map((value, i) => change(value, i, columns));
    const bytes = new Uint8Array(values.buffer);
    const made: Tensor = { ...tensor, source: memorySource(name, bytes), offset: 0, byteLength: bytes.length };
    tensors.set(name, made);
  }
  return withTensorMap(model, tensors);
}

test("layers that do nothing are those that ShortGPT drops, and nothing changes", async () => {
  const model = tinyModel("llama", "F32", 11, SIZE);
  const idle = await edited(model, {
    "blk.1.attn_output.weight": () => 0,
    "blk.1.ffn_down.weight": () => 0,
  });
  const { artifact, reports } = await compressor.run(idle, [{ pass: "drop-layers", count: 1 }], calibration);
  assert.deepEqual(reports[0]?.report["dropped"], [1]);
  assert.equal(artifact.metadata["llama.block_count"], 2);
  assert.ok((await gap(idle, artifact)) < LIMIT);
  const { graph } = await modelGraph(artifact, { context: 16 });
  assert.equal(graph.states.length, 2);
  const { artifact: named } = await compressor.run(idle, [{ pass: "drop-layers", layers: [0, 2] }], calibration);
  assert.equal(named.tensors.get("blk.0.attn_q.weight")?.source, idle.tensors.get("blk.1.attn_q.weight")?.source);
});

test("a layer whose place decides what it is isn't moved", async () => {
  const model = tinyModel("gemma3", "F32", 12, { ...SIZE, window: 8 });
  const drop = (layers: number[]): Promise<unknown> =>
    compressor.run(model, [{ pass: "drop-layers", layers }], calibration);
  await assert.rejects(drop([0]), /would make another kind of layer 1 in place 0/);
  await drop([2]);
  await assert.rejects(drop([0, 1, 2]), /some have to stay/);
});

test("channels and heads that nothing reads are those that go, and nothing changes", async () => {
  for (const family of ["llama", "qwen3", "phi3"] as const) {
    const model = tinyModel(family, "F32", 13, SIZE);
    const unread: Record<string, (value: number, i: number, columns: number) => number> = {};
    for (let layer = 0; layer < 3; layer++) {
      // Every second channel, and the second key/value head.
      unread[`blk.${layer}.ffn_down.weight`] = (value, i) => (i % 2 === 0 ? value : 0);
      unread[`blk.${layer}.attn_output.weight`] = (value, i, columns) => (i % columns < columns / 2 ? value : 0);
    }
    const idle = await edited(model, unread);
    const options = { channels: 0.5, heads: 0.5, type: "F32" };
    for (const by of ["flap", "wanda"]) {
      const { artifact, reports } = await compressor.run(idle, [{ pass: "prune-width", by, ...options }], calibration);
      const { channels, heads } = reports[0]?.report ?? {};
      assert.deepEqual([channels, heads], [32, 1]);
      const up = artifact.tensors.get("blk.2.ffn_up.weight");
      assert.deepEqual(up?.shape, family === "phi3" ? [64, 48] : [32, 48]);
      assert.ok((await gap(idle, artifact)) < LIMIT, `${family} by ${by}`);
      const { graph } = await modelGraph(artifact, { context: 16 });
      assert.ok(graph.states.every((state) => "kvHeads" in state && state.kvHeads === 1));
    }
  }
});

test("a channel that never varies is no loss: FLAP's bias says what it said", async () => {
  const model = tinyModel("llama", "F32", 14, { ...SIZE, layers: 1 });
  // The values of head 1 come out of a bias alone: whatever the tokens, it says the same.
  const still = await edited(model, {
    "blk.0.attn_v.weight": (value, i, columns) => (i < 16 * columns ? value : 0),
  });
  const bias = new Uint8Array(Float32Array.from({ length: 32 }, (_, i) => (i < 16 ? 0 : 2 + i / 16)).buffer);
  const name = "blk.0.attn_v.bias";
  const source = memorySource(name, bias);
  const tensor: Tensor = { name, dtype: "F32", shape: [32], source, offset: 0, byteLength: bias.length };
  const constant = withTensorMap(still, new Map([...still.tensors, [name, tensor]]));
  const passes = [{ pass: "prune-width", channels: 1, heads: 0.5, type: "F32" }];
  const { artifact } = await compressor.run(constant, passes, calibration);
  assert.equal(artifact.metadata["llama.attention.head_count_kv"], 1);
  assert.ok((await gap(constant, artifact)) < 1e-3);
  const { artifact: without } = await compressor.run(
    constant,
    [{ ...passes[0], pass: "prune-width", by: "wanda" }],
    calibration,
  );
  assert.ok((await gap(constant, without)) > 0.05, "by size it would have been another, or without its mean");
});

test("a stream that fills part of its width is sliced to that part without loss", async () => {
  const model = tinyModel("llama", "F32", 15, { ...SIZE, width: 32 });
  const stream = await residualStream(model);
  // The same model with a stream of 48 columns, of which 32 directions are used.
  const q = randomOrthogonal(48, new SeededRandom(1));
  const rows = { rows: 32, columns: 48, values: q.values.slice(0, 32 * 48) };
  const nothing = { store: memoryStore(), progress: () => undefined, signal: undefined };
  const turned = await turnStream(model, stream, { map: matrixMap(rows), dtype: "F32" }, nothing);
  const wide = withTensorMap(turned, turned.tensors, {
    "llama.embedding_length": ["u32", 48],
    "llama.attention.layer_norm_rms_epsilon": ["f32", (1e-5 * 32) / 48],
  });
  assert.ok((await gap(model, wide)) < LIMIT, "wider");
  const options = { keep: 2 / 3, multiple: 1, type: "F32" };
  const { artifact, reports } = await compressor.run(wide, [{ pass: "slice-width", ...options }], calibration);
  assert.equal(artifact.metadata["llama.embedding_length"], 32);
  const kept = reports[0]?.report["energyKept"];
  assert.ok(typeof kept === "number" && kept > 0.999999);
  assert.ok((await gap(model, artifact)) < 1e-3, "narrower again");
  assert.deepEqual(artifact.tensors.get("blk.1.ffn_down.weight")?.shape, [32, 64]);
});

test("with all columns slicing is a rotation", async () => {
  const model = tinyModel("qwen2", "F32", 16, SIZE);
  const { artifact } = await compressor.run(
    model,
    [{ pass: "slice-width", keep: 1, multiple: 16, type: "F32" }],
    calibration,
  );
  assert.ok((await gap(model, artifact)) < LIMIT);
  const { artifact: less, reports } = await compressor.run(model, [{ pass: "slice-width" }], calibration);
  assert.equal(reports[0]?.report["width"], 32);
  assert.ok((await gap(model, less)) > 0.05);
});

for (const family of ["mixtral", "qwen3moe"] as const) {
  test(`${family}: the expert that adds nothing is the one that goes`, async () => {
    const model = tinyModel(family, "F32", 17, SIZE);
    const silent: Record<string, (value: number, i: number) => number> = {};
    // Expert `layer` of each layer.
    for (let layer = 0; layer < 3; layer++)
      silent[`blk.${layer}.ffn_down_exps.weight`] = (value, i) => (Math.floor(i / (48 * 32)) === layer ? 0 : value);
    const idle = await edited(model, silent);
    const { artifact, reports } = await compressor.run(idle, [{ pass: "prune-experts", type: "F32" }], calibration);
    assert.deepEqual(reports[0]?.report["gone"], { "0": [0], "1": [1], "2": [2] });
    assert.deepEqual(artifact.tensors.get("blk.1.ffn_gate_exps.weight")?.shape, [3, 32, 48]);
    assert.deepEqual(artifact.tensors.get("blk.1.ffn_gate_inp.weight")?.shape, [3, 48]);
    assert.equal(artifact.metadata[`${artifact.config.architecture}.expert_count`], 3);
    const { artifact: used } = await compressor.run(idle, [{ pass: "prune-experts", by: "frequency" }], calibration);
    assert.equal(used.tensors.get("blk.0.ffn_up_exps.weight")?.shape[0], 3);
    const { artifact: tried } = await compressor.run(idle, [{ pass: "prune-experts", by: "enumeration" }], calibration);
    assert.equal(tried.tensors.get("blk.2.ffn_up_exps.weight")?.shape[0], 3);
    const { artifact: all } = await compressor.run(
      idle,
      [{ pass: "prune-experts", keep: 1, type: "F32" }],
      calibration,
    );
    assert.ok((await gap(idle, all)) < LIMIT);
    assert.ok(Number.isFinite(await gap(idle, artifact)));
  });
}

test("of all subsets the one with the least change stays, and rows go to the next best", () => {
  // Experts 1 and 3 say the same, so that either stands in for the other; 0 and 2 are needed.
  const say = [5, 1, -4, 1];
  const logits = Float32Array.from([3, 0, 0, 0.1, 0, 3, 0, 2.9, 0, 0, 3, 0.1, 0, 2.9, 0, 3].flat());
  const outputs = say.map((value) => new Float32Array(4).fill(value));
  const routes = { topK: 1, scores: "softmax", normalize: true, factor: 1 } as const;
  const mixture = { routes, bias: undefined, logits, outputs };
  assert.deepEqual([...mixtureOutput(mixture, [0, 1, 2, 3])], [5, 1, -4, 1]);
  assert.deepEqual([...mixtureOutput(mixture, [0, 2, 3])], [5, 1, -4, 1]);
  assert.deepEqual(bestSubset(mixture, 3), [0, 1, 2]);
  assert.deepEqual([...mixtureOutput({ ...mixture, bias: [0, 0, 9, 0] }, [0, 1, 2])], [-4, -4, -4, -4]);
  const half = mixtureOutput({ ...mixture, routes: { ...routes, topK: 2, normalize: false, factor: 2 } }, [0, 1]);
  const share = 1 / (1 + Math.exp(-3));
  assert.ok(Math.abs((half[0] ?? 0) - 2 * (share * 5 + (1 - share) * 1)) < 1e-6);
  const many = { ...mixture, outputs: Array.from({ length: 128 }, () => new Float32Array(4)) };
  assert.throws(() => bestSubset(many, 64), /too many ways/);
});

test("families without experts, and models from safetensors, are refused by name", async () => {
  const model = tinyModel("llama", "F32", 18, SIZE);
  await assert.rejects(compressor.run(model, [{ pass: "prune-experts" }], calibration), /has no experts/);
  const hf: ModelArtifact = { ...model, config: { ...model.config, format: "hf" } };
  for (const pass of ["prune-width", "slice-width"])
    await assert.rejects(compressor.run(hf, [{ pass }], calibration), /GGUF/);
});
