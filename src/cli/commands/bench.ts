/**
 * `millrace bench`: what this machine can do, and how much of it a model gets. It probes read bandwidth and integer products
 * with all threads, then measures decode, decode at depth, a batch, prefill and loading through the engine, as a program
 * would use it, and prints each as a share of what limits it.
 */
import { cpus } from "node:os";

import type { ModelArtifact } from "../../artifact/artifact.ts";
import { type CpuProbe, createCpuBackend } from "../../backend/cpu/backend.ts";
import type { Llm } from "../../engine/llm.ts";
import { defineCommand } from "../command.ts";
import { JSON_OUTPUT, MODEL } from "../common-flags.ts";
import { UsageError } from "../exit.ts";
import { wholeFlag } from "../flags.ts";
import { ProgressLine, formatSeconds } from "../progress.ts";
import { loadModel, openFiles } from "../session.ts";

/** Tokens of a decode, of a prefill, and before a decode at depth; sequences at once. */
const DECODE = 32;
const PREFILL = 512;
const DEPTH = 2048;
const BATCH = 8;

const MEASURE = {
  title: "Measure",
  flags: {
    rounds: wholeFlag(1, "measurements of each kind, of which the median counts; default 3", 1000),
    json: JSON_OUTPUT,
  },
};

interface Task {
  readonly name: string;
  readonly prompt: number;
  readonly sequences: number;
  /** What its speed is held against. */
  readonly limit: "bandwidth" | "products";
}

/** What a step reads and multiplies. */
interface Load {
  readonly weightBytes: number;
  /** K and V of one position. */
  readonly positionBytes: number;
  /** Of one token, without attention and output matrix; undefined where experts are chosen by the token. */
  readonly macs: number | undefined;
  /** Most weights have codes of 8 bits. */
  readonly isByte: boolean;
}

export const bench = defineCommand({
  name: "bench",
  summary: "measure this machine, and a model on it as shares of what limits it",
  words: "",
  about:
    "Probes the read bandwidth of memory and the peak of the processor's integer products with the same threads, then measures " +
    "the model: tokens per second, and the share of what the probes allow. One token at a time is limited by reading weights and " +
    "KV, a prompt by products. A model that the processor's last cache holds may go beyond its limit, and on a machine that does " +
    "other work the larger of two runs is nearer the truth.",
  groups: [MEASURE, MODEL],
  flags: { ...MEASURE.flags, ...MODEL.flags },
  examples: ["millrace bench", "millrace bench --model model.gguf --threads 4 --json"],
  async run({ values, words, terminal }) {
    if (words.length > 0) throw new UsageError(`"${words[0]}" is one word too many; the model is named by --model`);
    if (values.backend === "reference") throw new UsageError("the reference backend is an oracle; nobody times it");
    const rounds = values.rounds ?? 3;

    const before = await probeMachine(values.threads, terminal.signal);
    const { threads, isa } = before;
    const artifact = await openFiles(values, terminal);
    const started = performance.now();
    await using llm = await loadModel(values, terminal);
    const loadSeconds = (performance.now() - started) / 1000;
    const load = loadOf(artifact, llm);
    await artifact.close();

    const tasks: readonly Task[] = [
      { name: "decode", prompt: 16, sequences: 1, limit: "bandwidth" },
      { name: `decode after ${DEPTH} tokens`, prompt: DEPTH, sequences: 1, limit: "bandwidth" },
      { name: `decode, ${BATCH} at once`, prompt: 16, sequences: BATCH, limit: "bandwidth" },
      { name: `prefill of ${PREFILL} tokens`, prompt: PREFILL, sequences: 1, limit: "products" },
    ];
    const line = new ProgressLine(terminal);
    const speeds = new Map<Task, number>();
    for (const [i, task] of tasks.entries()) {
      if (task.prompt + DECODE + 1 > llm.info.context) continue;
      const samples: number[] = [];
      for (let round = 0; round <= rounds; round++) {
        line.update("measurements", i * (rounds + 1) + round, tasks.length * (rounds + 1), "steps");
        const speed = await measure(llm, task, i * 100 + round, terminal.signal);
        // The first one warms up.
        if (round > 0) samples.push(speed);
      }
      speeds.set(task, median(samples));
    }
    line.clear();
    // Other work comes and goes: the machine can do what it did at its best.
    const probe = better(before, await probeMachine(values.threads, terminal.signal));
    const results = [...speeds].map(([task, tokensPerSecond]) => {
      const most = limitOf(task, load, probe);
      return { task: task.name, tokensPerSecond, share: most === undefined ? undefined : tokensPerSecond / most };
    });

    const { bytesPerSecond, macsPerSecond } = probe;
    if (values.json) {
      terminal.writeJson({ cpu: cpuName(), isa, threads, bytesPerSecond, macsPerSecond, loadSeconds, load, results });
      return;
    }
    terminal.write(`${cpuName()}, ${isa}, ${threads} ${threads === 1 ? "thread" : "threads"}\n`);
    terminal.write(`read bandwidth ${(bytesPerSecond / 1e9).toFixed(1)} GB/s, `);
    const [four, eight] = [macsPerSecond.bits4, macsPerSecond.bits8].map((rate) => (rate / 1e9).toFixed(0));
    terminal.write(`products ${four} GMAC/s with codes of 4 bits, ${eight} with 8\n`);
    terminal.write(`${llm.info.description}: ${(load.weightBytes / 1e6).toFixed(0)} MB read a step, `);
    terminal.write(`loaded in ${formatSeconds(loadSeconds)}\n\n`);
    for (const { task, tokensPerSecond, share } of results) {
      const part = share === undefined ? "" : `  ${(100 * share).toFixed(0).padStart(3)} % of its limit`;
      terminal.write(`${task.padEnd(26)} ${tokensPerSecond.toFixed(1).padStart(9)} tokens/s${part}\n`);
    }
  },
});

