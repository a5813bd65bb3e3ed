/**
 * `npm run bench -- speculation [MODEL] [--methods=A,B+C] [--prompts=N] [--sequences=1,4,16] [--sets=NAME,…] [--datastore=FILE]`:
 * what drafting gives. One engine answers each group of prompts once without drafts and once by each method, one after another
 * in changing order, greedily; answers end where they begin to loop (the rule of brook's card), or n-grams would be flattered. Of
 * the pairs' speed ratios the median is printed and a lower 95 % bound of it. `name:N` drafts always N tokens deep;
 * --tree=24 lets heads draft trees, --draft=FILE is the model or head of the first method that has one.
 */
import { writeFileSync, mkdirSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import path from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { MODEL_METHODS } from "../src/decode/speculative/methods.ts";
import type { SpeculationOption } from "../src/decode/speculative/option.ts";
import { type GenerateOptions, load, type Generation, type Llm } from "../src/index.ts";
import { loops } from "../test/support/builtin-judges.ts";
import { type Prompt, promptSet } from "./speculation-prompts.ts";

const MAX_TOKENS = 160;

interface Job {
  readonly prompt: Prompt;
  /** Tokens before the answer loops. */
  readonly tokens: number;
}

/** What the answers of a group cost by one method. */
interface Run {
  readonly ms: number;
  /** Of all threads. */
  readonly cpuMs: number;
  readonly planMs: number;
  readonly tokens: number;
  readonly steps: number;
  readonly drafted: number;
  readonly accepted: number;
  readonly depths: readonly { readonly drafted: number; readonly accepted: number }[];
}

export async function benchSpeculation(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: {
      methods: { type: "string", default: "auto,ngram:8,suffix,lookahead" },
      prompts: { type: "string", default: "16" },
      sequences: { type: "string", default: "1,4,16" },
      sets: { type: "string", default: "editing,vicuna-80,spec-bench-dev" },
      tree: { type: "string", default: "16" },
      datastore: { type: "string" },
      draft: { type: "string" },
    },
    allowPositionals: true,
  });
  const [model] = positionals;
  const methods = values.methods.split(",");
  const asked = methods.flatMap((name) => (name.split(":")[0] ?? "").split("+"));
  const models = MODEL_METHODS.filter((name) => asked.includes(name));
  if (values.draft !== undefined && models.length === 0) models.push("draft");
  const speculation: SpeculationOption = {
    drafter: ["auto", ...models].join("+"),
    tree: Number(values.tree),
    ...(values.draft !== undefined && { model: values.draft }),
    ...(values.datastore !== undefined && { datastore: values.datastore }),
  };
  const llm = await load(model, { speculation, context: 2048, maxSequences: 16 });
  console.log(
    `${cpus()[0]?.model ?? "?"}; ${llm.info.description}, ${llm.info.profile}; load ${loadavg()[0]?.toFixed(1)}`,
  );
  const rows: object[] = [];
  for (const set of values.sets.split(",")) {
    const jobs: Job[] = [];
    for (const prompt of promptSet(set, Number(values.prompts)))
      jobs.push({ prompt, tokens: await lengthOf(llm, prompt) });
    const tokens = jobs.reduce((sum, job) => sum + job.tokens, 0);
    console.log(`\n${set}: ${jobs.length} prompts, ${tokens} tokens before they end or loop`);
    for (const sequences of values.sequences.split(",").map(Number))
      rows.push(...(await measure(llm, set, jobs, sequences, methods)));
  }
  await llm.close();
  mkdirSync(path.join(import.meta.dirname, "build"), { recursive: true });
  writeFileSync(path.join(import.meta.dirname, "build/speculation.json"), JSON.stringify(rows, null, 1));
}

