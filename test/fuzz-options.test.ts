import assert from "node:assert/strict";
import { test } from "node:test";
import { fuzzOptions } from "../checks/fuzz-options.ts";

// A small share of check:fuzz.
test("a clumsy caller gets a RequestError or an answer, and the model answers as before", async () => {
  const { answered, refused, faults } = await fuzzOptions(1200, { seed: 7, timed: false });
  assert.deepEqual(faults, []);
  assert.ok(answered > 100 && refused > 500, `${answered} answered, ${refused} refused`);
});
