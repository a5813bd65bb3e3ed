/**
 * Finds or makes the addon and loads it: a source checkout's own build; for the published JavaScript the platform's package
 * of binaries where it is installed and loads, else one that is compiled once into MILLRACE_HOME/native and shared by every
 * program of this user. What the addon's functions mean is for its callers to say.
 */
import { readFile, readdir, rm, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import process from "node:process";

import { millraceHome } from "../../artifact/node-home.ts";
import { withLock } from "../../artifact/node-lock.ts";
import { NativeError } from "../../errors.ts";
import {
  addonFileName,
  buildNative,
  type BuildOptions,
  type BuildProgress,
  hash,
  isIntact,
  packageRoot,
} from "./build.ts";
import { findPrebuilt } from "./prebuilt.ts";
import { VARIANTS, compileFlags, forProcessor, hostTarget, isaList, type Target, type Variant } from "./toolchain.ts";

export interface LoadAddonOptions {
  /**
   * Called while the addon is compiled, which takes a minute at the first load and doesn't happen later; with a total of
   * 0 where another process does it.
   */
  readonly onBuild?: ((progress: BuildProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What was loaded, and where it came from. */
export interface LoadedAddon {
  readonly exports: unknown;
  readonly path: string;
  /** "prebuilt": a binary of a package. "checkout": this source tree's own build. "compiled": on this machine, at the first load. */
  readonly origin: "prebuilt" | "checkout" | "compiled";
}

/** The addon's exports. Throws NativeError where it can be neither loaded nor built. */
export async function loadAddon(options: LoadAddonOptions = {}): Promise<unknown> {
  return (await findAddon(options)).exports;
}

export async function findAddon(options: LoadAddonOptions = {}): Promise<LoadedAddon> {
  const root = packageRoot();
  // Run from source (development) or as the published JavaScript?
  if (import.meta.url.endsWith(".ts")) {
    const path = await developmentBuild(root, options);
    return { exports: open(path), path, origin: "checkout" };
  }
  for (const path of findPrebuilt(await versionOf(root))) {
    try {
      return { exports: open(path), path, origin: "prebuilt" };
    } catch {
      // Made for another C library: compile.
    }
  }
  const path = await userBuild(root, options);
  return { exports: open(path), path, origin: "compiled" };
}

async function versionOf(root: string): Promise<string> {
  const manifest: unknown = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
  return typeof manifest === "object" && manifest !== null && "version" in manifest ? String(manifest.version) : "0";
}

/** Never rebuilds behind a developer's back: `npm run` scripts do that beforehand. */
async function developmentBuild(root: string, options: LoadAddonOptions): Promise<string> {
  const variant = variantOf(process.env["MILLRACE_NATIVE_VARIANT"]);
  const outDir = join(root, "build", variant);
  const addon = join(outDir, addonFileName());
  if (!(await isIntact(addon))) {
    await buildNative({ root, outDir, variant, target: await targetHere(), strict: true, ...buildOptions(options) });
  } else if (await hasNewerSource(root, addon)) {
    process.emitWarning(`native/cpu is newer than build/${variant}: run "npm run build:native"`, "MillraceWarning");
  }
  return addon;
}

function variantOf(name: string | undefined): Variant {
  if (name === undefined || name === "") return "release";
  const variant = VARIANTS.find((known) => known === name);
  if (variant === undefined)
    throw new NativeError(`MILLRACE_NATIVE_VARIANT is ${name}; it can be ${VARIANTS.join(", ")}.`);
  return variant;
}

async function hasNewerSource(root: string, addon: string): Promise<boolean> {
  const built = (await stat(addon)).mtimeMs;
  for (const file of await nativeSources(root)) if ((await stat(file)).mtimeMs > built) return true;
  return false;
}

/** What a first start compiles. */
export async function targetHere(): Promise<Target> {
  return forProcessor(hostTarget(), await readFile("/proc/cpuinfo", "utf8").catch(() => undefined));
}

async function userBuild(root: string, options: LoadAddonOptions): Promise<string> {
  const target = await targetHere();
  const version = await versionOf(root);
  const sources = await nativeSources(root);
  const contents = await Promise.all(sources.map((file) => readFile(file)));
  const name = `${version}-${hash([...compileFlags("release", false), isaList(target), ...contents])}`;
  const outDir = join(millraceHome(), "native", name);
  const addon = join(outDir, addonFileName(target));
  if (await isIntact(addon)) return addon;
  // The linker's result is moved in whole, so its checksum says that it is done; a second process waits for it.
  const build = buildOptions(options);
  const work = async (): Promise<void> => {
    if (await isIntact(addon)) return;
    await buildNative({ root, outDir, variant: "release", target, strict: false, ...build });
    await rm(join(outDir, "obj"), { recursive: true, force: true });
  };
  await withLock(`${outDir}.lock`, work, { signal: options.signal, onWait: build.onWait });
  return addon;
}

/** A step of no total is one of another process, which is waited for. */
function buildOptions({ onBuild, signal }: LoadAddonOptions): Pick<BuildOptions, "onProgress" | "onWait" | "signal"> {
  const onWait = (holder: string): void =>
    onBuild?.({ done: 0, total: 0, what: `process ${holder} compiles the kernels; waiting for it` });
  return { onProgress: onBuild, onWait, signal };
}

async function nativeSources(root: string): Promise<string[]> {
  const base = join(root, "native", "cpu");
  const names = await readdir(base, { recursive: true }).catch(() => []);
  const files = names.filter((name) => /\.(cpp|h)$/.test(name) && !name.startsWith("test"));
  if (files.length === 0) throw new NativeError(`No C++ sources in ${base}: the package is damaged.`);
  return files.sort().map((name) => join(base, name));
}

function open(file: string): unknown {
  try {
    return createRequire(import.meta.url)(file);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new NativeError(`${file} can't be loaded: ${why}; delete it, and it is compiled again`, { cause: error });
  }
}
