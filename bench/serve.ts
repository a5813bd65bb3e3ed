/**
 * `npm run bench -- serve [MODEL] [--requests N] [--rounds N] [--threads N] [--peers] [--llama-server PATH] [--only a,b]`: a
 * server under load, measured from a process of clients: batch limits 1, 8 and 32, and 32 without continuous batching, chunks
 * and prefix cache, on the same Poisson arrivals; what a repeated prefix saves; what a long prompt and a long text do to
 * answers that are under way; the server's own counts against the clients'. Beside it, where asked for, node-llama-cpp behind
 * the thinnest server that its API allows, and llama.cpp's server. Writes build/serve.json.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { measureMachine, type Machine, stepLimit } from "./serving/limit.ts";
import {
  type Outcome,
  percentiles,
  type Planned,
  poisson,
  promptIds,
  quantile,
  type Summary,
  summarise,
} from "./serving/load.ts";
import type { HostSetting } from "./serving/millrace-host.ts";
import {
  type Clients,
  type Host,
  startClients,
  startLlamaServer,
  startMillrace,
  startNodeLlamaCpp,
} from "./serving/processes.ts";

const HERE = import.meta.dirname;
const SECTIONS = ["batches", "prefix", "prompt", "text"] as const;
type Section = (typeof SECTIONS)[number];
const PROMPT: [number, number] = [64, 256];
const ANSWER: [number, number] = [32, 96];
const LIMIT = 32;

interface Bench {
  readonly model: string;
  readonly base: HostSetting;
  readonly requests: number;
  readonly rounds: number;
  readonly clients: Clients;
  readonly machine: Machine;
  readonly peers: boolean;
  readonly llamaServer: string | undefined;
  readonly report: Record<string, unknown>;
}

export async function benchServe(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: {
      requests: { type: "string", default: "128" },
      rounds: { type: "string", default: "3" },
      threads: { type: "string" },
      peers: { type: "boolean", default: false },
      "llama-server": { type: "string" },
      only: { type: "string", default: SECTIONS.join(",") },
    },
    allowPositionals: true,
  });
  const only = values.only.split(",");
  const unknown = only.find((name) => !SECTIONS.some((known) => known === name));
  if (unknown !== undefined) throw new Error(`--only names some of ${SECTIONS.join(", ")}, not ${unknown}`);
  const models = positionals.length > 0 ? positionals : DEFAULT_MODELS;
  for (const model of models.map((one) => path.resolve(one))) {
    const threads = values.threads === undefined ? undefined : Number(values.threads);
    const base: HostSetting = { model, context: 8192, maxSequences: LIMIT, ...(threads && { threads }) };
    const clients = startClients();
    const bench: Bench = {
      model,
      base,
      requests: Number(values.requests),
      rounds: Number(values.rounds),
      clients,
      machine: measureMachine(model, threads),
      peers: values.peers,
      llamaServer: values["llama-server"],
      report: { cpu: cpus()[0]?.model, node: process.version, model: path.basename(model) },
    };
    console.log(`\n# ${path.basename(model)}, ${cpus()[0]?.model ?? "?"}, ${bench.machine.threads} threads\n`);
    try {
      for (const section of SECTIONS) if (only.includes(section)) await MEASURES[section](bench);
    } finally {
      clients.stop();
    }
    mkdirSync(path.join(HERE, "build"), { recursive: true });
    writeFileSync(path.join(HERE, `build/serve-${path.basename(model)}.json`), JSON.stringify(bench.report, null, 1));
  }
}

const DEFAULT_MODELS = [
  path.join(HERE, "../../shared/models/smollm2-135m-instruct-q4_1.gguf"),
  path.join(HERE, "../builtin/brook-q8_0.gguf"),
];

const MEASURES: Readonly<Record<Section, (bench: Bench) => Promise<void>>> = {
  batches: measureBatches,
  prefix: measurePrefix,
  prompt: measurePrompt,
  text: measureText,
};

/** Starts a server, warms it up, hands it over, and stops it. */
async function withHost<T>(
  { clients }: Bench,
  start: () => Promise<Host>,
  use: (host: Host) => Promise<T>,
): Promise<T> {
  const host = await start();
  try {
    await clients.run(host.url, poisson({ count: 4, rate: Infinity, prompt: [32, 64], answer: [8, 8], seed: 999 }));
    return await use(host);
  } finally {
    await host.stop();
  }
}

