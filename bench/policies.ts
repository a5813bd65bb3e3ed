/**
 * `npm run bench -- policies [MODEL] [--trace NAME] [--requests N] [--load X] [--blocks N] [--sequences N] [--validate N]`: the engine's own
 * scheduler on a recorded trace, under each policy, with the time that its steps would take on this machine (policies/cost.ts).
 * `--load` is the trace's speed against what the machine can do. Prints a table. With `--validate` three policies also run for
 * real on the first N requests, and their throughput is compared with the simulator's.
 */
import path from "node:path";
import { parseArgs } from "node:util";
import { load } from "../src/engine/load.ts";
import { optimistic, peak, reserve } from "../src/engine/policies/admission.ts";
import { Balanced } from "../src/engine/policies/balanced.ts";
import { FirstCome } from "../src/engine/policies/first-come.ts";
import type { Policy } from "../src/engine/policies/policy.ts";
import type { EngineRequest } from "../src/engine/request.ts";
import { Random } from "../test/support/random.ts";
import { Simulation } from "../test/support/simulation.ts";
import { type Cost, measureCost, secondsOf } from "./policies/cost.ts";
import {
  DecodeFirst,
  LengthBuckets,
  Preallocate,
  type Predictor,
  PrefillFirst,
  ShortestRemaining,
  SkipJoinMlfq,
  StaticBatch,
} from "./policies/experiments.ts";
import { type Arrival, readTrace, TRACES } from "./policies/traces.ts";
import { type RealShape, runForReal } from "./policies/validate.ts";

const CONTEXT = 2048;
/** What clients say that they want at most; their answers are shorter. */
const MAX_TOKENS = 1024;
const CHUNK = 64;

type Lengths = ReadonlyMap<Readonly<EngineRequest>, number>;

/** By name. `lengths`: what only an oracle knows. */
const POLICIES: Readonly<Record<string, (lengths: Lengths) => Policy>> = {
  "balanced, peak": () => new Balanced({ admission: peak, chunkTokens: CHUNK }),
  "balanced, reserve": () => new Balanced({ admission: reserve, chunkTokens: CHUNK }),
  "balanced, optimistic": () => new Balanced({ admission: optimistic, chunkTokens: CHUNK }),
  "balanced, peak, whole prompts": () => new Balanced({ admission: peak, chunkTokens: 512 }),
  "first come": () => new FirstCome(),
  "static batching": () => new StaticBatch(),
  "preallocate the maximum": () => new Preallocate(CONTEXT / 16),
  "length buckets, oracle": (lengths) => new LengthBuckets(oracle(lengths)),
  "length buckets, learned": () => new LengthBuckets(learned()),
  "prefill first": () => new PrefillFirst(),
  "decode first": () => new DecodeFirst(),
  "skip-join MLFQ": () => new SkipJoinMlfq(),
  "shortest remaining, oracle": (lengths) => new ShortestRemaining(oracle(lengths)),
  "shortest remaining, noisy": (lengths) => new ShortestRemaining(noisy(lengths)),
  "shortest remaining, learned": () => new ShortestRemaining(learned()),
};

