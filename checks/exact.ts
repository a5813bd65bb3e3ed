/**
 * check:exact: promise 1, measured. Random workloads (1 to 8 requests, mixed lengths, chunks of 1 to 512 tokens,
 * n > 1, aborts, 1 or 2 threads, temperatures and penalties, memory so small that requests wait) on a tiny model of
 * each family, on each weight format with each KV type, and on the shared model: ids and bits of logits must equal
 * those of each request run alone, one token a step, on one thread. After each such workload one on programs
 * (exact-steps.ts), for what the engine does seldom or never.
 *
 * npm run check:exact -- [--steps N] [--isa NAME] [--seed N] [--only TEXT] [--sabotage]
 */
import path from "node:path";
import { parseArgs } from "node:util";
import type { ModelArtifact } from "../src/artifact/artifact.ts";
import type { DType } from "../src/artifact/dtype.ts";
import { openArtifact } from "../src/artifact/node-open.ts";
import { optimistic } from "../src/engine/policies/admission.ts";
import { Balanced } from "../src/engine/policies/balanced.ts";
import { RequestError } from "../src/errors.ts";
import { type CpuBackend, cpuIsas, createCpuBackend } from "../src/backend/cpu/backend.ts";
import { buildNative, packageRoot } from "../src/backend/cpu/build.ts";
import type { KvType } from "../src/backend/contract.ts";
import { MODEL } from "../test/support/greedy-paths.ts";
import { FORMATS, KV_TYPES } from "../test/support/formats.ts";
import { progress } from "../test/support/progress.ts";
import { Random } from "../test/support/random.ts";
import { sharedFile } from "../test/support/shared.ts";
import { TINY_FAMILIES, TINY_VOCAB, tinyModel } from "../test/support/tiny-models.ts";
import { TINY_RECURRENT, tinyRecurrent } from "../test/support/tiny-recurrent.ts";
import { noCounts } from "../test/support/step-walk.ts";
import { type Job, randomJobs, runJobs, type WorkloadShape } from "../test/support/workload.ts";
import { Whimsical } from "../test/support/whimsical.ts";
import { noDraftCounts, randomDrafts } from "./exact-drafts.ts";
import { type NativeFault, type OpenBackend, runStepCase, sabotageNative, sabotageSteps } from "./exact-steps.ts";

interface Case {
  readonly name: string;
  readonly open: () => Promise<ModelArtifact>;
  readonly kv: KvType;
  readonly shape: WorkloadShape;
  readonly context: number;
  /** Memory for four sequences whatever the chunk: windows of rows need more for longer ones, which a share doesn't know. */
  readonly isRoomy?: boolean;
}

/** Prompts reach over three KV tiles of 128 positions. */
const TINY: WorkloadShape = { vocab: TINY_VOCAB, prompt: 420, answer: 40, requests: 14 };
const SHARED: WorkloadShape = { vocab: 49_152, prompt: 40, answer: 8, requests: 4 };

