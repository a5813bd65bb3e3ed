/**
 * `npm run test:sanitize [-- TEST FILES]`: the native code under AddressSanitizer and UBSan. Builds the `sanitize`
 * variant, runs the C++ unit tests, then the TypeScript tests of `backend/` (or those named) in a Node that has the
 * sanitizer's library preloaded, as a program must that loads sanitized code later.
 */
import { spawnSync } from "node:child_process";
import { globSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

import { buildNative, packageRoot } from "../src/backend/cpu/build.ts";
import { findCompiler, hostTarget, run } from "../src/backend/cpu/toolchain.ts";

const outDir = join(packageRoot(), "build", "sanitize");
const build = await buildNative({ outDir, variant: "sanitize", strict: true, tests: true });
const options = {
  ASAN_OPTIONS: "detect_leaks=0:allocator_may_return_null=1",
  UBSAN_OPTIONS: "print_stacktrace=1",
};
if (build.tests !== undefined) {
  const units = spawnSync(build.tests, [], { stdio: "inherit", env: { ...process.env, ...options } });
  if (units.status !== 0) process.exit(1);
}

const compiler = await findCompiler(hostTarget());
const mac = process.platform === "darwin";
const library = mac
  ? "libclang_rt.asan_osx_dynamic.dylib"
  : compiler.kind === "gcc"
    ? "libasan.so"
    : "libclang_rt.asan.so";
const asan = (await run(compiler.command, [...compiler.args, `-print-file-name=${library}`])).stdout.trim();
const files = process.argv.slice(2);
const tests = files.length > 0 ? files : globSync("src/backend/**/*.test.ts");
const node = spawnSync(process.execPath, ["--test", ...tests.filter((file) => !file.endsWith("build.test.ts"))], {
  stdio: "inherit",
  env: {
    ...process.env,
    ...options,
    [mac ? "DYLD_INSERT_LIBRARIES" : "LD_PRELOAD"]: asan,
    MILLRACE_NATIVE_VARIANT: "sanitize",
  },
});
process.exitCode = node.status ?? 1;
