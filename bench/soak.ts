/**
 * `npm run bench -- soak [MODEL] [--minutes N] [--clients N]`: a server that is overloaded ten times over by clients that read
 * whole answers, hang up, read slowly and send nonsense, most of them under one key. Checks that memory stays flat after it has
 * warmed up, that every well-formed request is answered or refused clearly, that equal requests get equal answers, that no
 * tenant gets less than 80 % of its fair share, and that nothing is left when all have gone. Exits with 1 where one fails.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { HostSetting } from "./serving/millrace-host.ts";
import type { SoakReport, SoakTask } from "./serving/soak-client.ts";

const KEYS = ["flood", "calm-1", "calm-2", "calm-3"].map((name) => ({ name, key: `key-of-${name}` }));
const SEQUENCES = 8;
const SAMPLE_MS = 3000;

export async function benchSoak(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: { minutes: { type: "string", default: "10" }, clients: { type: "string", default: "200" } },
    allowPositionals: true,
  });
  const model = positionals[0] ?? path.join(import.meta.dirname, "../builtin/brook-q8_0.gguf");
  const seconds = 60 * Number(values.minutes);
  const setting: HostSetting = {
    model: path.resolve(model),
    context: 1024,
    maxSequences: SEQUENCES,
    // So little that answers give way to each other, and what is kept for later to both.
    kvBytes: 10 * 2 ** 20,
    admission: "optimistic",
    maxQueue: SEQUENCES,
    keys: KEYS,
    stallMs: 5000,
  };
  const serving = path.join(import.meta.dirname, "serving");
  const host = fork(path.join(serving, "millrace-host.ts"), [JSON.stringify(setting)], {
    execArgv: ["--no-warnings", "--expose-gc"],
  });
  let isDead = false;
  host.once("exit", () => (isDead = true));
  const [{ port }] = (await once(host, "message")) as [{ port: number }];
  const clients = fork(path.join(serving, "soak-client.ts"), { execArgv: ["--no-warnings"] });
  const task: SoakTask = { port, seconds, clients: Number(values.clients), keys: KEYS.map(({ key }) => key) };
  clients.send(task);
  const done = once(clients, "message") as Promise<[SoakReport]>;
  const [memory, heap]: [number[], number[]] = [[], []];
  let isOver = false;
  void done.then(() => (isOver = true));
  while (!isOver && !isDead) {
    host.send("memory");
    const [{ memory: found }] = (await once(host, "message")) as [{ memory: NodeJS.MemoryUsage }];
    memory.push(found.rss);
    heap.push(found.heapUsed + found.external);
    await Promise.race([sleep(SAMPLE_MS), done]);
  }
  if (isDead) throw new Error("the server has ended");
  const [report] = await done;
  clients.disconnect();
  await sleep(1000);
  const left = await leftovers(port);
  host.disconnect();
  await once(host, "exit");
  judge(report, { memory, heap }, left, seconds);
}

/** What the server says that it holds, when nobody asks for anything. */
async function leftovers(port: number): Promise<Readonly<Record<string, number>>> {
  const headers = { authorization: `Bearer ${KEYS[0]?.key ?? ""}` };
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`, { headers })).text();
  const of = (line: RegExp): number => Number(line.exec(text)?.[1] ?? Number.NaN);
  return {
    inside: of(/^millrace_answers_inside\{[^}]*\} (\S+)$/m),
    running: of(/^vllm:num_requests_running\{[^}]*\} (\S+)$/m),
    blocks: of(/^millrace_kv_blocks\{[^}]*state="used"[^}]*\} (\S+)$/m),
    preempted: of(/^vllm:num_preemptions_total\{[^}]*\} (\S+)$/m),
  };
}

function judge(
  { outcomes, nonsense, tokens, mismatches, compared }: SoakReport,
  { memory, heap }: { readonly memory: readonly number[]; readonly heap: readonly number[] },
  { preempted = 0, ...left }: Readonly<Record<string, number>>,
  seconds: number,
): void {
  const third = Math.floor(memory.length / 3);
  const mib = (values: readonly number[]): number => values.reduce((sum, x) => sum + x, 0) / values.length / 2 ** 20;
  const [middle, last] = [mib(memory.slice(third, 2 * third)), mib(memory.slice(2 * third))];
  const shares = KEYS.map(({ key }) => tokens[key] ?? 0);
  const fair = shares.reduce((sum, share) => sum + share, 0) / KEYS.length;
  const least = Math.min(...shares) / fair;
  const clear = new Set(["200", "429", "503", "aborted"]);
  const unclear = Object.entries(outcomes).filter(([name]) => !clear.has(name));
  const wrong = Object.keys(nonsense).filter((status) => /^[235]/.test(status));
  console.log(`${seconds} s; well-formed: ${list(outcomes)}; nonsense: ${list(nonsense)}; preempted ${preempted}`);
  console.log(`memory of the server: ${middle.toFixed(0)} MiB in the second third, ${last.toFixed(0)} in the last`);
  const heaps = [mib(heap.slice(third, 2 * third)), mib(heap.slice(2 * third))];
  console.log(`its heap after collections: ${heaps.map((one) => one.toFixed(1)).join(" MiB, then ")} MiB`);
  console.log(`tokens by tenant: ${shares.join(", ")}; the least is ${(100 * least).toFixed(0)} % of a fair share`);
  console.log(`${compared} answers compared, mismatches: ${mismatches}; left behind: ${list(left)}`);
  const checks: [string, boolean][] = [
    ["memory is flat", last < 1.03 * middle + 2],
    ["every well-formed request is answered or refused", unclear.length === 0 && (outcomes["200"] ?? 0) > 0],
    ["nonsense is refused", wrong.length === 0],
    ["no tenant is starved", least >= 0.8],
    ["equal requests get equal answers", mismatches === 0 && compared > 0],
    ["nothing is left", Object.values(left).every((count) => count === 0)],
  ];
  for (const [what, holds] of checks) console.log(`${holds ? "ok  " : "FAIL"} ${what}`);
  if (checks.some(([, holds]) => !holds)) process.exit(1);
}

function list(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([name, count]) => `${name} ${count}`)
    .join(", ");
}
