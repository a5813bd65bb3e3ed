import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { promisify } from "node:util";

// A small share of check:fuzz, in a process of its own: the memory bound is measured with a small young generation.
test("hostile model files give ArtifactErrors, and take little memory", async () => {
  const script = join(import.meta.dirname, "../checks/fuzz.ts");
  const share = ["--headers", "2000", "--tables", "500", "--large", "8", "--templates", "200", "--tokenizers", "100"];
  const none = ["--calls", "0", "--models", "0", "--any-time"];
  const { stdout } = await promisify(execFile)(process.execPath, [
    "--max-semi-space-size=1",
    script,
    ...share,
    ...none,
  ]);
  assert.match(stdout, /\nPASS\n$/, stdout);
});