interface MachineProbe extends CpuProbe {
  readonly isa: string;
  readonly threads: number;
}

async function probeMachine(threads: number | undefined, signal: AbortSignal): Promise<MachineProbe> {
  const backend = await createCpuBackend({ threads, signal });
  const probe = await backend.probe();
  await backend.close();
  return { ...probe, isa: backend.isa, threads: backend.threads };
}

function better(a: MachineProbe, b: MachineProbe): MachineProbe {
  const bytesPerSecond = Math.max(a.bytesPerSecond, b.bytesPerSecond);
  const bits4 = Math.max(a.macsPerSecond.bits4, b.macsPerSecond.bits4);
  const bits8 = Math.max(a.macsPerSecond.bits8, b.macsPerSecond.bits8);
  return { ...a, bytesPerSecond, macsPerSecond: { bits4, bits8 } };
}

/** Tokens per second of the prompt where products limit it, else of the answers. */
async function measure(llm: Llm, task: Task, salt: number, signal: AbortSignal): Promise<number> {
  const maxTokens = task.limit === "products" ? 1 : DECODE + 1;
  const options = { maxTokens, minTokens: maxTokens, temperature: 0, signal, speculation: "off" } as const;
  const answers = await Promise.all(
    Array.from({ length: task.sequences }, (_, i) =>
      llm.generate(promptOf(llm, task.prompt, salt * BATCH + i), options),
    ),
  );
  const first = Math.max(...answers.map(({ timings }) => timings.firstTokenMs));
  if (task.limit === "products") return (1000 * task.prompt) / first;
  const last = Math.max(...answers.map(({ timings }) => timings.totalMs));
  return (1000 * task.sequences * DECODE) / (last - first);
}

/** Ordinary token ids, others for another salt. */
function promptOf({ info }: Llm, length: number, salt: number): number[] {
  const span = Math.max(1, Math.floor(info.vocabSize / 2));
  return Array.from({ length }, (_, i) => Math.floor(info.vocabSize / 4) + ((i * 7919 + salt * 104_729) % span));
}

function loadOf(artifact: ModelArtifact, { info }: Llm): Load {
  const matrices = [...artifact.tensors.values()].filter(({ shape }) => shape.length > 1);
  const isTable = (name: string): boolean => /token_embd|embed_tokens|wte/.test(name);
  const isHead = (name: string): boolean => /^(output|lm_head)\b/.test(name);
  const table = matrices.find(({ name }) => isTable(name));
  // A table that is the output matrix, too, is read whole in every step; one of its own is not.
  const unread = matrices.some(({ name }) => isHead(name)) ? (table?.byteLength ?? 0) : 0;
  const inner = matrices.filter(({ name }) => !isTable(name) && !isHead(name));
  const macs = inner.some(({ shape }) => shape.length > 2)
    ? undefined
    : inner.reduce((sum, { shape }) => sum + shape.reduce((product, n) => product * n, 1), 0);
  return {
    weightBytes: info.weightBytes - unread,
    positionBytes: info.kvTokens === 0 ? 0 : info.kvBytes / info.kvTokens,
    macs,
    isByte: bytesOf(inner.filter(({ dtype }) => dtype === "Q8_0")) > bytesOf(inner) / 2,
  };
}

function bytesOf(tensors: readonly { readonly byteLength: number }[]): number {
  return tensors.reduce((sum, { byteLength }) => sum + byteLength, 0);
}

/** Tokens per second that the probes allow; undefined where nothing says. */
function limitOf(task: Task, load: Load, probe: CpuProbe): number | undefined {
  if (load.macs === undefined) return undefined;
  const positions = task.prompt + DECODE / 2;
  const reading = (load.weightBytes + task.sequences * positions * load.positionBytes) / probe.bytesPerSecond;
  const { bits4, bits8 } = probe.macsPerSecond;
  const peak = load.isByte ? bits8 : bits4;
  const products = peak === 0 ? 0 : load.macs / peak;
  if (task.limit === "products") return products === 0 ? undefined : 1 / products;
  return task.sequences / Math.max(reading, task.sequences * products);
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function cpuName(): string {
  return cpus()[0]?.model ?? "unknown processor";
}
