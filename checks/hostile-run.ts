/**
 * Runs `millrace` as a shell would and measures what it took: for check:hostile. The program reports its own processor
 * time and largest memory through a pipe of its own when it ends.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { CommandLine, HostileCase } from "./hostile-cases.ts";

const MAIN = fileURLToPath(new URL("../src/cli/main.ts", import.meta.url));
const REPORT = `data:text/javascript,${encodeURIComponent(
  'import { writeSync } from "node:fs"; process.on("exit", () => { const { userCPUTime, systemCPUTime, maxRSS } = ' +
    "process.resourceUsage(); writeSync(3, JSON.stringify({ ms: (userCPUTime + systemCPUTime) / 1000, " +
    "bytes: 1024 * maxRSS })); });",
)}`;
const MOST_MS = 60_000;

export interface Outcome {
  readonly code: number | null;
  /** What killed it, where something did. */
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Processor time, and the most memory; 0 where it was killed. */
  readonly ms: number;
  readonly bytes: number;
}

/** `main`: the program, where it isn't this tree's. */
export function start({ args, env }: CommandLine, main = MAIN): ChildProcess {
  return spawn(process.execPath, ["--no-warnings", "--import", REPORT, main, ...args], {
    stdio: ["pipe", "pipe", "pipe", "pipe"],
    env: { ...process.env, MILLRACE_OFFLINE: "", HF_TOKEN: "", MILLRACE_ISA: undefined, ...env },
  });
}

export function ended(child: ChildProcess): Promise<Outcome> {
  const read = (i: 1 | 2 | 3): { text: string } => {
    const all = { text: "" };
    child.stdio[i]?.on("data", (part: Buffer) => (all.text += part.toString()));
    return all;
  };
  const [stdout, stderr, report] = [read(1), read(2), read(3)];
  const timer = setTimeout(() => child.kill("SIGKILL"), MOST_MS);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      const usage = (report.text === "" ? { ms: 0, bytes: 0 } : JSON.parse(report.text)) as {
        ms: number;
        bytes: number;
      };
      resolve({ code, signal, stdout: stdout.text, stderr: stderr.text, ...usage });
    });
  });
}

export async function millrace(line: CommandLine): Promise<Outcome> {
  const child = start(line);
  child.stdin?.on("error", () => undefined);
  child.stdin?.end(line.input ?? "");
  return ended(child);
}

/** Gives work a folder of its own. */
export async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "millrace-hostile-"));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A process's memory; 0 where the system doesn't tell. */
export function residentBytes({ pid }: ChildProcess): number {
  const path = `/proc/${pid}/status`;
  const status = existsSync(path) ? readFileSync(path, "utf8") : "";
  return 1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0);
}

/** What was wrong with how a case ended; nothing where all was right. */
export function complaints({ code, says, prints }: Omit<HostileCase, "make" | "name">, outcome: Outcome): string[] {
  const found: string[] = [];
  if (outcome.code !== code) found.push(`code ${outcome.code}, expected ${code}: ${outcome.stderr.slice(0, 300)}`);
  if (!says.test(outcome.stderr)) found.push(`stderr is ${JSON.stringify(outcome.stderr.slice(0, 300))}`);
  if (code !== 0 && outcome.stderr.split("\n").filter((line) => line.startsWith("millrace: ")).length === 0)
    found.push("no line that begins with millrace:");
  if (!(prints ?? /^$/).test(outcome.stdout)) found.push(`stdout is ${JSON.stringify(outcome.stdout.slice(0, 300))}`);
  if (/\n {4}at /.test(outcome.stderr)) found.push("a stack trace");
  return found;
}

export async function runCase(hostile: HostileCase): Promise<Outcome> {
  return inFolder(async (folder) => millrace({ ...hostile, args: await hostile.make(folder) }));
}