/** Batch limits, what each mechanism is worth, and the peers, on one workload. */
async function measureBatches(bench: Bench): Promise<void> {
  const { base, requests, clients } = bench;
  const mix = { count: requests, prompt: PROMPT, answer: ANSWER, seed: 1 };
  // At once: how much goes through. Half of them share their first 128 tokens, as chats with one system prompt do.
  const burst = shared(poisson({ ...mix, rate: Infinity }));
  const first = await withHost(
    bench,
    () => startMillrace(base),
    (host) => clients.run(host.url, burst),
  );
  const capacity = summarise(first).requestsPerSecond;
  const paced = shared(poisson({ ...mix, rate: 0.7 * capacity, seed: 2 }));
  console.log(
    `${requests} requests of ${PROMPT.join(" to ")} tokens, answers of ${ANSWER.join(" to ")}; all at once, then Poisson ` +
      `arrivals at ${(0.7 * capacity).toFixed(1)} a second\n`,
  );
  console.log(
    "| server | req/s at once | tokens/s at once | tokens/s paced | TTFT p50 / p90 / p99, ms | between tokens p50 / p90 / p99, ms | failed |",
  );
  console.log("|---|---|---|---|---|---|---|");
  const servers: [string, () => Promise<Host>][] = [
    ["limit 32", () => startMillrace(base)],
    ["limit 8", () => startMillrace({ ...base, maxSequences: 8 })],
    ["limit 1", () => startMillrace({ ...base, maxSequences: 1 })],
    ["32, no continuous batching", () => startMillrace({ ...base, policy: "static" })],
    ["32, no chunks", () => startMillrace({ ...base, stepTokens: base.context, chunkTokens: base.context })],
    ["32, no prefix cache", () => startMillrace({ ...base, prefixCache: false })],
  ];
  // Its context is for all sequences together.
  const peer = { ...base, context: LIMIT * 512 };
  if (bench.peers) servers.push(["node-llama-cpp, 32 sequences", () => startNodeLlamaCpp(peer)]);
  const { llamaServer } = bench;
  if (llamaServer !== undefined) servers.push(["llama-server, 32 slots", () => startLlamaServer(llamaServer, peer)]);
  const found: Record<string, { burst: Summary; paced: Summary }> = {};
  for (const [name, start] of servers) {
    const rows = await withHost(bench, start, async (host) => {
      const before = host.info === undefined ? undefined : await counts(host.url);
      const outcomes = [...(await clients.run(host.url, burst))];
      const burstSummary = summarise(outcomes);
      const more = await clients.run(host.url, paced);
      outcomes.push(...more);
      if (before !== undefined) await compareCounts(name, host.url, before, outcomes);
      return { burst: burstSummary, paced: summarise(more) };
    });
    found[name] = rows;
    const { burst: atOnce, paced: calm } = rows;
    console.log(
      `| ${name} | ${atOnce.requestsPerSecond.toFixed(1)} | ${atOnce.tokensPerSecond.toFixed(0)} | ` +
        `${calm.tokensPerSecond.toFixed(0)} | ${percentiles(calm.firstToken)} | ${percentiles(calm.gaps, 1)} | ` +
        `${atOnce.failed + calm.failed} |`,
    );
  }
  const ours = found["limit 32"]?.burst;
  const peers = Object.entries(found).filter(([name]) => name.includes("llama"));
  for (const [name, { burst: theirs }] of peers) {
    console.log(`\n${((ours?.tokensPerSecond ?? 0) / theirs.tokensPerSecond).toFixed(2)} × ${name}, all at once`);
  }
  if (ours !== undefined) await measureShare(bench, ours);
  bench.report["batches"] = found;
}

