import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { NativeError } from "../../errors.ts";
import { buildNative, builtIsas, isIntact, packageRoot, type BuildOptions, type BuildResult } from "./build.ts";
import { findCompiler, forProcessor, hostTarget } from "./toolchain.ts";

/** A small addon with the shape of the real one, in a folder whose name has a space. */
async function project(t: TestContext): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), "millrace build-"));
  t.after(() => rm(root, { recursive: true }));
  const files: Record<string, string> = {
    "isa/answer.h": `#pragma once
      namespace MILLRACE_ISA { int answer(); const char* name(); }`,
    "isa/answer.cpp": `#include "answer.h"
      #define TEXT(x) #x
      #define NAME(x) TEXT(x)
      namespace MILLRACE_ISA { int answer() { return 42; } const char* name() { return NAME(MILLRACE_ISA); } }`,
    "addon.cpp": `#include <node_api.h>
      #define X(isa) namespace isa { const char* name(); }
      MILLRACE_FOR_EACH_ISA(X)
      #undef X
      static napi_value names(napi_env env, napi_callback_info) {
        napi_value all, text; napi_create_array(env, &all); uint32_t i = 0;
        #define X(isa) napi_create_string_utf8(env, isa::name(), NAPI_AUTO_LENGTH, &text); napi_set_element(env, all, i++, text);
        MILLRACE_FOR_EACH_ISA(X)
        return all;
      }
      NAPI_MODULE_INIT() {
        napi_value f; napi_create_function(env, "names", NAPI_AUTO_LENGTH, names, nullptr, &f);
        napi_set_named_property(env, exports, "names", f); return exports;
      }`,
    "test/answer.cpp": `#include "test.h"
      namespace scalar { int answer(); }
      TEST(answerIsRight) { CHECK_EQ(scalar::answer(), 42); }`,
  };
  await mkdir(join(root, "native", "cpu", "isa"), { recursive: true });
  await cp(join(packageRoot(), "native", "cpu", "test", "test.h"), join(root, "native", "cpu", "test", "test.h"));
  await cp(join(packageRoot(), "native", "cpu", "test", "main.cpp"), join(root, "native", "cpu", "test", "main.cpp"));
  for (const [name, text] of Object.entries(files)) await writeFile(join(root, "native", "cpu", name), `${text}\n`);
  return root;
}

function build(root: string, more: Partial<BuildOptions> = {}): Promise<BuildResult> {
  return buildNative({ root, outDir: join(root, "build"), variant: "debug", strict: true, tests: true, ...more });
}

test("each ISA gets its own objects, and only what changed is compiled again", async (t) => {
  const root = await project(t);
  const isas = hostTarget().isas.map((isa) => isa.name);
  const first = await build(root);
  assert.equal(first.steps, 3 + isas.length + 2);
  const addon: unknown = createRequire(import.meta.url)(first.addon);
  assert.ok(typeof addon === "object" && addon !== null && "names" in addon && typeof addon.names === "function");
  assert.deepEqual(addon.names(), isas);
  const run = spawnSync(first.tests ?? "", { encoding: "utf8" });
  assert.match(run.stdout, /^1 passed, 0 failed, 0 skipped$/m);

  assert.equal((await build(root)).steps, 0);
  const later = new Date(Date.now() + 2000);
  await utimes(join(root, "native", "cpu", "test", "answer.cpp"), later, later);
  assert.equal((await build(root)).steps, 2, "one test source and the tests' program");
  // What was made lies before the header's time, so all that includes it is compiled again.
  await utimes(join(root, "native", "cpu", "isa", "answer.h"), later, later);
  assert.equal((await build(root)).steps, 1 + isas.length + 2);
});

test("where a build has other ISAs, only what lists them is compiled again", async (t) => {
  const root = await project(t);
  const all = hostTarget();
  const few = { ...all, isas: all.isas.slice(0, 1) };
  assert.equal((await build(root, { target: few, tests: false })).steps, 3);
  assert.deepEqual([...(await builtIsas(join(root, "build")))], ["scalar"]);
  assert.equal((await build(root, { tests: false })).steps, all.isas.length - 1 + 2);
  assert.deepEqual([...(await builtIsas(join(root, "build")))].sort(), all.isas.map(({ name }) => name).sort());
});

