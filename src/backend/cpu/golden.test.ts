/**
 * Golden bits: what the kernels gave when they were last meant to change. Every instruction set gives the same ones, over
 * one row, few and many. Where a hash changes on purpose, KERNEL_VERSION in backend.ts rises with it.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import test from "node:test";

import { FORMATS, KV_TYPES } from "../../../test/support/formats.ts";
import { TensorMaker } from "../../../test/support/memory-artifact.ts";
import { TINY_VOCABULARY, tinyModel } from "../../../test/support/tiny-program.ts";
import type { DType } from "../../artifact/dtype.ts";
import { GraphBuilder } from "../../graph/builder.ts";
import type { Graph } from "../../graph/graph.ts";
import type { KvType } from "../contract.ts";
import { ProgramRunner } from "../program-runner.ts";
import { cpuIsas, createCpuBackend, type CpuBackend } from "./backend.ts";

const ALL_ISAS = ["scalar", "avx2", "avxvnni", "avx512vnni", "avx512amx", "neon"];
const GOLDEN: Readonly<Record<string, string>> = {
  "linear BF16": "1641c142b4ab73fd",
  "linear F16": "b97de80d46ff8f56",
  "linear F32": "1a3a394ca40f1c24",
  "linear IQ2_S": "7b5e6dbe0bab75d9",
  "linear IQ3_S": "2571998bf9842191",
  "linear IQ4_NL": "3be2221ac4efc3f7",
  "linear IQ4_XS": "01572e197f7eea38",
  "linear MXFP4": "21e5e3fe6df8bcf6",
  "linear NVFP4": "b3c5c876dfaed766",
  "linear Q2_K": "a45331115a2ca6fb",
  "linear Q3_K": "5d6751870c90de2f",
  "linear Q4_0": "0e3e189fa597e6ab",
  "linear Q4_1": "d2e493843f5a4b6e",
  "linear Q4_K": "7b11bbc24839e990",
  "linear Q5_0": "2eb9fbf22be6bcf1",
  "linear Q5_1": "ee99942e79838cc7",
  "linear Q5_K": "7f28325634ef9e15",
  "linear Q6_K": "9364f24c82c03da2",
  "linear Q8_0": "b6dd5ce1a9b20c09",
  "linear TQ1_0": "df8e5b685285cf5d",
  "linear TQ2_0": "bbd2029e13083a65",
  "model, KV f16": "ebee4c8e3daf27a4",
  "model, KV f32": "6e02c5b1de96dd01",
  "model, KV q8": "050d272eeb3131df",
};
const FIXTURE = "da7a4373740df34e";

type Hash = ReturnType<typeof createHash>;

/** The logits of 150 rows, in steps of one, few and many. */
async function addLogits(
  hash: Hash,
  backend: CpuBackend,
  graph: Graph,
  tensors: TensorMaker,
  kv: KvType,
): Promise<void> {
  const runner = await ProgramRunner.create(backend, tensors.artifact(), graph, { kv, context: 160 });
  let next = 0;
  for (const count of [1, 5, 140, 3, 1]) {
    const tokens = Array.from({ length: count }, () => (next++ * 29) % TINY_VOCABULARY);
    const { logits } = await runner.step([{ sequence: 0, tokens }], { logits: tokens.map((_, i) => i) });
    hash.update(new Uint8Array(logits.buffer, logits.byteOffset, logits.byteLength));
  }
  await runner.close();
}

function formatGraph(tensors: TensorMaker, dtype: DType): Graph {
  const g = new GraphBuilder("format");
  const x = g.embed(tensors.tensor("table", "F32", [TINY_VOCABULARY, 256]));
  return g.finish(g.rows(g.linear(x, tensors.tensor("matrix", dtype, [80, 256]))), { contextLength: 160 });
}

async function bitsOf(backend: CpuBackend, what: string): Promise<string> {
  const hash = createHash("sha256");
  const tensors = new TensorMaker(77);
  const kv = KV_TYPES.find((type) => what === `model, KV ${type}`);
  const dtype = FORMATS.find((format) => what === `linear ${format}`);
  if (kv !== undefined) await addLogits(hash, backend, tinyModel(tensors), tensors, kv);
  else if (dtype !== undefined) await addLogits(hash, backend, formatGraph(tensors, dtype), tensors, "f32");
  else assert.fail(what);
  return hash.digest("hex").slice(0, 16);
}

const here = await cpuIsas();

for (const isa of ALL_ISAS) {
  const skip = here.includes(isa) ? false : "this processor or build doesn't run it";
  test(`golden bits of ${isa}`, { skip }, async () => {
    const backend = await createCpuBackend({ threads: 2, isa });
    const found: Record<string, string> = {};
    const names = [...KV_TYPES.map((kv) => `model, KV ${kv}`), ...FORMATS.map((format) => `linear ${format}`)];
    for (const name of names) found[name] = await bitsOf(backend, name);
    await backend.close();
    assert.deepEqual(found, GOLDEN);
  });
}

// Math's own functions make the fixture: where they differ, the bits above say nothing.
test("the fixture is that of every machine", async () => {
  const tensors = new TensorMaker(77);
  const { nodes } = tinyModel(tensors);
  for (const dtype of FORMATS) tensors.tensor(dtype, dtype, [80, 256]);
  const hash = createHash("sha256");
  for (const node of nodes) if (node.op === "rope") hash.update(new Uint8Array(node.frequencies.slice().buffer));
  for (const { source, offset, byteLength } of tensors.artifact().tensors.values())
    hash.update(await source.read(offset, byteLength));
  assert.equal(hash.digest("hex").slice(0, 16), FIXTURE);
});