/** 32 answers at once and nothing else: their share of what the machine allows. */
async function measureShare(bench: Bench, { meanContext }: Summary): Promise<void> {
  const { base, clients, machine } = bench;
  const place = Math.round(meanContext - 48);
  const outcomes = await withHost(
    bench,
    () => startMillrace(base),
    (host) => {
      const requests = poisson({ count: LIMIT, rate: Infinity, prompt: [place, place], answer: [96, 96], seed: 5 });
      return clients.run(host.url, requests);
    },
  );
  // From the time when all have begun to the time when the first ends: steps of 32 rows.
  const begin = Math.max(...outcomes.map(({ events }) => events[0] ?? 0));
  const end = Math.min(...outcomes.map(({ events }) => events.at(-1) ?? 0));
  const steps = quantile(
    outcomes.flatMap(({ events }) => gapsBetween(events, begin, end)),
    0.5,
  );
  const tokensPerSecond = (1000 * LIMIT) / steps;
  const limit = stepLimit(machine, LIMIT, meanContext);
  console.log(
    `\n32 answers at ${meanContext.toFixed(0)} positions: ${tokensPerSecond.toFixed(0)} tokens/s, ` +
      `${((100 * tokensPerSecond) / limit).toFixed(0)} % of the limit of ${limit.toFixed(0)}`,
  );
  bench.report["share"] = { tokensPerSecond, limit, meanContext };
}

function gapsBetween(events: readonly number[], begin: number, end: number): number[] {
  return events.slice(1).flatMap((at, i) => ((events[i] ?? 0) >= begin && at <= end ? [at - (events[i] ?? 0)] : []));
}

/** Half of the prompts begin with the same 48 tokens and 16 more of one of four kinds. */
function shared(requests: readonly Planned[]): Planned[] {
  const common = promptIds(48, 77_777);
  return requests.map((one, i) => {
    if (i % 2 === 0 || typeof one.prompt === "string") return one;
    const kind = promptIds(16, 88_888 + (i % 4));
    return { ...one, prompt: [...common, ...kind, ...one.prompt.slice(64)] };
  });
}

interface Counts {
  readonly prompt: number;
  readonly generated: number;
  readonly cached: number;
  readonly answers: number;
}

async function counts(url: string): Promise<Counts> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const of = (name: string): number =>
    [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "gm"))].reduce((sum, [, n]) => sum + Number(n), 0);
  return {
    prompt: of("vllm:prompt_tokens_total"),
    generated: of("vllm:generation_tokens_total"),
    cached: of("vllm:prefix_cache_hits_total"),
    answers: of('vllm:request_success_total\\{[^}]*finished_reason="(?:stop|length)"[^}]*\\}'),
  };
}

/** The server's totals are the clients' own, to the token. */
async function compareCounts(name: string, url: string, before: Counts, outcomes: readonly Outcome[]): Promise<void> {
  const after = await counts(url);
  const sum = (of: (one: Outcome) => number): number => outcomes.reduce((total, one) => total + of(one), 0);
  const pairs: [string, number, number][] = [
    ["prompt tokens", after.prompt - before.prompt, sum((one) => one.promptTokens)],
    ["generated tokens", after.generated - before.generated, sum((one) => one.tokens)],
    ["cached tokens", after.cached - before.cached, sum((one) => one.cachedTokens)],
    ["answers", after.answers - before.answers, outcomes.filter(({ status }) => status === 200).length],
  ];
  for (const [what, server, client] of pairs) {
    if (server !== client) throw new Error(`${name}: /metrics counts ${server} ${what}, the clients ${client}`);
  }
}

/** The first token of a prompt whose first 2,000 tokens are in memory, against one of which nothing is. */
async function measurePrefix(bench: Bench): Promise<void> {
  const { base, clients, rounds } = bench;
  await withHost(
    bench,
    () => startMillrace(base),
    async (host) => {
      const [cold, warm]: [number[], number[]] = [[], []];
      for (let round = 0; round < rounds; round++) {
        const prefix = promptIds(2000, 500 + round);
        for (const [i, list] of [cold, warm].entries()) {
          const prompt = [...prefix, ...promptIds(16, 9000 + 2 * round + i)];
          const [one] = await clients.run(host.url, [{ at: 0, prompt, answer: 2 }]);
          if (one !== undefined) list.push((one.events[0] ?? Number.NaN) - one.sent);
        }
      }
      const [before, after] = [quantile(cold, 0.5), quantile(warm, 0.5)];
      console.log(
        `\nfirst token of a prompt of 2,016 tokens: ${before.toFixed(0)} ms; where 2,000 of them are in memory ` +
          `${after.toFixed(1)} ms, ${((100 * after) / before).toFixed(1)} %`,
      );
      bench.report["prefix"] = { cold, warm };
    },
  );
}

const STREAMS = 8;

