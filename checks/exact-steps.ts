/**
 * check:exact's part on programs, without the engine: random workloads in which every mechanism of a step takes part
 * (test/support/step-workload.ts), on toy models with windows, scans, soft caps, experts, int8 weights and each KV type. With
 * sabotage one mechanism after another is done wrong, and each fault must be found.
 */
import type { Backend } from "../src/backend/contract.ts";
import { KV_TYPES } from "../test/support/formats.ts";
import { Random } from "../test/support/random.ts";
import { faultyBackend } from "../test/support/step-faults.ts";
import { randomStepJobs, StepModel, tellAlone } from "../test/support/step-jobs.ts";
import { type Mechanism, type MechanismCounts, MECHANISMS, noCounts, StepMismatch } from "../test/support/step-walk.ts";
import { runStepWorkload } from "../test/support/step-workload.ts";
import type { ToyOptions } from "../test/support/toy-models.ts";

const VARIANTS: readonly ToyOptions[] = [
  {},
  { dtype: "Q8_0", window: 24 },
  { window: 5, softcap: 4 },
  { experts: true, dtype: "Q8_0" },
  { latent: true, dtype: "Q8_0" },
  { biased: true, window: 24 },
  { kvHeads: 1, window: 140 },
  { recurrent: "plain" },
  { recurrent: "delta", dtype: "Q8_0" },
  { recurrent: "selective" },
  { recurrent: "wkv" },
  { recurrent: "matrix" },
  { recurrent: "bonus" },
];
/** A fault that isn't found in so many workloads isn't found. */
const PATIENCE = 60;

/** Opens the backend for a workload: with how many threads, the caller decides. */
export type OpenBackend = (threads: number) => Promise<Backend>;

/** One workload; gives what differed, or undefined. */
export async function runStepCase(
  open: OpenBackend,
  seed: number,
  counts: MechanismCounts,
): Promise<string | undefined> {
  const random = new Random(seed);
  const threads = random.between(1, 2);
  return workload(
    random,
    () => open(1),
    () => open(threads),
    counts,
  ).catch((error: unknown) => {
    throw new Error(`seed ${seed}`, { cause: error });
  });
}

/** Plants a fault in each mechanism; gives those that were not found, and prints after how many workloads one was. */
export async function sabotageSteps(open: OpenBackend, seed: number): Promise<Mechanism[]> {
  const missed: Mechanism[] = [];
  for (const mechanism of MECHANISMS) {
    let found: number | undefined;
    for (let round = 0; round < PATIENCE && found === undefined; round++) {
      const together = async (): Promise<Backend> => faultyBackend(await open(2), mechanism);
      if (await misfires(new Random(seed + round), () => open(1), together)) found = round + 1;
    }
    console.log(`${mechanism.padEnd(30)} ${found === undefined ? "NOT FOUND" : `found in workload ${found}`}`);
    if (found === undefined) missed.push(mechanism);
  }
  return missed;
}

/** Faults of the build variant "sabotage" (native/cpu/sabotage.h), the one in a kernel aside. */
export const NATIVE_FAULTS = [
  "references",
  "moves",
  "listed",
  "masks",
  "commits",
  "order",
  "adapters",
  "borders",
] as const;
export type NativeFault = (typeof NATIVE_FAULTS)[number] | "linear";

/** The same with faults in the native executor itself, one after another. */
export async function sabotageNative(
  open: (threads: number, fault: NativeFault | "") => Promise<Backend>,
  seed: number,
): Promise<string[]> {
  const missed: string[] = [];
  for (const fault of NATIVE_FAULTS) {
    let found: number | undefined;
    for (let round = 0; round < PATIENCE && found === undefined; round++) {
      const [alone, together] = [() => open(1, ""), () => open(2, fault)];
      if (await misfires(new Random(seed + round), alone, together)) found = round + 1;
    }
    console.log(`${`native ${fault}`.padEnd(30)} ${found === undefined ? "NOT FOUND" : `found in workload ${found}`}`);
    if (found === undefined) missed.push(fault);
  }
  return missed;
}

/** A planted fault may also make a plan that is refused. */
async function misfires(random: Random, alone: Open, together: Open): Promise<boolean> {
  try {
    return (await workload(random, alone, together, noCounts())) !== undefined;
  } catch {
    return true;
  }
}

type Open = () => Promise<Backend>;

async function workload(
  random: Random,
  alone: Open,
  together: Open,
  counts: MechanismCounts,
): Promise<string | undefined> {
  const kv = KV_TYPES[random.below(KV_TYPES.length)] ?? "f16";
  const model = new StepModel(random.next(), kv, VARIANTS[random.below(VARIANTS.length)] ?? {});
  const jobs = randomStepJobs(random, random.between(1, 6));
  // One after the other: a fault of the native build holds for the process.
  const told = await withOpen(alone, (backend) => tellAlone(backend, model, jobs));
  try {
    await withOpen(together, (backend) => runStepWorkload(backend, model, jobs, told, random, counts));
    return undefined;
  } catch (error) {
    if (error instanceof StepMismatch) return error.message;
    throw error;
  }
}

async function withOpen<T>(open: Open, use: (backend: Backend) => Promise<T>): Promise<T> {
  const backend = await open();
  try {
    return await use(backend);
  } finally {
    await backend.close();
  }
}
