/** `npm run prebuild`: what each platform's compiler is told, and what a binary must not need. The build itself takes minutes. */
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import test from "node:test";

import { addonFileName, packageRoot } from "../src/backend/cpu/build.ts";
import { findPrebuilt, prebuiltPackage } from "../src/backend/cpu/prebuilt.ts";
import { hostTarget } from "../src/backend/cpu/toolchain.ts";
import { missingFrom } from "../tools/prebuild/binary.ts";
import { TARGETS, zigTarget } from "../tools/prebuild/targets.ts";

test("Zig is told the features of every instruction set in its own words", () => {
  for (const target of TARGETS) {
    const { isas } = zigTarget(target);
    assert.deepEqual(
      isas.map(({ name }) => name),
      hostTarget(target.platform, target.arch).isas.map(({ name }) => name),
    );
    for (const { flags } of isas) {
      assert.equal(flags.filter((flag) => flag.startsWith("-mcpu=")).length, 1);
      assert.ok(
        flags.every((flag) => /^-mcpu=|^-mprefer-vector-width=/.test(flag)),
        flags.join(" "),
      );
    }
  }
  const flagsOf = (name: string, isa: string): string | undefined => {
    const target = TARGETS.find((one) => one.name === name);
    return target && zigTarget(target).isas.find((one) => one.name === isa)?.flags[0];
  };
  assert.equal(flagsOf("win32-x64", "avx2"), "-mcpu=x86_64_v2+avx2+fma+f16c+bmi2");
  assert.match(flagsOf("linux-x64", "avx512amx") ?? "", /\+amx_tile\+amx_int8$/);
  assert.equal(flagsOf("darwin-arm64", "neon"), "-mcpu=generic+v8_2a+dotprod+fullfp16");
  assert.equal(flagsOf("linux-arm64", "scalar"), "-mcpu=generic");
});

test("a binary that needs a newer glibc, a C++ library or another platform is found out", () => {
  const elf = (text: string): Buffer => Buffer.from(`\x7fELF\0${text}\0`, "latin1");
  const linux = { platform: "linux" } as const;
  assert.deepEqual(missingFrom(elf("GLIBC_2.28\0GLIBC_2.2.5"), linux), []);
  assert.deepEqual(missingFrom(elf("GLIBC_2.29"), linux), ["it needs glibc 2.29"]);
  assert.deepEqual(missingFrom(elf("GLIBC_2.2.5"), { platform: "linux", isMusl: true }), ["it needs glibc 2.2"]);
  assert.deepEqual(missingFrom(elf("libstdc++.so.6"), linux), ["its C++ library is not its own"]);
  assert.deepEqual(missingFrom(elf("GLIBCXX_3.4.30"), linux), ["its C++ library is not its own"]);
  assert.deepEqual(missingFrom(elf(""), { platform: "win32" }), ["it is no binary of its platform"]);
});

test("on Windows every function of Node-API that the addon calls is asked for by name", () => {
  const folder = path.join(packageRoot(), "native/cpu");
  const own = path.join(folder, "node-api-windows.cpp");
  const called = new Set<string>();
  for (const file of globSync(path.join(folder, "*.cpp"))) {
    if (file === own) continue;
    for (const [, name] of readFileSync(file, "utf8").matchAll(/\b(napi_[a-z_0-9]+)\(/g)) called.add(name ?? "");
  }
  const asked = [...readFileSync(own, "utf8").matchAll(/X\((napi_\w+)\)/g)].map(([, name]) => name);
  assert.deepEqual(new Set(asked), called);
});

test("the binaries that were made need nothing that they must not", (t) => {
  const made = globSync(path.join(packageRoot(), "build/prebuild/packages/*/*.node"));
  if (made.length === 0) return t.skip("npm run prebuild makes them");
  for (const file of made) {
    const target = TARGETS.find(({ name }) => name === path.basename(path.dirname(file)));
    assert.ok(target, file);
    assert.deepEqual(missingFrom(readFileSync(file), target), [], file);
  }
});

test("the package of this platform is taken where it is installed in this version", async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), "millrace-prebuilt-"));
  t.after(() => rm(folder, { recursive: true }));
  const { platform, arch } = process;
  const from = path.join(folder, "program.js");
  assert.deepEqual(findPrebuilt("1.2.3", from), []);
  const place = path.join(folder, "node_modules", prebuiltPackage(platform, arch));
  await mkdir(place, { recursive: true });
  await writeFile(path.join(place, "package.json"), JSON.stringify({ version: "1.2.3" }));
  assert.deepEqual(findPrebuilt("1.2.3", from), [path.join(place, addonFileName({ platform, arch }))]);
  assert.deepEqual(findPrebuilt("1.2.4", from), []);
});
