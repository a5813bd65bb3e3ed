/**
 * Which C++ compiler, which targets, which flags: all that `build.ts` needs to know about the world. The instruction
 * sets (ISAs) of a target stand here, lowest first; the C++ side learns them through MILLRACE_FOR_EACH_ISA.
 */
import { spawn } from "node:child_process";
import process from "node:process";

import { NativeError } from "../../errors.ts";

/** `sabotage`: the release with faults that can be planted (native/cpu/sabotage.h), for checks that must find them. */
export const VARIANTS = ["release", "debug", "sanitize", "sabotage"] as const;
export type Variant = (typeof VARIANTS)[number];

export interface Isa {
  /** Also the C++ namespace of this ISA's kernels. */
  readonly name: string;
  readonly flags: readonly string[];
  /** What /proc/cpuinfo must name for it. */
  readonly needs: readonly string[];
}

export interface Target {
  readonly platform: string;
  readonly arch: string;
  /** What every processor of this target runs: flags of all sources outside `isa/`. */
  readonly baseline: readonly string[];
  /** Lowest first: the order in which objects are linked (see `build.ts`). */
  readonly isas: readonly Isa[];
}

export interface Compiler {
  readonly command: string;
  readonly args: readonly string[];
  readonly kind: "gcc" | "clang";
  /** First line of `--version`: part of what a rebuild depends on. */
  readonly version: string;
}

const NEEDS_AVX2 = ["avx2", "fma", "f16c", "bmi2"];
const NEEDS_AVX512 = [...NEEDS_AVX2, "avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni"];
const AVX2 = ["-mavx2", "-mfma", "-mf16c", "-mbmi2"];
const AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni", "-mprefer-vector-width=512"];

const AMX = ["-mamx-tile", "-mamx-int8"];

export function hostTarget(platform: string = process.platform, arch: string = process.arch): Target {
  switch (arch) {
    case "x64": {
      const baseline = ["-march=x86-64-v2"];
      const isas = [
        { name: "scalar", flags: baseline, needs: [] },
        { name: "avx2", flags: [...baseline, ...AVX2], needs: NEEDS_AVX2 },
        { name: "avxvnni", flags: [...baseline, ...AVX2, "-mavxvnni"], needs: [...NEEDS_AVX2, "avx_vnni"] },
        { name: "avx512vnni", flags: [...baseline, ...AVX2, ...AVX512], needs: NEEDS_AVX512 },
        {
          name: "avx512amx",
          flags: [...baseline, ...AVX2, ...AVX512, ...AMX],
          needs: [...NEEDS_AVX512, "amx_tile", "amx_int8"],
        },
      ];
      return { platform, arch, baseline, isas };
    }
    case "arm64": {
      const isas = [
        { name: "scalar", flags: [], needs: [] },
        { name: "neon", flags: ["-march=armv8.2-a+dotprod+fp16"], needs: ["asimddp", "fphp", "asimdhp"] },
      ];
      return { platform, arch, baseline: [], isas };
    }
    default:
      return { platform, arch, baseline: [], isas: [{ name: "scalar", flags: [], needs: [] }] };
  }
}

/**
 * The target with the best of the instruction sets that a processor runs, for a first start that compiles: a second one where
 * a system may refuse the best (AMX). All of them where /proc/cpuinfo (its text) doesn't tell.
 */
export function forProcessor(target: Target, cpuinfo: string | undefined): Target {
  const line = /^(?:flags|Features)\s*:(.*)$/m.exec(cpuinfo ?? "")?.[1];
  if (line === undefined) return target;
  const features = new Set(line.trim().split(/\s+/));
  const isas = target.isas.filter(({ needs }) => needs.every((feature) => features.has(feature)));
  const mayBeRefused = isas.at(-1)?.needs.some((feature) => feature.startsWith("amx")) === true;
  return { ...target, isas: isas.slice(mayBeRefused ? -2 : -1) };
}

/**
 * `strict` (warnings are errors) is for our own builds; on a user's machine a newer compiler's new warning must not
 * stop the first load.
 */
