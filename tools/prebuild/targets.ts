/**
 * The platforms that have a package of binaries, as Zig's clang is to be told of them. It names processors' features in one
 * flag (-mcpu), so the flags of src/backend/cpu/toolchain.ts are translated.
 */
import { type Isa, type Target, hostTarget } from "../../src/backend/cpu/toolchain.ts";

export interface PrebuildTarget {
  /** As in the package's name. */
  readonly name: string;
  readonly platform: "linux" | "darwin" | "win32";
  readonly arch: "x64" | "arm64";
  readonly isMusl?: boolean;
  /** Zig's name of it. */
  readonly triple: string;
}

/** The oldest glibc that binaries run on: Debian 10, RHEL 8, Ubuntu 18.10. */
export const GLIBC = "2.28";

export const TARGETS: readonly PrebuildTarget[] = [
  { name: "linux-x64", platform: "linux", arch: "x64", triple: `x86_64-linux-gnu.${GLIBC}` },
  { name: "linux-arm64", platform: "linux", arch: "arm64", triple: `aarch64-linux-gnu.${GLIBC}` },
  { name: "linux-x64-musl", platform: "linux", arch: "x64", isMusl: true, triple: "x86_64-linux-musl" },
  { name: "darwin-arm64", platform: "darwin", arch: "arm64", triple: "aarch64-macos.12.0" },
  { name: "darwin-x64", platform: "darwin", arch: "x64", triple: "x86_64-macos.12.0" },
  { name: "win32-x64", platform: "win32", arch: "x64", triple: "x86_64-windows-gnu" },
];

/** The target with flags that Zig takes. */
export function zigTarget({ platform, arch }: PrebuildTarget): Target {
  const target = hostTarget(platform, arch);
  const isas = target.isas.map((isa): Isa => ({ ...isa, flags: zigFlags(isa.flags, arch) }));
  return { ...target, baseline: zigFlags(target.baseline, arch), isas };
}

function zigFlags(flags: readonly string[], arch: string): string[] {
  const others = flags.filter((flag) => !/^-m(?!prefer)/.test(flag));
  const names = flags.flatMap((flag) => /^-m(?!arch|prefer)(.+)$/.exec(flag)?.[1] ?? []);
  const base = flags.flatMap((flag) => /^-march=(.+)$/.exec(flag)?.[1] ?? [])[0];
  if (arch === "x64") {
    const features = names.map((name) => name.replaceAll("-", "_"));
    return [`-mcpu=${[(base ?? "x86-64").replaceAll("-", "_"), ...features].join("+")}`, ...others];
  }
  // armv8.2-a+dotprod+fp16
  const [version = "armv8-a", ...features] = (base ?? "armv8-a").split("+");
  const number = /^armv(\d+)\.?(\d*)-a$/.exec(version);
  const level = number?.[2] === undefined || number[2] === "" ? [] : [`v${number[1]}_${number[2]}a`];
  const known = features.map((name) => (name === "fp16" ? "fullfp16" : name));
  return [`-mcpu=${["generic", ...level, ...known].join("+")}`, ...others];
}