export async function benchPolicies(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: {
      trace: { type: "string", default: "azure" },
      requests: { type: "string", default: "2000" },
      load: { type: "string", default: "0.8" },
      blocks: { type: "string", default: "1024" },
      sequences: { type: "string", default: "32" },
      validate: { type: "string" },
    },
    allowPositionals: true,
  });
  const name = TRACES.find((trace) => trace === values.trace);
  if (name === undefined) throw new Error(`--trace is one of ${TRACES.join(", ")}, not ${values.trace}`);
  const model = positionals[0] ?? path.join(import.meta.dirname, "../../shared/models/smollm2-135m-instruct-q4_1.gguf");
  const llm = await load(model, { context: 1024, maxSequences: 16 });
  const { cost, error } = await measureCost(llm);
  await llm.close();
  const micro = (seconds: number): string => (1e6 * seconds).toFixed(2);
  console.log(
    `a step takes ${micro(cost.step)} µs + ${micro(cost.row)} a row + ${micro(cost.key)} a key (median error ` +
      `${(100 * error).toFixed(0)} %)`,
  );
  const arrivals = readTrace(name, Number(values.requests), CONTEXT);
  const sequences = Number(values.sequences);
  const paced = atLoad(arrivals, cost, sequences, Number(values.load));
  console.log(`${name}: ${paced.length} requests in ${(paced.at(-1)?.at ?? 0).toFixed(0)} s, load ${values.load}\n`);
  console.log(
    "| policy | tokens/s | TTFT p50 / p99, s | between tokens p50 / p99, ms | mean time, s | in memory | preempted | least share |",
  );
  console.log("|---|---|---|---|---|---|---|---|");
  const began = performance.now();
  let simulated = 0;
  for (const [title, make] of Object.entries(POLICIES)) {
    const found = simulate(paced, make, cost, { sequences, blocks: Number(values.blocks) });
    simulated += found.seconds;
    console.log(`| ${title} | ${found.row.join(" | ")} |`);
  }
  const speed = simulated / ((performance.now() - began) / 1000);
  if (values.validate !== undefined) {
    const shape = { model, context: CONTEXT, sequences, blocks: Number(values.blocks), stepTokens: 512 };
    await validate(paced.slice(0, Number(values.validate)), cost, shape);
  }
  console.log(`\nsimulated ${speed.toFixed(0)} times faster than real time`);
}

const VALIDATED = ["balanced, peak", "first come", "prefill first"] as const;

async function validate(arrivals: readonly Arrival[], cost: Cost, shape: RealShape): Promise<void> {
  console.log(`\n| on ${arrivals.length} requests | simulated tokens/s | for real | difference |\n|---|---|---|---|`);
  for (const name of VALIDATED) {
    const make = POLICIES[name] ?? ((): Policy => new FirstCome());
    // Told how long answers are, as the real run's requests say.
    const { tokensPerSecond } = simulate(arrivals, make, cost, shape, 0);
    const real = await runForReal(arrivals, make(new Map()), shape);
    const difference = `${(100 * (tokensPerSecond / real - 1)).toFixed(0)} %`;
    console.log(`| ${name} | ${tokensPerSecond.toFixed(0)} | ${real.toFixed(0)} | ${difference} |`);
  }
}

/** The trace at another speed: at load 1 the machine is just busy, by what its steps cost when full. */
function atLoad(arrivals: readonly Arrival[], cost: Cost, sequences: number, load: number): readonly Arrival[] {
  const work = arrivals.reduce((sum, { prompt, answer }) => {
    const keys = (prompt.length * prompt.length) / 2 + answer * (prompt.length + answer / 2);
    return sum + cost.row * (prompt.length + answer) + cost.key * keys + (cost.step * answer) / sequences;
  }, 0);
  const span = arrivals.at(-1)?.at ?? 1;
  return arrivals.map((one) => ({ ...one, at: (one.at * work) / (span * load) }));
}

interface Timing {
  readonly arrival: Arrival;
  readonly tokens: number[];
}