/** All methods at one load; prints a line each. */
async function measure(
  llm: Llm,
  set: string,
  jobs: readonly Job[],
  sequences: number,
  methods: readonly string[],
): Promise<object[]> {
  const runs = new Map<string, Run[]>([["off", []], ...methods.map((name): [string, Run[]] => [name, []])]);
  for (let at = 0, group = 0; at < jobs.length; at += sequences, group++) {
    const part = jobs.slice(at, at + sequences);
    const names = [...runs.keys()];
    const order = names.map((_, i) => names[(i + group) % names.length] ?? "off");
    for (const name of order) runs.get(name)?.push(await runGroup(llm, part, name, `${set} ${sequences} ${name}`));
  }
  const plain = runs.get("off") ?? [];
  return [...runs].map(([name, own]) => {
    const sum = (of: (run: Run) => number): number => own.reduce((total, run) => total + of(run), 0);
    const logs = own.map((run, i) => Math.log((plain[i]?.ms ?? Number.NaN) / run.ms));
    const cpu = plain.reduce((ms, run) => ms + run.cpuMs, 0) / sum(({ cpuMs }) => cpuMs);
    const total = plain.reduce((ms, run) => ms + run.ms, 0) / sum(({ ms }) => ms);
    const row = {
      set,
      sequences,
      method: name,
      tokensPerStep: sum(({ tokens }) => tokens) / sum(({ steps }) => steps),
      draftedPerStep: sum(({ drafted }) => drafted) / sum(({ steps }) => steps),
      acceptance: [0, 1, 2, 3, 5, 7].map(
        (d) => sum(({ depths }) => depths[d]?.accepted ?? 0) / sum(({ depths }) => depths[d]?.drafted ?? 0),
      ),
      planShare: sum(({ planMs }) => planMs) / sum(({ ms }) => ms),
      median: Math.exp(median(logs)),
      total,
      cpu,
      lower: lowerBound(logs),
      pairs: logs.length,
    };
    const percent = (share: number): string => (Number.isNaN(share) ? "–" : `${Math.round(100 * share)}`).padStart(3);
    console.log(
      `${String(sequences).padStart(3)} × ${name.padEnd(14)} ${row.tokensPerStep.toFixed(2)} tokens a step, ` +
        `${row.draftedPerStep.toFixed(2)} drafted; right by depth 1 2 3 4 6 8: ${row.acceptance.map(percent).join(" ")} %; ` +
        `planning ${percent(row.planShare)} %; speed × ${row.median.toFixed(2)} ` +
        `(≥ ${row.lower.toFixed(2)}; by sums ${row.total.toFixed(2)}, of processor time ${row.cpu.toFixed(2)}; ${row.pairs} pairs)`,
    );
    return row;
  });
}

async function runGroup(llm: Llm, jobs: readonly Job[], name: string, tenant: string): Promise<Run> {
  const [drafter = "off", depth] = name.split(":");
  const speculation = depth === undefined ? drafter : { drafter, depth: Number(depth) };
  const before = llm.stats().drafts.map((count) => ({ ...count }));
  let planMs = 0;
  const stop = llm.watch((record) => (planMs += record.planMs));
  const cpuBefore = process.cpuUsage();
  const began = performance.now();
  const answers = await Promise.all(
    jobs.map(({ prompt, tokens }) =>
      answer(llm, prompt, { speculation, maxTokens: tokens, cacheSalt: tenant, stopTokens: [] }),
    ),
  );
  const ms = performance.now() - began;
  const { user, system } = process.cpuUsage(cpuBefore);
  stop();
  const sum = (of: (one: Generation) => number): number => answers.reduce((total, one) => total + of(one), 0);
  return {
    ms,
    cpuMs: (user + system) / 1000,
    planMs,
    tokens: sum(({ tokens }) => tokens.length),
    steps: sum(({ timings }) => timings.steps),
    drafted: sum(({ timings }) => timings.drafted),
    accepted: sum(({ timings }) => timings.accepted),
    depths: llm.stats().drafts.map(({ drafted, accepted }, d) => ({
      drafted: drafted - (before[d]?.drafted ?? 0),
      accepted: accepted - (before[d]?.accepted ?? 0),
    })),
  };
}

function answer(llm: Llm, { chat, raw = "" }: Prompt, options: GenerateOptions): PromiseLike<Generation> {
  const greedy = { ...options, temperature: 0 };
  return chat === undefined ? llm.generate(raw, greedy) : llm.chat([{ role: "user", content: chat }], greedy);
}

/** Tokens of a greedy answer, up to where it begins to loop. */
async function lengthOf(llm: Llm, prompt: Prompt): Promise<number> {
  const { tokens } = await answer(llm, prompt, { speculation: "off", maxTokens: MAX_TOKENS });
  for (let end = 16; end < tokens.length; end += 4) if (loops(llm.detokenize(tokens.slice(0, end)))) return end;
  return tokens.length;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** Of the median, by the binomial distribution of how many values lie below it; one-sided 97.5 %. */
function lowerBound(logs: readonly number[]): number {
  const sorted = [...logs].sort((a, b) => a - b);
  const n = sorted.length;
  let [below, chance] = [0.5 ** n, 0.5 ** n];
  let rank = -1;
  for (let k = 0; k < n && below <= 0.025; k++) {
    rank = k;
    chance *= (n - k) / (k + 1);
    below += chance;
  }
  return rank < 0 ? Number.NaN : Math.exp(sorted[rank] ?? Number.NaN);
}
