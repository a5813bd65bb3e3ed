import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ArtifactError, MillraceError } from "../errors.ts";
import { fileSource, readNote, readSmallFile } from "./node-file.ts";
import { makeFolder, millraceHome } from "./node-home.ts";
import { withLock } from "./node-lock.ts";
import { openArtifact } from "./node-open.ts";

const skip = process.platform === "win32" ? "needs pipes and devices among files" : false;

function folder(t: { after: (work: () => void) => void }): string {
  const path = mkdtempSync(join(tmpdir(), "millrace-file-"));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

const refuses = (work: Promise<unknown>, message: RegExp): Promise<void> =>
  assert.rejects(work, (error) => error instanceof ArtifactError && message.test(error.message));

test("pipes, devices and folders are not files, and nothing waits for them", { skip, timeout: 20_000 }, async (t) => {
  const root = folder(t);
  const pipe = join(root, "pipe.gguf");
  execFileSync("mkfifo", [pipe]);
  const zero = join(root, "zero.json");
  symlinkSync("/dev/zero", zero);
  const circle = join(root, "circle");
  symlinkSync(circle, circle);
  for (const path of [pipe, zero, root]) {
    await refuses(fileSource(path), /is not a regular file/);
    await refuses(readSmallFile(path, 100), /is not a regular file/);
    assert.equal(await readNote(path), undefined);
  }
  await refuses(openArtifact(pipe), /pipe\.gguf is not a regular file/);
  await refuses(fileSource(circle), /links go round/);
});

test("in a model's folder, each file that is none is named", { skip, timeout: 20_000 }, async (t) => {
  for (const name of ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]) {
    const root = folder(t);
    writeFileSync(join(root, "config.json"), '{"model_type":"llama"}');
    writeFileSync(join(root, "tokenizer.json"), "{}");
    writeFileSync(join(root, "model.safetensors"), "");
    rmSync(join(root, name), { force: true });
    symlinkSync("/dev/zero", join(root, name));
    await refuses(openArtifact(root), new RegExp(`${name} is not a regular file`));
    rmSync(join(root, name));
    execFileSync("mkfifo", [join(root, name)]);
    await refuses(openArtifact(root), new RegExp(`${name} is not a regular file`));
  }
});

test("no more is read than a small file may have", async (t) => {
  const path = join(folder(t), "config.json");
  writeFileSync(path, "x".repeat(5000));
  assert.equal((await readSmallFile(path, 5000)).length, 5000);
  await refuses(readSmallFile(path, 4999), /has 5000 bytes, expected 4999 at most/);
  truncateSync(path, 2 ** 40);
  await refuses(readSmallFile(path, 2 ** 20), /expected 1048576 at most/);
});

test("a folder that can't be made ends with the reason", { skip, timeout: 20_000 }, async (t) => {
  const root = folder(t);
  await makeFolder(join(root, "a/b/c"));
  await makeFolder(join(root, "a/b/c"));
  writeFileSync(join(root, "file"), "");
  const before = process.env["MILLRACE_HOME"];
  t.after(() => {
    if (before === undefined) delete process.env["MILLRACE_HOME"];
    else process.env["MILLRACE_HOME"] = before;
  });
  for (const home of [join(root, "file"), "/proc/x", "/dev/null/x"]) {
    process.env["MILLRACE_HOME"] = home;
    assert.equal(millraceHome(), home);
    await assert.rejects(
      withLock(join(home, "native/x.lock"), () => Promise.resolve()),
      (error) => error instanceof MillraceError && /can't write .*MILLRACE_HOME is /.test(error.message),
    );
  }
});

test("what stands in a lock's place and is none ends the waiting", { skip, timeout: 20_000 }, async (t) => {
  const path = join(folder(t), "x.lock");
  symlinkSync("/no/such/target", path);
  await assert.rejects(
    withLock(path, () => Promise.resolve()),
    (error) => error instanceof MillraceError && /is no lock of Millrace's/.test(error.message),
  );
});
