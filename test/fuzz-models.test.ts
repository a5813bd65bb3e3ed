import assert from "node:assert/strict";
import { test } from "node:test";
import { fuzzModels } from "../checks/fuzz-models.ts";

// A small share of check:fuzz; also what `npm run test:sanitize -- test/fuzz-models.test.ts` runs.
test("mutated models answer or give an error that says why, and harm nobody beside them", async () => {
  const { answered, errors, faults } = await fuzzModels(120, { seed: 20, timed: false });
  assert.deepEqual(faults, []);
  assert.ok(answered >= 20, `${answered} answered`);
  assert.ok((errors.get("ArtifactError") ?? 0) >= 20);
});
