/**
 * `npm run bench -- decode [MODEL] [--rounds=N] [--against DIR]`: decode, prefill and batched decode of one model, ours
 * beside node-llama-cpp, or beside another checkout of ours in DIR, in one interleaved run: every round measures each
 * contender once, next to the others and to a probe of the memory bandwidth. Prints medians and ratios; writes
 * build/decode.json.
 */
import { type ChildProcess, execFileSync, fork, spawn } from "node:child_process";
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import type { Task } from "./contenders/protocol.ts";

const HERE = import.meta.dirname;
const DECODE_TOKENS = 64;
const PREFILL_TOKENS = 512;
const BATCH = 8;
const BATCH_TOKENS = 32;

interface Runner {
  readonly name: string;
  /** Else it is what we are compared with. */
  readonly ours: boolean;
  readonly threads: number;
  readonly child: ChildProcess;
}

export async function benchDecode(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: { rounds: { type: "string", default: "7" }, against: { type: "string" } },
    allowPositionals: true,
  });
  const model = path.resolve(positionals[0] ?? path.join(HERE, "../../shared/models/smollm2-135m-instruct-q4_1.gguf"));
  const rounds = Number(values.rounds);
  const bytes = statSync(model).size;
  const probe = startProbe();
  const contenders = path.join(HERE, "contenders");
  const runners: Runner[] = [
    await start("millrace 1T", true, 1, path.join(contenders, "millrace.ts"), model, {}),
    await start("millrace 2T", true, 2, path.join(contenders, "millrace.ts"), model, {}),
  ];
  if (values.against === undefined) {
    const peer = path.join(contenders, "node-llama-cpp.ts");
    const small = { UV_THREADPOOL_SIZE: "1" };
    runners.push(
      await start("node-llama-cpp 1T", false, 1, peer, model, {}),
      await start("node-llama-cpp 2T", false, 2, peer, model, {}),
      await start("node-llama-cpp 2T, UV_THREADPOOL_SIZE=1", false, 2, peer, model, small),
    );
  } else {
    const other = path.resolve(values.against, "bench/contenders/millrace.ts");
    runners.push(
      await start("the other checkout 1T", false, 1, other, model, {}),
      await start("the other checkout 2T", false, 2, other, model, {}),
    );
  }
  const tasks: readonly { readonly name: string; readonly task: Task; readonly tokens: number }[] = [
    { name: "decode", task: { kind: "decode", tokens: DECODE_TOKENS }, tokens: DECODE_TOKENS },
    { name: `prefill ${PREFILL_TOKENS}`, task: { kind: "prefill", tokens: PREFILL_TOKENS }, tokens: PREFILL_TOKENS },
    {
      name: `decode × ${BATCH}`,
      task: { kind: "batch", tokens: BATCH_TOKENS, sequences: BATCH },
      tokens: BATCH_TOKENS * BATCH,
    },
  ];
  /** Tokens per second, by task and runner. */
  const samples = new Map<string, number[]>();
  const bandwidth = { one: [] as number[], two: [] as number[] };
  for (let round = -1; round < rounds; round++) {
    bandwidth.one.push(await probe(1));
    bandwidth.two.push(await probe(2));
    for (const { name, task, tokens } of tasks) {
      for (const runner of runners) {
        const ms = await ask(runner, task);
        // The first round warms up.
        if (round >= 0) push(samples, `${name}/${runner.name}`, (1000 * tokens) / ms);
      }
    }
    process.stderr.write(`\rround ${Math.max(0, round + 1)} of ${rounds}`);
  }
  process.stderr.write("\n");
  for (const { child } of runners) child.disconnect();
  const report = {
    cpu: cpus()[0]?.model ?? "unknown",
    node: process.version,
    model: path.basename(model),
    bytes,
    rounds,
    bandwidthGBs: { one: median(bandwidth.one), two: median(bandwidth.two) },
    tokensPerSecond: Object.fromEntries(
      [...samples].map(([name, values]) => [name, { median: median(values), samples: values }]),
    ),
  };
  mkdirSync(path.join(HERE, "build"), { recursive: true });
  writeFileSync(path.join(HERE, "build/decode.json"), JSON.stringify(report, null, 1));
  print(
    report,
    tasks.map(({ name }) => name),
    runners,
  );
}