const { values } = parseArgs({
  options: {
    steps: { type: "string", default: "20000" },
    isa: { type: "string" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    only: { type: "string" },
    sabotage: { type: "boolean", default: false },
  },
});
const wanted = Number(values.steps);
if (values.sabotage) {
  const variant = "sabotage";
  process.env["MILLRACE_NATIVE_VARIANT"] = variant;
  await buildNative({ outDir: path.join(packageRoot(), "build", variant), variant, strict: true });
}
const firstSeed = Number(values.seed);
const isas = values.isa === undefined ? await cpuIsas() : [values.isa];
const cases = makeCases().filter(({ name }) => values.only === undefined || name.includes(values.only));
console.log(
  `seed ${firstSeed}; ISA paths: ${isas.join(", ")}; ${cases.length} cases${values.sabotage ? "; SABOTAGE" : ""}`,
);

let mismatches = 0;
let steps = 0;
let aloneSteps = 0;
let compared = 0;
let workloads = 0;
const rows: Record<string, number> = {};
/** What the engine did to workloads. */
const engineMechanisms = {
  "tokens found by prefix": 0,
  preemptions: 0,
  "blocks swapped out": 0,
  "blocks swapped in": 0,
};
const drafted = noDraftCounts();
const mechanisms = noCounts();
// Every case runs at least once; one mismatch shows that a planted fault is found.
const enough = (): boolean => steps >= wanted || (values.sabotage && mismatches > 0);
for (let round = 0; !enough(); round++) {
  for (const [c, one] of cases.entries()) {
    if (enough() && (round > 0 || values.sabotage)) break;
    const isa = isas[(round + c) % isas.length] ?? "scalar";
    await runWorkload(one, isa, firstSeed + 1000 * round + c);
    if (!values.sabotage) await runSteps(isa, firstSeed + 1000 * round + c);
    workloads += 1;
    progress(`${steps} of ${wanted} steps, ${compared} answers compared, ${mismatches} mismatches`);
  }
}
progress("");
for (const [name, count] of Object.entries({ ...engineMechanisms, ...drafted }))
  console.log(`${name.padEnd(30)} ${String(count).padStart(10)}`);
for (const [kernel, count] of Object.entries(rows))
  console.log(`${kernel.padEnd(30)} ${String(count).padStart(10)} rows`);
for (const [mechanism, count] of Object.entries(mechanisms))
  console.log(`${mechanism.padEnd(30)} ${String(count).padStart(10)}`);
const idle = Object.entries({ ...rows, ...engineMechanisms, ...drafted, ...mechanisms }).filter(
  ([, count]) => count === 0,
);
const complete = values.only === undefined && !values.sabotage;
if (idle.length > 0 && complete) console.log(`never ran: ${idle.map(([kernel]) => kernel).join(", ")}`);
console.log(`${workloads} workloads, ${steps} steps (and ${aloneSteps} alone), ${compared} answers compared`);
console.log(`mismatches: ${mismatches}`);
if (values.sabotage) {
  const isa = isas[0] ?? "scalar";
  const missed = [
    ...(await sabotageSteps(openOn(isa), firstSeed)),
    ...(await sabotageNative(openWith(isa), firstSeed)),
  ];
  const found = mismatches > 0 && missed.length === 0;
  console.log(found ? "PASS: the planted faults were found" : "FAILED: a planted fault was not found");
  process.exitCode = found ? 0 : 1;
} else {
  const passed = mismatches === 0 && (!complete || idle.length === 0);
  console.log(passed ? "PASS" : "FAILED");
  process.exitCode = passed ? 0 : 1;
}

async function runWorkload(one: Case, isa: string, seed: number): Promise<void> {
  const random = new Random(seed);
  const artifact = await one.open();
  // Single answers fit into less memory, in which many requests crowd each other out.
  const isCrowded = random.below(2) === 0;
  const jobs = randomJobs(random, one.shape).map((job): Job => {
    return isCrowded && job.kind === "generate" ? { ...job, options: { ...job.options, n: 1 } } : job;
  });
  const alone = await withBackend(isa, 1, "", (backend) =>
    runJobs(
      artifact,
      backend,
      jobs.filter(({ abortAfter }) => abortAfter === undefined),
      {
        kv: one.kv,
        stepTokens: 1,
        context: one.context,
        maxSequences: 3,
        prefixCache: false,
        depth: 1,
        speculation: "off",
      },
    ),
  );
  const chunk = random.pick([1, 2, 3, 5, 16, 17, 64, 128, 200, 512]);
  const threads = random.between(1, 2);
  const maxSequences = random.between(4, 24);
  const policies = [undefined, new Whimsical(random), new Whimsical(random), new Balanced({ admission: optimistic })];
  const policy = policies[random.below(4)];
  // The largest request must fit by itself.
  const answers = Math.max(...jobs.map(({ options }) => options.n ?? 1));
  const share = answers / 4 + 0.05 + random.below(10) / 100;
  const outcomes = alone.outcomes.values();
  const known = jobs.map(({ abortAfter }) => (abortAfter === undefined ? (outcomes.next().value?.tokens ?? []) : []));
  const drafts = random.below(5) > 0 ? randomDrafts(random, artifact, jobs, known, one.shape.vocab) : undefined;
  const run = (kvBytes: number | undefined): ReturnType<typeof runJobs> =>
    withBackend(isa, threads, values.sabotage ? "linear" : "", (backend) =>
      runJobs(
        artifact,
        backend,
        drafts?.jobs ?? jobs,
        {
          kv: one.kv,
          stepTokens: chunk,
          context: one.context,
          maxSequences,
          prefixCache: random.below(4) > 0,
          // None, little, or more than is ever given up.
          swapBytes: random.pick([0, 2 ** 18, 2 ** 28]),
          ...(policy && { policy }),
          ...(kvBytes !== undefined && { kvBytes }),
          ...(drafts?.engine ?? { speculation: "off" }),
          depth: random.pick([1, 2] as const),
        },
        random,
      ),
    );
  // By itself four sequences of full length: with less, whoever is admitted on trust is preempted.
  const isTight = policy !== undefined && one.isRoomy !== true;
  const tight = isTight ? alone.kvBytes * share * (drafts?.memory ?? 1) : undefined;
  const together = await run(tight).catch((error: unknown) => {
    // What a window needs beside a long chunk isn't known here.
    if (tight !== undefined && error instanceof RequestError && error.message.includes("KV blocks"))
      return run(undefined);
    throw error;
  });
  engineMechanisms["tokens found by prefix"] += together.cachedTokens;
  engineMechanisms.preemptions += together.preempted;
  engineMechanisms["blocks swapped out"] += together.saved;
  engineMechanisms["blocks swapped in"] += together.restored;
  drafts?.count(together.outcomes, drafted);
  steps += together.steps;
  aloneSteps += alone.steps;
  let i = 0;
  for (const [j, job] of jobs.entries()) {
    if (job.abortAfter !== undefined) continue;
    const expected = alone.outcomes[i++]?.answers ?? [];
    for (const [a, answer] of expected.entries()) {
      compared += 1;
      const found = together.outcomes[j]?.answers[a];
      if (found === answer) continue;
      mismatches += 1;
      if (mismatches > 5) continue;
      console.log(
        `\nMISMATCH ${one.name}, ${isa}, seed ${seed}, chunk ${chunk}, ${threads} threads, request ${j}, answer ${a}:`,
      );
      console.log(`  alone:    ${answer.slice(0, 160)}\n  together: ${(found ?? "nothing").slice(0, 160)}`);
    }
  }
  await artifact.close();
}

function openOn(isa: string): OpenBackend {
  return (threads) => openWith(isa)(threads, "");
}

/** Only the build variant "sabotage" looks at the name of a fault, when a backend is made. */
function openWith(isa: string): (threads: number, fault: NativeFault | "") => Promise<CpuBackend> {
  return async (threads, fault) => {
    process.env["MILLRACE_SABOTAGE"] = fault;
    return createCpuBackend({ isa, threads });
  };
}

async function runSteps(isa: string, seed: number): Promise<void> {
  const difference = await runStepCase(openOn(isa), seed, mechanisms);
  if (difference === undefined) return;
  mismatches += 1;
  if (mismatches <= 5) console.log(`\nMISMATCH of a workload on programs, ${isa}, seed ${seed}: ${difference}`);
}

/** Runs `use` on a backend of its own and adds its counters to `rows`. */
async function withBackend<T>(
  isa: string,
  threads: number,
  fault: NativeFault | "",
  use: (backend: CpuBackend) => Promise<T>,
): Promise<T> {
  const backend = await openWith(isa)(threads, fault);
  try {
    return await use(backend);
  } finally {
    for (const [kernel, count] of Object.entries(backend.counters())) rows[kernel] = (rows[kernel] ?? 0) + count;
    await backend.close();
  }
}

function makeCases(): Case[] {
  const made: Case[] = [];
  const tiny = (family: (typeof TINY_FAMILIES)[number], dtype: DType, kv: KvType): void => {
    const open = (): Promise<ModelArtifact> => Promise.resolve(tinyModel(family, dtype, 17));
    made.push({ name: `${family} ${dtype} kv ${kv}`, open, kv, shape: TINY, context: 512 });
  };
  for (const [i, family] of TINY_RECURRENT.entries()) {
    for (const dtype of ["F32", "Q8_0"] as const) {
      const kv = KV_TYPES[i % 3] ?? "f16";
      const open = (): Promise<ModelArtifact> => Promise.resolve(tinyRecurrent(family, dtype, 17));
      made.push({ name: `${family} ${dtype} kv ${kv}`, open, kv, shape: TINY, context: 512, isRoomy: true });
    }
  }
  for (const [i, family] of TINY_FAMILIES.entries()) {
    tiny(family, "F32", KV_TYPES[i % 3] ?? "f16");
    tiny(family, "Q8_0", KV_TYPES[(i + 1) % 3] ?? "f16");
  }
  for (const dtype of FORMATS) for (const kv of KV_TYPES) tiny("llama", dtype, kv);
  const shared = sharedFile(MODEL);
  if (shared === undefined) console.log(`SKIPPED the shared model: needs ../shared/${MODEL}`);
  else made.push({ name: "shared model", open: () => openArtifact(shared), kv: "f16", shape: SHARED, context: 512 });
  return made;
}
