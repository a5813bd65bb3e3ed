/** Packed weights on disk: found again, the same bits, and nothing that stands in their place does harm. */
import assert from "node:assert/strict";
import { mkdtemp, open, readdir, readFile, rm, stat, truncate, utimes, writeFile } from "node:fs/promises";
import { statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import test, { after, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { inFile } from "../../../test/support/in-file.ts";
import { TensorMaker } from "../../../test/support/memory-artifact.ts";
import type { ModelArtifact } from "../../artifact/artifact.ts";
import { GraphBuilder } from "../../graph/builder.ts";
import type { Graph } from "../../graph/graph.ts";
import { ProgramRunner } from "../program-runner.ts";
import { loadAddon } from "./addon.ts";
import { createCpuBackend } from "./backend.ts";
import { asNativeAddon } from "./native.ts";
import { clearPacked, listPacked, openPacked, packedFolder, writePacked } from "./packed-cache.ts";

const backend = await createCpuBackend({ threads: 2, packedCache: true });
const tensors = new TensorMaker(5);
const g = new GraphBuilder("packed");
const x = g.embed(tensors.tensor("table", "F32", [16, 256]));
const graph: Graph = g.finish(g.rows(g.linear(x, tensors.tensor("matrix", "Q8_0", [65_536, 256]))), {
  contextLength: 16,
});

const before = process.env["MILLRACE_HOME"];
after(async () => {
  if (before === undefined) delete process.env["MILLRACE_HOME"];
  else process.env["MILLRACE_HOME"] = before;
  await backend.close();
});

async function emptyHome(t: TestContext): Promise<void> {
  const home = await mkdtemp(path.join(tmpdir(), "millrace-packed-"));
  process.env["MILLRACE_HOME"] = home;
  t.after(() => rm(home, { recursive: true, force: true, maxRetries: 20 }));
}

async function logitsOf(artifact: ModelArtifact): Promise<Buffer> {
  const runner = await ProgramRunner.create(backend, artifact, graph, { kv: "f32", context: 16 });
  const { logits } = await runner.step([{ sequence: 0, tokens: [3, 5] }], { logits: [1] });
  const bytes = Buffer.from(logits.slice().buffer);
  await runner.close();
  return bytes;
}

/** Waits until the one file is there, which is written beside the steps. */
async function written(): Promise<string> {
  for (let i = 0; i < 600; i++) {
    const [entry] = await listPacked();
    if (entry !== undefined) return entry.path;
    await sleep(20);
  }
  assert.fail("nothing was written");
}

test("a second upload maps what the first one packed, with the same bits", async (t) => {
  await emptyHome(t);
  const { artifact } = await inFile(t, tensors.artifact());
  const bits = await logitsOf(artifact);
  const file = await written();
  const { mtimeMs, ino } = await stat(file);
  await utimes(file, 1000, 1000);
  assert.deepEqual(await logitsOf(artifact), bits);
  const used = await stat(file);
  assert.equal(used.ino, ino);
  assert.ok(used.mtimeMs >= mtimeMs, "its use is noted");
  const [entry] = await listPacked();
  assert.equal(entry?.model, artifact.name);
  assert.ok((await clearPacked()) > 16 * 2 ** 20);
  assert.deepEqual(await listPacked(), []);
});

test("weights of another file, or of the same one after a change, are packed anew", async (t) => {
  await emptyHome(t);
  const { artifact, file } = await inFile(t, tensors.artifact());
  const bits = await logitsOf(artifact);
  await written();
  const changed = await readFile(file);
  for (let at = 16 * 256 * 4; at < changed.length; at += 34) changed.writeUInt16LE(0x2c00, at);
  const other = await inFile(t, tensors.artifact());
  await writeFile(other.file, changed);
  const again = await inFile(t, other.artifact);
  assert.notDeepEqual(await logitsOf(again.artifact), bits);
});

test("a truncated, a changed, a foreign and an empty file are replaced", async (t) => {
  await emptyHome(t);
  const { artifact } = await inFile(t, tensors.artifact());
  const bits = await logitsOf(artifact);
  const file = await written();
  const whole = await readFile(file);
  const flipped = (at: number): Buffer => {
    const copy = Buffer.from(whole);
    copy[at] = (copy[at] ?? 0) ^ 1;
    return copy;
  };
  const damages: readonly (readonly [string, Buffer])[] = [
    ["half of it", whole.subarray(0, whole.length / 2)],
    ["all but the last byte", whole.subarray(0, -1)],
    ["nothing", Buffer.alloc(0)],
    ["zeros", Buffer.alloc(whole.length)],
    ["another magic", flipped(0)],
    ["another header", flipped(60)],
    ["another first weight", flipped(65_536)],
    ["another weight", flipped(whole.length / 2)],
    ["another checksum", flipped(whole.length - 1)],
    ["garbage", Buffer.from("garbage")],
  ];
  for (const [what, bytes] of damages) {
    await rm(file);
    await writeFile(file, bytes);
    assert.deepEqual(await logitsOf(artifact), bits, what);
    for (let i = 0; i < 600 && !(await readFile(file).catch(() => bytes)).equals(whole); i++) await sleep(20);
    assert.ok((await readFile(file)).equals(whole), `${what}: it is written again`);
  }
});

test("two that write at once leave one whole file and nothing else", async (t) => {
  await emptyHome(t);
  const { artifact } = await inFile(t, tensors.artifact());
  const [one, two] = await Promise.all([logitsOf(artifact), logitsOf(artifact)]);
  assert.deepEqual(one, two);
  for (let i = 0; i < 600; i++) {
    const names = await readdir(packedFolder()).catch(() => []);
    if (names.length > 0 && names.every((name) => name.endsWith(".packed"))) break;
    await sleep(20);
  }
  assert.equal((await readdir(packedFolder())).length, 1);
  assert.deepEqual(await logitsOf(artifact), one);
});

test("where nothing can be written, or the disk is full, a load goes on without", async (t) => {
  await emptyHome(t);
  const { artifact } = await inFile(t, tensors.artifact());
  const bits = await logitsOf(artifact);
  await written();
  const home = process.env["MILLRACE_HOME"] ?? "";
  const noFolder = path.join(home, "a file");
  await writeFile(noFolder, "");
  process.env["MILLRACE_HOME"] = noFolder;
  assert.deepEqual(await logitsOf(artifact), bits);
  assert.deepEqual(await listPacked(), []);
  process.env["MILLRACE_HOME"] = home;

  const full = (): Promise<bigint> => Promise.reject(new Error("ENOSPC"));
  assert.equal(await writePacked({ key: "full", bytes: 100, model: "m" }, full), false);
  assert.equal((await readdir(packedFolder())).length, 1, "no part of it is left");
});

test("the addon says what the system says where a piece can't be written", async (t) => {
  if (process.platform !== "linux") return t.skip("there is no /dev/full");
  const native = asNativeAddon(await loadAddon());
  const weights = native.createWeights(5 * 2 ** 20);
  const device = await open("/dev/full", "w");
  await assert.rejects(async () => native.saveWeights(weights, 0, device.fd, 0), /space/);
  assert.equal(native.saveWeights(weights, 2, device.fd, 0), undefined, "there are two pieces");
  await device.close();
  native.close(weights);
});

test("those used longest ago make room, within a tenth of the free disk", async (t) => {
  await emptyHome(t);
  const piece = (key: string, bytes: number): Promise<boolean> =>
    writePacked({ key, bytes, model: key }, (index) => (index === 0 ? Promise.resolve(1n) : undefined));
  assert.ok(await piece("old", 8));
  assert.ok(await piece("new", 8));
  const { bavail, bsize } = statfsSync(packedFolder());
  const share = Math.floor(0.1 * bavail * bsize);
  assert.equal(await piece("huge", 2 * share), false, "more than the share of the whole cache");
  // Files with holes take no place on the disk, but count as what they will be to whom maps them.
  const old = path.join(packedFolder(), "old.packed");
  await truncate(old, share);
  await utimes(old, 1000, 1000);
  assert.ok(await piece("next", Math.floor(0.5 * share)));
  assert.deepEqual((await listPacked()).map(({ path: file }) => path.basename(file)).sort(), [
    "new.packed",
    "next.packed",
  ]);
  // Its weights were never written, so its length is wrong.
  assert.equal(await openPacked("next", 9), undefined);
});