export function compileFlags(variant: Variant, strict: boolean): string[] {
  const common = ["-std=c++20", "-fPIC", "-pthread", "-fvisibility=hidden", "-fvisibility-inlines-hidden"];
  // No contraction of a*b+c and no other liberty with floats: the same bits on every ISA.
  common.push("-ffp-contract=off", "-fno-math-errno", "-fno-exceptions", "-fno-rtti");
  common.push("-Wall", "-Wextra", ...(strict ? ["-Werror"] : []));
  common.push("-DNAPI_VERSION=9");
  switch (variant) {
    case "release":
      return [...common, "-DNDEBUG"];
    case "sabotage":
      return [...common, "-DNDEBUG", "-DMILLRACE_SABOTAGE"];
    case "debug":
      return [...common, "-g", "-D_GLIBCXX_ASSERTIONS"];
    case "sanitize":
      return [...common, "-g", "-fno-omit-frame-pointer", "-D_GLIBCXX_ASSERTIONS", ...SANITIZE];
    default:
      return variant satisfies never;
  }
}

/** In these every loop that is to be unrolled says so; GCC takes three times as long over them at -O3, and gains nothing. */
const SPELLED_OUT = ["isa/linear-int.cpp", "isa/linear-wide.cpp"];

/** How far the compiler goes with a source (its name from native/cpu on). */
export function optimization(variant: Variant, source: string): string {
  if (variant === "debug") return "-Og";
  if (variant === "sanitize") return "-O1";
  return source.startsWith("isa/") && !SPELLED_OUT.includes(source) ? "-O3" : "-O2";
}

/** What tells select.cpp the instruction sets of a build, lowest first. */
export function isaList(target: Target): string {
  return `-DMILLRACE_FOR_EACH_ISA(X)=${target.isas.map((isa) => `X(${isa.name})`).join(" ")}`;
}

const SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

export function linkFlags(variant: Variant): string[] {
  return ["-pthread", ...(variant === "sanitize" ? SANITIZE : [])];
}

export function addonLinkFlags(target: Target): string[] {
  // Node-API's functions are found at load time; -z now lets a function that nobody defined fail there, not in a call.
  if (target.platform === "darwin") return ["-shared", "-undefined", "dynamic_lookup"];
  return target.platform === "win32" ? ["-shared"] : ["-shared", "-Wl,-z,now"];
}

/** The first C++ compiler of `$CXX`, g++, c++, clang++ that runs and is new enough. */
export async function findCompiler(target: Target, cxx: string | undefined = process.env["CXX"]): Promise<Compiler> {
  if (target.platform === "win32") {
    throw new NativeError("Millrace's kernels aren't built on Windows yet; run Millrace in WSL (Linux) instead.");
  }
  const candidates = [...(cxx === undefined || cxx.trim() === "" ? [] : [cxx.trim()]), "g++", "c++", "clang++"];
  const refusals: string[] = [];
  for (const candidate of new Set(candidates)) {
    const [command = candidate, ...args] = candidate.split(/\s+/);
    const answer = await run(command, [...args, "--version"]).catch(() => undefined);
    if (answer === undefined || answer.code !== 0) {
      refusals.push(`${candidate} (not found)`);
      continue;
    }
    const version = answer.stdout.split("\n")[0] ?? "";
    const kind = /clang/i.test(answer.stdout) ? "clang" : "gcc";
    const major = Number((await run(command, [...args, "-dumpversion"])).stdout.trim().split(".")[0]);
    const oldest = kind === "gcc" ? 11 : 13;
    if (major < oldest) {
      refusals.push(`${candidate} (${version}: older than ${kind} ${oldest})`);
      continue;
    }
    const [refused] = refusals;
    if (refused !== undefined && cxx !== undefined && cxx.trim() !== "")
      process.emitWarning(`CXX names ${refused}; ${candidate} is used instead`, "MillraceWarning");
    return { command, args, kind, version };
  }
  throw new NativeError(
    `Millrace's kernels need a C++20 compiler (GCC 11 or Clang 13 on). Looked for: ${refusals.join(", ")}. ` +
      `Install one (${advice(target.platform)}) or name it in CXX.`,
  );
}

function advice(platform: string): string {
  if (platform === "darwin") return "xcode-select --install";
  return "Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++; Alpine: apk add g++";
}

export interface RunResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program without a shell; rejects where it can't be started. */
export function run(command: string, args: readonly string[], signal?: AbortSignal): Promise<RunResult> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    // A compiler's driver doesn't pass a signal on to the programs that it runs: all of its group get it.
    const inGroup = process.platform !== "win32";
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], detached: inGroup });
    const stop = (): void => {
      if (inGroup && child.pid !== undefined) process.kill(-child.pid, "SIGTERM");
      else child.kill();
    };
    signal?.addEventListener("abort", stop, { once: true });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.on("error", reject);
    child.on("close", (code) => {
      signal?.removeEventListener("abort", stop);
      // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- a signal's reason may be anything
      if (signal?.aborted === true) reject(signal.reason);
      else resolve({ code, stdout, stderr });
    });
  });
}
