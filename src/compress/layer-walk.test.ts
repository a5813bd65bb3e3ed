import assert from "node:assert/strict";
import { test } from "node:test";

import { builtinModelPath } from "../artifact/node-builtin.ts";
import { openGguf } from "../artifact/node-gguf.ts";
import { tensorValues } from "../artifact/tensor-values.ts";
import { createBackend, load } from "../engine/load.ts";
import { measureImportance } from "./importance.ts";
import { LayerWalk } from "./layer-walk.ts";

const ids = Int32Array.from({ length: 40 }, (_, i) => 300 + ((i * 7919) % 2000));
const calibration = { name: "ids", sequences: [ids, ids.slice(3, 20)] };

test("observed or not, on one thread or two, alone or not: a sequence has the same rows", async () => {
  const artifact = await openGguf(builtinModelPath("rill"));
  const backend = await createBackend({ threads: 1 });
  const walk = await LayerWalk.begin(artifact, { backend, calibration });
  while (walk.section !== undefined) await walk.advance();
  const last = walk.rows.map((rows) => rows.slice());
  await backend.close();
  await artifact.close();
  assert.equal(last.length, 2);
  const again = await openGguf(builtinModelPath("rill"));
  const other = await createBackend({ threads: 2 });
  const second = await LayerWalk.begin(again, { backend: other, calibration: { name: "", sequences: [ids] } });
  for (let i = 0; second.section !== undefined; i++) {
    let tapped = 0;
    const { sites, output } = second.section;
    assert.equal(sites.length, 7, `layer ${i} has seven matrices`);
    const rows = await second.observe([...sites.map(({ input }) => input), output], (_, values) => {
      tapped++;
      assert.ok(values.every(Number.isFinite));
    });
    assert.equal(tapped, 5, "q, k and v read one value, gate and up another");
    second.accept(rows);
  }
  assert.deepEqual(second.rows[0], last[0]);
  await other.close();
  await again.close();
});

test("the importance of a matrix's columns is the mean square of what it reads", async () => {
  const artifact = await openGguf(builtinModelPath("rill"));
  const backend = await createBackend({ threads: 1 });
  const nothing = { progress: () => undefined, signal: undefined };
  const { columns } = await measureImportance(artifact, { backend, ...nothing }, calibration);
  const embed = columns.get("blk.0.attn_q.weight");
  assert.deepEqual(embed, columns.get("blk.0.attn_v.weight"));
  assert.notDeepEqual(embed, columns.get("blk.0.ffn_up.weight"));
  // What a norm without outliers leaves has squares near its weights' squares: their mean is of that size.
  assert.ok(embed?.every((v) => v > 0 && Number.isFinite(v)));
  assert.equal(columns.size, 7 * new Set([...columns.keys()].map((name) => name.split(".")[1])).size);
  await backend.close();
  await artifact.close();
});

test("behind the last layer the norm and the head give the engine's logits", async () => {
  await using llm = await load(builtinModelPath("rill"), { threads: 1 });
  const artifact = await openGguf(builtinModelPath("rill"));
  const backend = await createBackend({ threads: 1 });
  const walk = await LayerWalk.begin(artifact, { backend, calibration: { name: "", sequences: [ids] } });
  while (walk.section !== undefined) await walk.advance();
  const tensor = async (name: string): Promise<Float32Array> => {
    const found = artifact.tensors.get(name);
    assert.ok(found !== undefined, name);
    return tensorValues(found);
  };
  const norm = await tensor("output_norm.weight");
  const head = await tensor(artifact.tensors.has("output.weight") ? "output.weight" : "token_embd.weight");
  const width = norm.length;
  const last = (walk.rows[0] ?? new Float32Array()).subarray((ids.length - 1) * width);
  const rms = Math.sqrt(last.reduce((sum, v) => sum + v * v, 0) / width + 1e-5);
  const want = (await llm.logits(ids)).at(-1) ?? new Float32Array();
  let largest = 0;
  for (const [token, logit] of want.entries()) {
    let sum = 0;
    for (let i = 0; i < width; i++) sum += ((last[i] ?? 0) / rms) * (norm[i] ?? 0) * (head[token * width + i] ?? 0);
    largest = Math.max(largest, Math.abs(sum - logit));
  }
  // The head reads int8 rows, which is all that tells the two apart.
  const spread = Math.max(...want) - Math.min(...want);
  assert.ok(largest < 0.02 * spread, `off by ${largest} of ${spread}`);
  await backend.close();
  await artifact.close();
});
