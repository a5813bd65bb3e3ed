import assert from "node:assert/strict";
import { test } from "node:test";
import { TensorMaker } from "../../test/support/memory-artifact.ts";
import { DTYPES, type DType } from "./dtype.ts";
import { firstNotFinite } from "./finite.ts";
import { numberToHalf } from "./half.ts";

test("sound weights of every format pass", async () => {
  const maker = new TensorMaker(3);
  for (const dtype of Object.keys(DTYPES) as DType[]) maker.tensor(dtype, dtype, [3, 512]);
  let seen = 0;
  const onProgress = ({ done, total }: { done: number; total: number }): void => void (seen = done / total);
  assert.equal(await firstNotFinite(maker.artifact(), { onProgress }), undefined);
  assert.equal(seen, 1);
});

test("the first weight that is no number is named, with its place", async () => {
  for (const value of [Number.NaN, Infinity, -Infinity]) {
    const maker = new TensorMaker(3);
    maker.tensor("good", "F32", [2, 32]);
    maker.values("bad", "F16", [2, 3], [1, 2, 3, 4, value, 6]);
    maker.values("worse", "F32", [1], [Number.NaN]);
    assert.deepEqual(await firstNotFinite(maker.artifact()), { tensor: "bad", index: 4, value });
  }
});

test("a block whose scale is no number is found, far into a large tensor", async () => {
  const maker = new TensorMaker(3);
  maker.tensor("large", "Q8_0", [2000, 1024]);
  const artifact = maker.artifact();
  const tensor = artifact.tensors.get("large");
  assert.ok(tensor !== undefined);
  const blocks = await tensor.source.read(tensor.offset, tensor.byteLength);
  const place = 60_000;
  new DataView(blocks.buffer, blocks.byteOffset).setUint16(34 * place, numberToHalf(Number.NaN), true);
  const found = await firstNotFinite(artifact);
  assert.ok(found !== undefined && found.index >= 32 * place && found.index < 32 * (place + 1), JSON.stringify(found));
});
