/**
 * Packages that hold the addon as a binary, one a platform, made by `npm run prebuild`: how they are called, and where the
 * one of this platform lies if it is installed.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import process from "node:process";

import { addonFileName } from "./build.ts";

/** `@millrace/cpu-linux-x64`, `…-linux-x64-musl`, `…-darwin-arm64`, … */
export function prebuiltPackage(platform: string, arch: string, isMusl = false): string {
  return `@millrace/cpu-${platform}-${arch}${isMusl ? "-musl" : ""}`;
}

/** The addons of installed packages of this very version: npm installs the one for this C library, where it knows which. */
export function findPrebuilt(version: string, from: string = import.meta.url): string[] {
  const { platform, arch } = process;
  const names = platform === "linux" ? [false, true] : [false];
  return names.flatMap((isMusl) => {
    try {
      const manifest = createRequire(from).resolve(`${prebuiltPackage(platform, arch, isMusl)}/package.json`);
      const parsed: unknown = JSON.parse(readFileSync(manifest, "utf8"));
      const found = typeof parsed === "object" && parsed !== null && "version" in parsed ? parsed.version : undefined;
      return found === version ? [join(dirname(manifest), addonFileName({ platform, arch }))] : [];
    } catch {
      return [];
    }
  });
}
