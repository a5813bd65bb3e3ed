import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";

import { buildNative, packageRoot } from "../src/backend/cpu/build.ts";

test("the C++ unit tests pass", async () => {
  const outDir = join(packageRoot(), "build", "release");
  const { tests } = await buildNative({ outDir, variant: "release", strict: true, tests: true });
  const run = spawnSync(tests ?? "", { encoding: "utf8" });
  assert.equal(run.status, 0, `${run.stdout}\n${run.stderr}`);
  assert.match(run.stdout, /^[1-9]\d* passed, 0 failed, \d+ skipped\n$/m);
});
