/** gpt-oss' experts as its own checkpoint holds them, blocks of 4 bits along K, are those of the same values in floats. */
import assert from "node:assert/strict";
import test from "node:test";
import { TensorMaker } from "../../test/support/memory-artifact.ts";
import { openParityCase } from "../../test/support/parity.ts";
import type { ModelArtifact } from "../artifact/artifact.ts";
import { tensorValues } from "../artifact/tensor-values.ts";
import { ProgramRunner } from "../backend/program-runner.ts";
import { createReferenceBackend } from "../backend/reference/backend.ts";
import { modelGraph } from "./models.ts";

async function logitsOf(artifact: ModelArtifact, tokens: readonly number[]): Promise<Float32Array> {
  const { graph } = await modelGraph(artifact, { context: 16 });
  const runner = await ProgramRunner.create(createReferenceBackend(), artifact, graph, { kv: "f32", context: 16 });
  const { logits } = await runner.step([{ sequence: 0, tokens }], { logits: [0, tokens.length - 1] });
  await runner.close();
  return logits;
}

test("MXFP4 stacks [E, N, K] stand for float stacks [E, K, N]", async () => {
  const { artifact, tokens } = await openParityCase("gptoss");
  const blocks = new TensorMaker(1);
  const floats = new TensorMaker(1);
  for (const { name, shape } of artifact.tensors.values()) {
    if (!/experts\.(gate_up|down)_proj$/.test(name)) continue;
    const [experts = 0, k = 0, n = 0] = shape;
    blocks.tensor(name, "MXFP4", [experts, n, k]);
    const tensor = blocks.artifact().tensors.get(name) ?? assert.fail();
    // Random blocks have random exponents: only moderate ones make a model.
    const bytes = await tensor.source.read(tensor.offset, tensor.byteLength);
    for (let at = 0; at < bytes.length; at += 17) bytes[at] = 120 + ((bytes[at] ?? 0) % 4);
    const values = await tensorValues(tensor);
    const turned = values.map((_, i) => {
      const [e, rest] = [Math.floor(i / (k * n)), i % (k * n)];
      return values[e * k * n + (rest % n) * k + Math.floor(rest / n)] ?? 0;
    });
    floats.values(name, "F32", shape, turned);
  }
  assert.ok(blocks.artifact().tensors.size >= 2);
  const [packed, plain] = [blocks, floats].map((maker) => ({
    ...artifact,
    tensors: new Map([...artifact.tensors, ...maker.artifact().tensors]),
  }));
  const some = tokens.slice(0, 12);
  const found = await logitsOf(packed ?? assert.fail(), some);
  assert.ok(found.every(Number.isFinite));
  assert.deepEqual(found, await logitsOf(plain ?? assert.fail(), some));
  assert.notDeepEqual(found, await logitsOf(artifact, some));
});