function simulate(
  arrivals: readonly Arrival[],
  make: (lengths: Lengths) => Policy,
  cost: Cost,
  { sequences, blocks }: { readonly sequences: number; readonly blocks: number },
  most = MAX_TOKENS,
): { readonly row: readonly string[]; readonly seconds: number; readonly tokensPerSecond: number } {
  const lengths = new Map<Readonly<EngineRequest>, number>();
  const simulation = new Simulation({ policy: make(lengths), sequences, blocks, stepTokens: 512, context: CONTEXT });
  const timings: Timing[] = [];
  let [now, next] = [0, 0];
  while (next < arrivals.length || !simulation.isIdle) {
    for (let one = arrivals[next]; one !== undefined && one.at <= now; one = arrivals[++next]) {
      const timing: Timing = { arrival: one, tokens: [] };
      timings.push(timing);
      const maxTokens = Math.min(Math.max(most, one.answer), CONTEXT - one.prompt.length);
      const request = simulation.submit({ ...one, maxTokens }, (event) => {
        if (event.type === "tokens") for (const _ of event.tokens) timing.tokens.push(now);
      });
      lengths.set(request, one.answer);
    }
    if (simulation.isIdle) now = arrivals[next]?.at ?? now;
    else simulation.step((size) => (now += secondsOf(cost, size)));
  }
  const firsts = timings.map(({ arrival, tokens }) => (tokens[0] ?? NaN) - arrival.at);
  const gaps = timings.flatMap(({ tokens }) => tokens.slice(1).map((at, i) => 1000 * (at - (tokens[i] ?? 0))));
  const times = timings.map(({ arrival, tokens }) => (tokens.at(-1) ?? NaN) - arrival.at);
  const tokens = timings.reduce((sum, one) => sum + one.tokens.length, 0);
  const prompts = timings.reduce((sum, { arrival }) => sum + arrival.prompt.length, 0);
  return {
    seconds: now,
    tokensPerSecond: tokens / now,
    row: [
      (tokens / now).toFixed(0),
      `${quantile(firsts, 0.5).toFixed(2)} / ${quantile(firsts, 0.99).toFixed(2)}`,
      `${quantile(gaps, 0.5).toFixed(0)} / ${quantile(gaps, 0.99).toFixed(0)}`,
      (times.reduce((sum, time) => sum + time, 0) / times.length).toFixed(2),
      `${((100 * simulation.cachedTokens) / prompts).toFixed(0)} %`,
      `${simulation.preempted}`,
      leastShare(timings).toFixed(2),
    ],
  };
}

/** Of the mean speed of its tokens, what the slowest tenant got: 1 is fair. */
function leastShare(timings: readonly Timing[]): number {
  const byTenant = new Map<string, { tokens: number; seconds: number }>();
  for (const { arrival, tokens } of timings) {
    const sum = byTenant.get(arrival.tenant) ?? { tokens: 0, seconds: 0 };
    byTenant.set(arrival.tenant, {
      tokens: sum.tokens + tokens.length,
      seconds: sum.seconds + (tokens.at(-1) ?? 0) - arrival.at,
    });
  }
  const speeds = [...byTenant.values()].map(({ tokens, seconds }) => tokens / seconds);
  return Math.min(...speeds) / (speeds.reduce((sum, speed) => sum + speed, 0) / speeds.length);
}

function quantile(values: readonly number[], q: number): number {
  return values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(q * values.length))] ?? Number.NaN;
}

function oracle(lengths: Lengths): Predictor {
  return (request) => lengths.get(request) ?? 1;
}

/** Off by a factor of e^±1/2, one standard deviation. */
function noisy(lengths: Lengths): Predictor {
  const random = new Random(7);
  const factors = new WeakMap<Readonly<EngineRequest>, number>();
  return (request) => {
    let factor = factors.get(request);
    if (factor === undefined) {
      // The sum of twelve uniform numbers is nearly normal.
      let sum = -6;
      for (let i = 0; i < 12; i++) sum += random.below(1 << 16) / (1 << 16);
      factors.set(request, (factor = Math.exp(sum / 2)));
    }
    return (lengths.get(request) ?? 1) * factor;
  };
}

/** From what has ended: the mean answer to prompts of about the same length. */
function learned(): Predictor {
  const seen = new Map<number, { sum: number; count: number }>();
  const known = new WeakSet<Readonly<EngineRequest>>();
  const open = new Set<Readonly<EngineRequest>>();
  const bucket = ({ work }: Readonly<EngineRequest>): number => Math.floor(2 * Math.log2(work.prompt.length));
  return (request) => {
    if (!known.has(request)) {
      known.add(request);
      open.add(request);
    }
    for (const one of open) {
      if (one.status !== "ended") continue;
      open.delete(one);
      const entry = seen.get(bucket(one)) ?? { sum: 0, count: 0 };
      const length = (one.sequences[0]?.length ?? 0) - one.work.prompt.length;
      seen.set(bucket(one), { sum: entry.sum + length, count: entry.count + 1 });
    }
    const entry = seen.get(bucket(request));
    return entry === undefined ? 128 : entry.sum / entry.count;
  };
}
