import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { withLock } from "./node-lock.ts";

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "millrace-lock-"));
  t.after(() => rm(path, { recursive: true }));
  return path;
}

test("processes take turns, also when a dead one left its lock behind", async (t) => {
  const path = await folder(t);
  const lock = join(path, "lock");
  const count = join(path, "count");
  await writeFile(count, "0");
  await writeFile(lock, `999999999 ${hostname()} left-behind`);
  // Each child reads, waits, writes: without mutual exclusion increments get lost.
  const child = `
    import { withLock } from ${JSON.stringify(new URL("node-lock.ts", import.meta.url).href)};
    import { readFile, writeFile } from "node:fs/promises";
    for (let i = 0; i < 5; i++) await withLock(${JSON.stringify(lock)}, async () => {
      const n = Number(await readFile(${JSON.stringify(count)}, "utf8"));
      await new Promise((r) => setTimeout(r, 5));
      await writeFile(${JSON.stringify(count)}, String(n + 1));
    });`;
  await Promise.all(
    [1, 2, 3].map(async () => {
      const p = spawn(process.execPath, ["--input-type=module", "-e", child], { stdio: "inherit" });
      const [code] = await new Promise<[number | null]>((resolve) => p.on("exit", (c) => resolve([c])));
      assert.equal(code, 0);
    }),
  );
  assert.equal(await readFile(count, "utf8"), "15");
});

test("a lock that nobody touches any more is stale, whoever holds it", async (t) => {
  const lock = join(await folder(t), "lock");
  await writeFile(lock, "1 elsewhere x");
  const old = new Date(Date.now() - 60_000);
  await utimes(lock, old, old);
  assert.equal(await withLock(lock, async () => "done"), "done");
});

test("waiting says so once and ends with the signal; a failing holder releases", async (t) => {
  const lock = join(await folder(t), "lock");
  await assert.rejects(
    withLock(lock, () => Promise.reject(new Error("work failed"))),
    /work failed/,
  );
  const abort = new AbortController();
  const waits: string[] = [];
  await withLock(lock, async () => {
    const second = withLock(lock, async () => "never", {
      signal: abort.signal,
      onWait: (holder) => {
        waits.push(holder);
        abort.abort(new Error("enough"));
      },
    });
    await assert.rejects(second);
  });
  assert.deepEqual(waits, [String(process.pid)]);
});