/** Eight answers under way, and a prompt of 4,000 tokens that comes in between. */
async function measurePrompt(bench: Bench): Promise<void> {
  const { base, clients, rounds } = bench;
  const streams = (salt: number): Planned[] =>
    Array.from({ length: STREAMS }, (_, i) => ({ at: 0, prompt: promptIds(64, salt + i), answer: 256 }));
  const setting = { ...base, maxSequences: 16 };
  const measure = (
    policy: HostSetting["policy"],
    wholePrompts: boolean,
  ): Promise<{ gaps: number[]; first: number[] }> =>
    withHost(
      bench,
      () => startMillrace({ ...setting, ...(policy && { policy }) }),
      async (host) => {
        const [gaps, first]: [number[], number[]] = [[], []];
        for (let round = 0; round < rounds; round++) {
          const long = { at: 0.5, prompt: promptIds(4000, 70 + round), answer: 2 };
          const outcomes = await clients.run(host.url, [
            ...streams(1000 * (round + 1)),
            ...(wholePrompts ? [long] : []),
          ]);
          const end = wholePrompts ? (outcomes.at(-1)?.events[0] ?? Infinity) : Infinity;
          const begin = wholePrompts ? (outcomes.at(-1)?.sent ?? 0) : 500;
          for (const { events } of outcomes.slice(0, STREAMS)) gaps.push(...gapsBetween(events, begin, end + 1000));
          const last = outcomes.at(-1);
          if (wholePrompts && last !== undefined) first.push((last.events[0] ?? Number.NaN) - last.sent);
        }
        return { gaps, first };
      },
    );
  const calm = await measure(undefined, false);
  const ours = await measure(undefined, true);
  const prefillFirst = await measure("prefill first", true);
  const median = quantile(calm.gaps, 0.5);
  const p99 = quantile(ours.gaps, 0.99);
  const [own, other] = [quantile(ours.first, 0.5), quantile(prefillFirst.first, 0.5)];
  console.log(
    `\n${STREAMS} answers: between tokens p50 ${median.toFixed(1)} ms; while a prompt of 4,000 tokens is computed p99 ` +
      `${p99.toFixed(1)} ms, ${(p99 / median).toFixed(2)} × (prefill first: ` +
      `${quantile(prefillFirst.gaps, 0.99).toFixed(0)} ms)\nthat prompt's first token: ${own.toFixed(0)} ms, ` +
      `${(own / other).toFixed(2)} × prefill first`,
  );
  bench.report["prompt"] = { median, p99, own, prefillFirst: other };
}

/** An answer under way, while somebody sends texts of a megabyte: with the engine in a thread of its own, and without. */
async function measureText(bench: Bench): Promise<void> {
  const { base, clients, rounds } = bench;
  const text = "The old mill stands by the river, and the river runs to the sea. ".repeat(16_000).slice(0, 1e6);
  const found: Record<string, number[]> = {};
  for (const inProcess of [false, true]) {
    // Room for the text's characters, not for its tokens: it is refused when they have been counted.
    const setting = { ...base, context: 16_384, maxSequences: 4, inProcess };
    await withHost(
      bench,
      () => startMillrace(setting),
      async (host) => {
        const answers: Planned[] = [0, 1].map((i) => ({ at: 0, prompt: promptIds(32, i), answer: 200 }));
        const texts = Array.from({ length: 3 * rounds }, (_, i) => ({
          at: 0.1 + 0.3 * i,
          prompt: `${i} ${text}`,
          answer: 1,
        }));
        for (const [name, more] of [
          ["alone", []],
          ["beside texts", texts],
        ] as const) {
          const outcomes = await clients.run(host.url, [...answers, ...more]);
          const gaps = outcomes.slice(0, 2).flatMap(({ events }) => gapsBetween(events, 0, Infinity));
          found[`${inProcess ? "one thread" : "own threads"}, ${name}`] = gaps;
        }
      },
    );
  }
  console.log("\nbetween tokens of two answers, p50 / p90 / p99, ms, alone and beside texts of 1 MB:");
  for (const [name, gaps] of Object.entries(found)) {
    console.log(`  ${name}: ${percentiles(gaps, 1)}, longest ${Math.max(...gaps).toFixed(0)}`);
  }
  bench.report["text"] = Object.fromEntries(Object.entries(found).map(([name, gaps]) => [name, quantile(gaps, 0.99)]));
}
