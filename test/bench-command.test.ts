/** `millrace bench` on the built-in model: what it prints is measured and whole; no figure is judged. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../src/cli/main.ts", import.meta.url));

test("millrace bench probes the machine and measures what fits the context", () => {
  const args = ["bench", "--context", "256", "--rounds", "1", "--threads", "1", "--json"];
  const stdout = execFileSync(process.execPath, [MAIN, ...args], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  const { threads, bytesPerSecond, load, results } = JSON.parse(stdout) as {
    threads: number;
    bytesPerSecond: number;
    load: { weightBytes: number; macs: number };
    results: { task: string; tokensPerSecond: number; share: number }[];
  };
  assert.equal(threads, 1);
  // A prompt of 512 tokens and one of 2,048 have no room in this context.
  assert.deepEqual(
    results.map(({ task }) => task),
    ["decode", "decode, 8 at once"],
  );
  for (const { task, tokensPerSecond, share } of results) {
    assert.ok(Number.isFinite(tokensPerSecond) && tokensPerSecond > 0, task);
    assert.ok(Number.isFinite(share) && share > 0, task);
  }
  assert.ok(bytesPerSecond > 0 && load.weightBytes > load.macs / 2, "bytes of the weights, some of 4 bits");
});