function print(
  report: {
    cpu: string;
    node: string;
    model: string;
    bytes: number;
    rounds: number;
    bandwidthGBs: { one: number; two: number };
    tokensPerSecond: Record<string, { median: number }>;
  },
  tasks: readonly string[],
  runners: readonly Runner[],
): void {
  const value = (task: string, runner: Runner): number =>
    report.tokensPerSecond[`${task}/${runner.name}`]?.median ?? Number.NaN;
  const { one, two } = report.bandwidthGBs;
  console.log(
    `CPU ${report.cpu}; Node ${report.node}; ${report.model}, ${(report.bytes / 1e6).toFixed(1)} MB; medians of ${report.rounds} interleaved rounds`,
  );
  console.log(`probed read bandwidth: ${one.toFixed(1)} GB/s with 1 thread, ${two.toFixed(1)} with 2\n`);
  const width = Math.max(...runners.map(({ name }) => name.length));
  for (const task of tasks) {
    const others = runners.filter(({ ours }) => !ours);
    const best = Math.max(...others.map((runner) => value(task, runner)));
    console.log(`${task}: tokens/s (best of the others: ${best.toFixed(1)})`);
    for (const runner of runners) {
      const speed = value(task, runner);
      const notes = [];
      if (runner.ours) {
        const equal = others.find(({ threads }) => threads === runner.threads);
        if (equal) notes.push(`${(speed / value(task, equal)).toFixed(3)} × ${equal.name}`);
        notes.push(`${(speed / best).toFixed(2)} × the best of the others`);
      }
      if (task === "decode") {
        const limit = ((runner.threads === 1 ? one : two) * 1e9) / report.bytes;
        notes.push(`${((100 * speed) / limit).toFixed(0)} % of the probed bandwidth`);
      }
      if (task.startsWith("decode ×"))
        notes.push(`a step takes ${((BATCH * value("decode", runner)) / speed).toFixed(2)} × one sequence's`);
      console.log(`  ${runner.name.padEnd(width)}  ${speed.toFixed(1).padStart(8)}  ${notes.join(", ")}`);
    }
    console.log();
  }
}

/** A process that measures on command; resolves when its model is loaded. */
async function start(
  name: string,
  ours: boolean,
  threads: number,
  file: string,
  model: string,
  env: Record<string, string>,
): Promise<Runner> {
  const child = fork(file, [model, String(threads)], {
    env: { ...process.env, ...env },
  });
  await reply(child, name);
  return { name, ours, threads, child };
}

async function ask(runner: Runner, task: Task): Promise<number> {
  const answer = reply(runner.child, runner.name);
  runner.child.send(task);
  return (await answer).ms ?? Number.NaN;
}

function reply(child: ChildProcess, name: string): Promise<{ ms?: number }> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null): void => reject(new Error(`${name} exited with ${code}`));
    child.once("exit", onExit);
    child.once("message", (message: { ms?: number; error?: string }) => {
      child.off("exit", onExit);
      if (message.error === undefined) resolve(message);
      else reject(new Error(`${name}: ${message.error}`));
    });
  });
}

/** Compiles and starts probe.cpp; the result measures GB/s with so many threads. */
function startProbe(): (threads: number) => Promise<number> {
  const binary = path.join(HERE, "build/probe");
  mkdirSync(path.dirname(binary), { recursive: true });
  const [compiler = "g++", ...flags] = (process.env["CXX"] ?? "g++").split(/\s+/);
  execFileSync(compiler, [
    ...flags,
    "-O3",
    "-march=native",
    "-std=c++20",
    "-pthread",
    path.join(HERE, "probe.cpp"),
    "-o",
    binary,
  ]);
  const child = spawn(binary, { stdio: ["pipe", "pipe", "inherit"] });
  child.unref();
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return async (threads) => {
    child.stdin.write(`${threads}\n`);
    return Number((await lines.next()).value);
  };
}

function push(map: Map<string, number[]>, key: string, value: number): void {
  const values = map.get(key);
  if (values) values.push(value);
  else map.set(key, [value]);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
