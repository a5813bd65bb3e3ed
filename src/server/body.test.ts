import assert from "node:assert/strict";
import { test } from "node:test";

import { Random } from "../../test/support/random.ts";
import { measureJson } from "./body.ts";

test("depth and number of values, whatever stands in strings", () => {
  assert.deepEqual(measureJson("5"), { depth: 0, values: 1 });
  assert.deepEqual(measureJson('{"a":[1,2,{"b":"]}[{,\\\\\\"[["}]}'), { depth: 3, values: 6 });
  assert.deepEqual(measureJson('["\\\\",[]]'), { depth: 2, values: 4 });
  assert.deepEqual(measureJson('["open, [[['), { depth: 1, values: 2 });
});

test("never fewer values than JSON.parse makes, and the depth is its depth", () => {
  const random = new Random(11);
  const make = (depth: number): unknown => {
    const kind = random.below(depth > 4 ? 3 : 5);
    if (kind === 0) return random.below(100);
    if (kind === 1) return random.pick(['a"b', "\\", "[", '\\"{', ",", ""]);
    if (kind === 2) return null;
    if (kind === 3) return Array.from({ length: random.below(4) }, () => make(depth + 1));
    return Object.fromEntries(Array.from({ length: random.below(4) }, (_, i) => [`${i}"[`, make(depth + 1)]));
  };
  const count = (value: unknown): { depth: number; values: number } => {
    if (typeof value !== "object" || value === null) return { depth: 0, values: 1 };
    const inner = Object.values(value).map(count);
    const depth = 1 + Math.max(0, ...inner.map((one) => one.depth));
    return { depth, values: inner.reduce((sum, { values }) => sum + values, 1) };
  };
  for (let i = 0; i < 500; i++) {
    const value = make(0);
    const [{ depth, values }, found] = [count(value), measureJson(JSON.stringify(value))];
    assert.equal(found.depth, depth);
    assert.ok(found.values >= values, JSON.stringify(value));
  }
});
