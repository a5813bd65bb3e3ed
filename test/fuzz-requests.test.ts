import assert from "node:assert/strict";
import { test } from "node:test";
import { fuzzRequests } from "../checks/fuzz-requests.ts";

// A small share of check:fuzz.
test("requests by the schemas, whole and damaged, get what is described", { timeout: 120_000 }, async () => {
  const { answered, refused, paths, faults } = await fuzzRequests(600, { seed: 11 });
  assert.deepEqual(faults, []);
  assert.ok(answered > 150 && refused > 100, `${answered} answered, ${refused} refused`);
  for (const path of ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/tokenize"])
    assert.ok((paths.get(path) ?? 0) > 0, path);
});
