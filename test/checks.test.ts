/** npm test's share of check:exact, check:model and check:grammar: the same programs, fewer cases. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import path from "node:path";
import { test } from "node:test";
import { GREEDY, MODEL } from "./support/greedy-paths.ts";
import { missing } from "./support/shared.ts";

function check(name: string, ...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [path.join(import.meta.dirname, "../checks", name), ...args],
    {
      encoding: "utf8",
    },
  );
  assert.equal(status, 0, `${stdout}\n${stderr}`);
  return stdout;
}

test("check:exact finds no mismatch, over families, formats and ISA paths", () => {
  assert.match(check("exact.ts", "--steps", "1", "--only", "kv q8"), /\nmismatches: 0\nPASS\n$/);
});

test("check:exact finds a planted fault", () => {
  assert.match(check("exact.ts", "--sabotage", "--only", "Q4_"), /PASS: the planted faults were found\n$/);
});

test("check:model agrees with transformers' records", { skip: missing(MODEL, GREEDY) }, () => {
  assert.match(check("model.ts", "--quick"), /\nPASS\n$/);
});

test("check:grammar finds no fault in its share", () => {
  assert.match(check("grammar.ts", "--quick"), /\nPASS\n$/);
});
