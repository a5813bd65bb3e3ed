/**
 * Builds the native addon with nothing but a C++ compiler. This is product code, not only a tool: the installed package
 * compiles itself at the first load where no prebuilt binary fits (`addon.ts`), and `tools/build-native.ts` is the
 * command over the same function.
 *
 * Sources: `native/cpu/isa/*.cpp` are compiled once per ISA of the target with `-DMILLRACE_ISA=<name>`, all other
 * `native/cpu/**.cpp` once with the flags that every processor runs, `native/cpu/test/*.cpp` only for the unit tests.
 * Headers see `MILLRACE_FOR_EACH_ISA(X)`, which expands to `X(scalar) X(avx2) …`.
 *
 * One rule for ISA sources: whatever they define stands in a namespace named by MILLRACE_ISA, or two ISAs' versions of
 * one inline function would be merged. For inline functions of others (`std::min`) the linker keeps the first copy that
 * it meets; so objects are linked lowest ISA first, and the copy that is kept runs everywhere.
 *
 * An object is rebuilt when its command, its compiler, or a file of its dependency list (-MMD) changed.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile, readdir, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join, relative, sep } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

import { readNote, readSmallFile } from "../../artifact/node-file.ts";
import { makeFolder } from "../../artifact/node-home.ts";
import { withLock } from "../../artifact/node-lock.ts";
import { NativeError, invariant } from "../../errors.ts";
import {
  addonLinkFlags,
  compileFlags,
  findCompiler,
  hostTarget,
  isaList,
  linkFlags,
  optimization,
  run,
  type Compiler,
  type Target,
  type Variant,
} from "./toolchain.ts";

/** Bytes of an object or an addon; a sanitised one with debug information is the largest. */
const MAX_RESULT = 512 * 2 ** 20;

export interface BuildProgress {
  /** Of the steps that this build has to do (up-to-date objects aren't counted). */
  readonly done: number;
  readonly total: number;
  /** What was finished last. */
  readonly what: string;
}