test("a first start compiles the best instruction set that the processor runs, and a second where it may be refused", () => {
  const namesOf = (cpuinfo: string | undefined, arch = "x64"): string[] =>
    forProcessor(hostTarget("linux", arch), cpuinfo).isas.map(({ name }) => name);
  const avx2 = "processor : 0\nflags\t\t: fpu sse2 avx2 fma f16c bmi2";
  const avx512 = `${avx2} avx512f avx512bw avx512vl avx512dq avx512_vnni`;
  assert.deepEqual(namesOf("flags : fpu sse2"), ["scalar"]);
  assert.deepEqual(namesOf(avx2), ["avx2"]);
  assert.deepEqual(namesOf(`${avx2} avx_vnni\nbugs : none`), ["avxvnni"]);
  assert.deepEqual(namesOf(avx512), ["avx512vnni"]);
  assert.deepEqual(namesOf(`${avx512} avx_vnni amx_bf16 amx_tile amx_int8`), ["avx512vnni", "avx512amx"]);
  assert.deepEqual(namesOf("Features\t: fp asimd fphp asimdhp asimddp", "arm64"), ["neon"]);
  assert.deepEqual(
    namesOf(undefined),
    hostTarget("linux", "x64").isas.map(({ name }) => name),
  );
});

test("a damaged result is linked again, and not loaded", async (t) => {
  const root = await project(t);
  const { addon } = await build(root, { tests: false });
  assert.ok(await isIntact(addon));
  const [whole, times] = [await readFile(addon), await stat(addon)];
  for (const damaged of [whole.subarray(0, whole.length / 2), new Uint8Array(0), Buffer.from("garbage")]) {
    await writeFile(addon, damaged);
    await utimes(addon, times.atime, times.mtime);
    assert.ok(!(await isIntact(addon)));
    assert.equal((await build(root, { tests: false })).steps, 1);
    assert.ok(await isIntact(addon));
  }
  await rm(`${addon}.sha256`);
  assert.ok(!(await isIntact(addon)));
});

test("a CXX that names nothing is said", async (t) => {
  const warned = once(process, "warning");
  const { command } = await findCompiler(hostTarget(), "no-such-c++");
  const [warning] = (await warned) as [Error];
  assert.match(
    warning.message,
    new RegExp(`CXX names no-such-c\\+\\+ \\(not found\\); .*${command.replaceAll("+", "\\+")}`),
  );
  t.diagnostic(warning.message);
});

test("a failed unit test is reported and counted", async (t) => {
  const root = await project(t);
  const wrong = `#include "test.h"\nTEST(sumIsWrong) { CHECK_EQ(1 + 1, 3); CHECK_NEAR(1.0, 1.1, 0.01); }\n`;
  await writeFile(join(root, "native", "cpu", "test", "wrong.cpp"), wrong);
  const run = spawnSync((await build(root)).tests ?? "", { encoding: "utf8" });
  assert.equal(run.status, 1);
  assert.match(run.stdout, /wrong\.cpp:2: 1 \+ 1 == 3: 2 != 3/);
  assert.match(run.stdout, /^1 passed, 1 failed, 0 skipped$/m);
});

test("a build that fails says what the compiler said; a warning is an error in our own builds only", async (t) => {
  const root = await project(t);
  const source = join(root, "native", "cpu", "isa", "answer.cpp");
  await writeFile(source, `#include "answer.h"\nstatic int unused;\nint broken() { return nonsense; }\n`);
  await assert.rejects(build(root), (error) => error instanceof NativeError && /nonsense/.test(error.message));
  await writeFile(join(root, "native", "cpu", "extra.cpp"), `static int unused() { return 1; }\n`);
  await writeFile(
    source,
    `#include "answer.h"\nnamespace MILLRACE_ISA { int answer() { return 1; } const char* name() { return ""; } }\n`,
  );
  await assert.rejects(build(root), /unused/);
  assert.ok((await build(root, { strict: false })).steps > 0);
});

test("without a compiler the message says what was looked for and what to install", async () => {
  const path = process.env["PATH"];
  process.env["PATH"] = "/nowhere";
  try {
    await assert.rejects(
      findCompiler({ ...hostTarget(), platform: "linux" }, "no-such-c++"),
      /Looked for: no-such-c\+\+ \(not found\), g\+\+ \(not found\), c\+\+ .*clang\+\+ .*apt install g\+\+/,
    );
    await assert.rejects(findCompiler({ ...hostTarget(), platform: "darwin" }, ""), /xcode-select --install/);
  } finally {
    process.env["PATH"] = path;
  }
});
