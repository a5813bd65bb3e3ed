/**
 * One Ctrl-C or SIGTERM ends whatever runs within a second: part of check:hostile. Each case starts something that lasts,
 * waits until it is under way, and then sends the signal.
 */
import type { ChildProcess } from "node:child_process";
import { cpSync, existsSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { hugeModelFile, modelFile } from "./hostile-cases.ts";
import { pullLine, withHub } from "./hostile-hub.ts";
import { ended, inFolder, residentBytes, start } from "./hostile-run.ts";

const SOON_MS = 1000;
const INTERRUPTED = 130;

interface Interrupt {
  readonly name: string;
  /** Starts it; resolves when it is under way. */
  readonly begin: (folder: string, signalled: Promise<void>) => Promise<ChildProcess>;
}

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const COPY = { recursive: true } as const;
const STORY = "Once upon a time there was a river, and it ran through the old town. ";

export const INTERRUPTS: readonly Interrupt[] = [
  {
    name: "waiting for standard input",
    begin: async (folder) => underWay(start({ args: ["run", "--model", await modelFile(folder)] }), 1500),
  },
  {
    name: "the kernels' compilation",
    async begin(folder) {
      // A tree of its own, in which nothing is compiled yet.
      for (const name of ["src", "native", "package.json"]) cpSync(join(ROOT, name), join(folder, name), COPY);
      for (const name of ["node_modules", "builtin"]) symlinkSync(join(ROOT, name), join(folder, name));
      const child = start({ args: ["run", "Hi"] }, join(folder, "src/cli/main.ts"));
      child.stdin?.end();
      await until(() => existsSync(join(folder, "build/release/obj")));
      return underWay(child, 500);
    },
  },
  {
    name: "weights on their way into memory",
    async begin(folder) {
      const child = start({ args: ["run", "Hi", "--model", hugeModelFile(folder)] });
      child.stdin?.end();
      await until(() => child.exitCode !== null || residentBytes(child) > 400 * 2 ** 20);
      return child;
    },
  },
  {
    name: "a long answer",
    async begin() {
      const child = start({ args: ["run", "--raw", "--temperature", "0", "--max-tokens", "4000", STORY] });
      child.stdin?.end();
      await Promise.race([new Promise((resolve) => child.stdout?.once("data", resolve)), sleep(20_000)]);
      return child;
    },
  },
  {
    name: "a long prompt",
    async begin() {
      // The best kernels would be done before the signal comes.
      const child = start({ args: ["run", "--raw", "--max-tokens", "1"], env: { MILLRACE_ISA: "scalar" } });
      child.stdin?.end(STORY.repeat(110));
      return underWay(child, 1500);
    },
  },
  {
    name: "a template that loops to its end",
    async begin(folder) {
      const template = "{% for i in range(9999) %}{% for j in range(9999) %}{{ messages }}{% endfor %}{% endfor %}";
      const child = start({
        args: ["chat", "--model", await modelFile(folder, { "tokenizer.chat_template": template })],
      });
      child.stdin?.write("Hi\n".repeat(1000));
      return underWay(child, 1500);
    },
  },
  {
    name: "perplexity of a long text",
    async begin(folder) {
      writeFileSync(join(folder, "text"), STORY.repeat(20_000));
      const child = start({ args: ["perplexity", "--text", join(folder, "text")] });
      child.stdin?.end();
      return underWay(child, 2500);
    },
  },
  {
    name: "a transfer that stalls",
    begin: (folder, signalled) =>
      new Promise((resolve, reject) => {
        void withHub(
          (request, response) => {
            if (request.url?.startsWith("/api/") === true)
              response.end('[{"type":"file","path":"m-Q8_0.gguf","oid":"0","size":100000}]');
            else response.writeHead(200).write("x".repeat(1000), () => setTimeout(() => resolve(child), 300));
          },
          async (endpoint) => {
            child = start(pullLine(endpoint, folder));
            child.on("error", reject);
            await signalled;
          },
        );
        let child: ChildProcess;
      }),
  },
  {
    name: "waiting for another process's download",
    begin: (folder, signalled) =>
      new Promise((resolve) => {
        void withHub(
          (_request, response) => void response.end('[{"type":"file","path":"m-Q8_0.gguf","oid":"0","size":100000}]'),
          async (endpoint) => {
            const notes = join(folder, "home/models/o/n/main/.millrace");
            mkdirSync(notes, { recursive: true });
            const lock = join(notes, "m-Q8_0.gguf.lock");
            writeFileSync(lock, `${process.pid} ${hostname()} x`);
            const touch = setInterval(() => utimesSync(lock, new Date(), new Date()), 500);
            const child = start(pullLine(endpoint, folder));
            child.stderr?.on("data", (text: Buffer) => text.includes("waiting for it") && resolve(child));
            await signalled;
            clearInterval(touch);
          },
        );
      }),
  },
];

async function underWay(child: ChildProcess, ms: number): Promise<ChildProcess> {
  child.stdin?.on("error", () => undefined);
  await sleep(ms);
  return child;
}

/** Waits until something holds, at most half a minute. */
async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 3000 && !holds(); i++) await sleep(10);
}

/** What was wrong with how it ended, and how long that took. */
export async function interrupt(
  { begin }: Interrupt,
  signal: "SIGINT" | "SIGTERM",
): Promise<{ readonly ms: number; readonly complaints: readonly string[] }> {
  let tell: () => void = () => undefined;
  const signalled = new Promise<void>((resolve) => (tell = resolve));
  return inFolder(async (folder) => {
    const child = await begin(folder, signalled);
    if (child.exitCode !== null) {
      tell();
      return { ms: 0, complaints: [`it had ended by itself, with code ${child.exitCode}`] };
    }
    const complaints: string[] = [];
    const closed = ended(child);
    const sent = performance.now();
    child.kill(signal);
    const { code, signal: by } = await closed;
    const ms = performance.now() - sent;
    tell();
    // A signal that comes before the program listens for it ends it as well; a shell says 130 to both.
    if (code !== INTERRUPTED && by !== signal) complaints.push(`code ${code}, expected ${INTERRUPTED}`);
    if (ms > SOON_MS) complaints.push(`${ms.toFixed(0)} ms`);
    return { ms, complaints };
  });
}