export interface BuildOptions {
  /** Folder that holds `native/cpu`; the package's root by default. */
  readonly root?: string;
  /** Where objects and results go. */
  readonly outDir: string;
  readonly variant: Variant;
  /** Default: this machine's, with all instruction sets. */
  readonly target?: Target;
  /** Default: the one that this machine has. */
  readonly compiler?: Compiler;
  /** Warnings are errors. */
  readonly strict: boolean;
  /** Build the unit tests, too. */
  readonly tests?: boolean;
  readonly jobs?: number;
  readonly onProgress?: ((progress: BuildProgress) => void) | undefined;
  /** Another process (its id) builds the same, and we wait for it. */
  readonly onWait?: ((holder: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface BuildResult {
  readonly addon: string;
  /** The unit tests' program, if asked for. */
  readonly tests: string | undefined;
  /** Compiler and linker calls that were needed. */
  readonly steps: number;
}

/** The package's root: this file lies in `src/backend/cpu` or `dist/backend/cpu`. */
export function packageRoot(): string {
  return fileURLToPath(new URL("../../../", import.meta.url));
}

export function addonFileName(target: Pick<Target, "platform" | "arch"> = hostTarget()): string {
  return `millrace-cpu-${target.platform}-${target.arch}.node`;
}

interface Unit {
  /** For messages: "isa/linear.cpp avx2". */
  readonly label: string;
  readonly source: string;
  readonly object: string;
  readonly flags: readonly string[];
  readonly test: boolean;
  /** For the order of compiling. */
  readonly cost: number;
}

/** Compiles and links what isn't up to date. Errors: NativeError with what the compiler said. */
export async function buildNative(options: BuildOptions): Promise<BuildResult> {
  const lock = join(options.outDir, ".lock");
  return withLock(lock, () => buildLocked(options), { signal: options.signal, onWait: options.onWait });
}

async function buildLocked(options: BuildOptions): Promise<BuildResult> {
  const root = options.root ?? packageRoot();
  const target = options.target ?? hostTarget();
  const compiler = options.compiler ?? (await findCompiler(target));
  const flags = compileFlags(options.variant, options.strict);
  const include = ["-I", join(root, "native", "cpu"), "-isystem", nodeApiHeaders()];
  const objDir = join(options.outDir, "obj");
  const units = await listUnits(root, objDir, target, options, [...flags, ...include]);
  await makeFolder(objDir);

  const stale: Unit[] = [];
  for (const unit of units) if (!(await isFresh(unit.object, unitStamp(compiler, unit)))) stale.push(unit);
  // Those that take longest first, so that no core waits for the last one.
  stale.sort((a, b) => b.cost - a.cost);
  const addon = join(options.outDir, addonFileName(target));
  const tests = options.tests === true ? join(options.outDir, "millrace-cpu-tests") : undefined;

  let done = 0;
  let total = stale.length + (tests === undefined ? 1 : 2);
  const report = (what: string): void => options.onProgress?.({ done: ++done, total, what });
  if (stale.length > 0) options.onProgress?.({ done: 0, total, what: "" });
  await inParallel(options.jobs ?? availableParallelism(), stale, async (unit) => {
    await compile(compiler, unit, options.signal);
    report(unit.label);
  });

  const link = async (output: string, objects: readonly string[], extra: readonly string[]): Promise<boolean> => {
    const args = [...linkFlags(options.variant), ...extra, ...objects];
    const stamp = hash([compiler.version, compiler.command, ...compiler.args, ...args]);
    if ((await isFresh(output, stamp, objects)) && (await isIntact(output))) {
      total--;
      return false;
    }
    await toolStep(compiler, args, output, stamp, options.signal);
    report(relative(options.outDir, output));
    return true;
  };
  const product = units.filter((unit) => !unit.test);
  let steps = stale.length;
  if (await link(addon, objectsOf(product), addonLinkFlags(target))) steps++;
  if (tests !== undefined) {
    // The tests' program isn't loaded by Node, so it leaves out the sources that speak Node-API.
    const speaksNode = await Promise.all(product.map((unit) => includesNodeApi(unit.object)));
    const linked = units.filter((unit) => unit.test || speaksNode[product.indexOf(unit)] === false);
    if (await link(tests, objectsOf(linked), [])) steps++;
  }
  return { addon, tests, steps };
}

/** Instruction sets of which a build folder has objects. */
export async function builtIsas(outDir: string): Promise<ReadonlySet<string>> {
  const names = await readdir(join(outDir, "obj")).catch(() => []);
  return new Set(names.flatMap((name) => /^isa-.*\.cpp\.(\w+)\.o$/.exec(name)?.[1] ?? []));
}

async function listUnits(
  root: string,
  objDir: string,
  target: Target,
  { variant, tests }: BuildOptions,
  flags: readonly string[],
): Promise<Unit[]> {
  const base = join(root, "native", "cpu");
  const names = (await readdir(base, { recursive: true }).catch(() => []))
    .filter((name) => name.endsWith(".cpp"))
    .map((name) => name.split(sep).join("/"))
    .sort();
  if (names.length === 0) throw new NativeError(`No C++ sources in ${base}: the package is damaged.`);
  const texts = new Map<string, string>();
  for (const name of names) {
    if (tests === true || !name.startsWith("test/")) texts.set(name, await readFile(join(base, name), "utf8"));
  }
  const unitsOf = (isInIsa: boolean, isa: string, more: (text: string) => readonly string[]): Unit[] =>
    [...texts]
      .filter(([name]) => name.startsWith("isa/") === isInIsa)
      .map(([name, text]) => ({
        label: isInIsa ? `${name} ${isa}` : name,
        source: join(base, name),
        object: join(objDir, `${name.replaceAll("/", "-")}.${isa}.o`),
        flags: [...flags, optimization(variant, name), ...more(text)],
        test: name.startsWith("test/"),
        cost: isInIsa ? 2 * text.length : text.length,
      }));
  const list = (text: string): string[] => (text.includes("MILLRACE_FOR_EACH_ISA") ? [isaList(target)] : []);
  return [
    ...unitsOf(false, "base", (text) => [...target.baseline, ...list(text)]),
    ...target.isas.flatMap((isa) => unitsOf(true, isa.name, () => [...isa.flags, `-DMILLRACE_ISA=${isa.name}`])),
  ];
}

function objectsOf(units: readonly Unit[]): string[] {
  return units.map((unit) => unit.object);
}

function unitStamp(compiler: Compiler, unit: Unit): string {
  return hash([compiler.version, compiler.command, ...compiler.args, unit.source, ...unit.flags]);
}

async function compile(compiler: Compiler, unit: Unit, signal: AbortSignal | undefined): Promise<void> {
  const args = [...unit.flags, "-MMD", "-MF", `${unit.object}.d`, "-c", unit.source];
  await toolStep(compiler, args, unit.object, unitStamp(compiler, unit), signal);
}

/** One call of the compiler; the output appears whole or not at all, dated from before the call. */
async function toolStep(
  compiler: Compiler,
  args: readonly string[],
  output: string,
  stamp: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const begun = new Date();
  const temporary = `${output}.${process.pid}.tmp`;
  await rm(`${output}.stamp`, { force: true });
  const result = await run(compiler.command, [...compiler.args, ...args, "-o", temporary], signal);
  if (result.code !== 0) {
    await rm(temporary, { force: true });
    const command = [compiler.command, ...compiler.args, ...args].join(" ");
    throw new NativeError(`${compiler.version} failed:\n${command}\n${result.stderr || result.stdout}`.trimEnd());
  }
  // A file that changes during the call is newer than its result.
  await utimes(temporary, begun, begun);
  await writeFile(checksumOf(output), await sha256Of(temporary));
  await rename(temporary, output);
  await writeFile(`${output}.stamp`, stamp);
}

/** Whether a result is what the compiler made, whole: a truncated addon would end the process where it is mapped. */
export async function isIntact(output: string): Promise<boolean> {
  const [expected, found] = await Promise.all([readNote(checksumOf(output)), sha256Of(output).catch(() => "")]);
  return found !== "" && found === expected;
}

function checksumOf(output: string): string {
  return `${output}.sha256`;
}

async function sha256Of(path: string): Promise<string> {
  return createHash("sha256")
    .update(await readSmallFile(path, MAX_RESULT))
    .digest("hex");
}

/** Whether `output` was made by this very command and none of its inputs is newer. */
async function isFresh(output: string, stamp: string, inputs?: readonly string[]): Promise<boolean> {
  const made = await modified(output);
  if (made === undefined) return false;
  if ((await readFile(`${output}.stamp`, "utf8").catch(() => "")) !== stamp) return false;
  const dependencies = inputs ?? (await readDepfile(`${output}.d`));
  if (dependencies === undefined) return false;
  const times = await Promise.all(dependencies.map(modified));
  return times.every((time) => time !== undefined && time <= made);
}

async function modified(path: string): Promise<number | undefined> {
  return stat(path).then(
    (s) => s.mtimeMs,
    () => undefined,
  );
}

/** The inputs in a Make rule, as -MMD writes it: `target: a b \`, spaces in names as `\ `. */
async function readDepfile(path: string): Promise<string[] | undefined> {
  const text = await readFile(path, "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  const rule = text.replaceAll("\\\n", " ");
  const colon = rule.indexOf(": ");
  if (colon < 0) return undefined;
  return (rule.slice(colon + 2).match(/(?:\\.|[^\s\\])+/g) ?? []).map((name) => name.replaceAll(/\\(.)/g, "$1"));
}

async function includesNodeApi(object: string): Promise<boolean> {
  // -MMD leaves out system headers, which node_api.h is to us; the source's own text tells.
  const inputs = (await readDepfile(`${object}.d`)) ?? [];
  for (const input of inputs)
    if (/#include\s*[<"](node_api|js_native_api)\.h/.test(await readFile(input, "utf8"))) return true;
  return false;
}

function nodeApiHeaders(): string {
  const main = createRequire(import.meta.url).resolve("node-api-headers");
  const folder = join(dirname(main), "include");
  invariant(existsSync(join(folder, "node_api.h")), `node-api-headers has no include/node_api.h in ${folder}`);
  return folder;
}

/** Runs `work` over items, `limit` at a time; after a failure no new one begins, and the first failure is thrown. */
async function inParallel<T>(limit: number, items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  let failure: { error: unknown } | undefined;
  const worker = async (): Promise<void> => {
    for (let item = items[next++]; item !== undefined && failure === undefined; item = items[next++]) {
      try {
        await work(item);
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, Math.min(limit, items.length)) }, worker));
  if (failure !== undefined) throw failure.error;
}

export function hash(parts: readonly (string | Uint8Array)[]): string {
  const sha = createHash("sha256");
  for (const part of parts) sha.update(String(part.length)).update("\0").update(part);
  return sha.digest("hex").slice(0, 16);
}
