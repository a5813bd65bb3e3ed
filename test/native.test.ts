import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { globSync } from "node:fs";
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

test("no ISA's object shares an inline function with another's", async (t) => {
  const objects = globSync(join(packageRoot(), "build", "release", "obj", "isa-*.o"));
  assert.ok(objects.length > 0);
  const symbols = spawnSync("nm", ["-C", ...objects], { encoding: "utf8" });
  if (symbols.status !== 0) return t.skip("there is no nm here");
  // Weak and unique definitions are merged by name, whatever instructions each was compiled to.
  const shared = symbols.stdout
    .split("\n")
    .filter(
      (line) => / [WVu] /.test(line) && !/millrace::(scalar|avx2|avxvnni|avx512vnni|avx512amx|neon)::/.test(line),
    );
  assert.deepEqual(shared, []);
});
