import assert from "node:assert/strict";
import { test } from "node:test";

import { imatrixBytes, readImatrix } from "./imatrix.ts";

const importance = {
  name: "wiki.txt",
  columns: new Map([
    ["blk.0.attn_q.weight", Float32Array.of(0.5, 2, 0.125)],
    ["blk.0.ffn_down.weight", Float32Array.of(1, 0, 3, 4)],
  ]),
};

for (const layout of ["gguf", "plain"] as const) {
  test(`${layout}: what was written is read again`, async () => {
    const bytes = await imatrixBytes(importance, layout, { chunks: 4, length: 512 });
    assert.deepEqual((await readImatrix("m", bytes)).columns, importance.columns);
  });
}

test("the older layout, byte by byte", async () => {
  // One entry: a name of two letters, two calls, one value, 3.
  const three = new Uint8Array(Float32Array.of(3).buffer);
  const bytes = Uint8Array.of(1, 0, 0, 0, 2, 0, 0, 0, 0x61, 0x62, 2, 0, 0, 0, 1, 0, 0, 0, ...three);
  const { columns } = await readImatrix("m", bytes);
  assert.deepEqual(columns, new Map([["ab", Float32Array.of(1.5)]]));
});

test("a file that ends early, or is something else, is refused by name", async () => {
  const whole = await imatrixBytes(importance, "plain", { chunks: 4, length: 512 });
  for (const length of [0, 3, 9, 40])
    await assert.rejects(readImatrix("cut.dat", whole.subarray(0, length)), /cut\.dat/);
  await assert.rejects(readImatrix("text", new TextEncoder().encode("no imatrix at all")), /is it an imatrix/);
});
