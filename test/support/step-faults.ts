/**
 * A backend that does one mechanism of a step wrong, so that a check can show that it would find it: the plan, a mask, a
 * result or a pool's bytes are changed on the way. Faults inside of kernels are a build of their own.
 */
import { StepError } from "../../src/errors.ts";
import type {
  Backend,
  Pool,
  Program,
  SamplerOpening,
  StateGroup,
  StepHandle,
  StepPlan,
  StepResult,
} from "../../src/backend/contract.ts";
import { copyPlan } from "../../src/backend/reference/plan-copy.ts";
import type { Mechanism } from "./step-walk.ts";

type Writable = { -readonly [K in keyof StepPlan]: StepPlan[K] };

export function faultyBackend(backend: Backend, mechanism: Mechanism): Backend {
  let programs = 0;
  const pools = new Map<Pool, Pool>();
  return {
    name: backend.name,
    profile: (kv) => backend.profile(kv),
    lower: (...given) => backend.lower(...given),
    upload: (...given) => backend.upload(...given),
    uploadAdapter: (...given) => backend.uploadAdapter(...given),
    blockBytes: (group) => backend.blockBytes(group),
    allocate: async (groups, blocks) => {
      const pool = await backend.allocate(groups, blocks);
      const faulty = mechanism === "transfers" ? forgetful(pool) : pool;
      pools.set(faulty, pool);
      return faulty;
    },
    compile: async (lowered, weights, pool, options) => {
      const own = pools.get(pool) ?? pool;
      return faultyProgram(await backend.compile(lowered, weights, own, options), mechanism, programs++);
    },
    close: () => backend.close(),
  };
}

/** What is written loses its first bytes. */
function forgetful(pool: Pool): Pool {
  return {
    groups: pool.groups,
    blocks: pool.blocks,
    bytes: pool.bytes,
    read: (group, blocks) => pool.read(group, blocks),
    write: (group, blocks, bytes) =>
      pool.write(
        group,
        blocks,
        bytes.map((byte, i) => (i < 64 ? 0 : byte)),
      ),
    close: () => pool.close(),
  };
}

function faultyProgram(program: Program, mechanism: Mechanism, index: number): Program {
  let last: { readonly step: StepHandle; ended: boolean; result?: StepResult } | undefined;
  const filled = new Set<number>();
  return {
    lowered: program.lowered,
    pool: program.pool,
    close: () => program.close(),
    setAdapter: async (place, adapter) => {
      // What a place held first stays there.
      const skipped = mechanism === "adapters moved between steps" && filled.has(place);
      if (!skipped) await program.setAdapter(place, adapter);
      filled.add(place);
    },
    run: (plan) => {
      const behind = last?.ended === false ? last : undefined;
      const step = program.run(changePlan(copyPlan(plan), mechanism, index, program.pool.groups));
      const here: NonNullable<typeof last> = { step, ended: false };
      last = here;
      const result = step.result
        .catch((error: unknown) => hideFailure(error, plan, mechanism))
        .then((found) => {
          here.ended = true;
          here.result = found;
          // As if both steps in flight had one array for their results.
          const other = mechanism === "rows behind a step in flight" ? behind?.result : undefined;
          return other === undefined ? found : { ...found, outputs: overwrite(found.outputs, other.outputs) };
        });
      result.catch(() => (here.ended = true));
      return {
        result,
        mask: (sample, mask) => step.mask(sample, changeMask(mask, mechanism)),
        cancel: () => {
          step.cancel();
          // A workload that has found a fault closes its pool meanwhile.
          if (mechanism === "cancelled steps") damage(program.pool, plan).catch(() => undefined);
        },
      };
    },
  };
}

function changePlan(plan: Writable, mechanism: Mechanism, program: number, groups: readonly StateGroup[]): StepPlan {
  const last = plan.tokenCount - 1;
  if (mechanism === "prefill rows" && plan.tokenCount > 2 && plan.listedCount === 0)
    plan.positions[last] = (plan.positions[last] ?? 0) + 1;
  if (mechanism === "references") plan.tokens.forEach((token, i) => (plan.tokens[i] = Math.max(0, token)));
  // The first ancestor of the last row is the row itself.
  if (mechanism === "tree rows" && plan.listedCount > 0)
    plan.listed[plan.listStarts[last] ?? 0] = plan.listed[plan.listedCount - 1] ?? 0;
  if (mechanism === "counted rows") plan.countedCount = 0;
  if (mechanism === "moved slots" && plan.moveCount > 0) plan.moveCount -= 1;
  if (mechanism === "commits" && plan.commitCount > 0) plan.commitCount -= 1;
  if (mechanism === "slots opened in mid-answer") plan.opens = plan.opens.map(withoutAnswer);
  if (mechanism === "forks" && plan.copyCount > 0) plan.copyCount -= 1;
  // One sequence's adapter for all that have one.
  if (mechanism === "rows with an adapter") {
    const one = plan.adapters.find((place) => place >= 0) ?? -1;
    plan.adapters.forEach((place, i) => (plan.adapters[i] = Math.min(place, one)));
  }
  if (mechanism === "rows behind a border") for (const granules of granulesOf(plan, groups)) swapFirst(granules);
  const [table] = plan.blockTables;
  if (mechanism === "rows of a second program" && program === 1 && table !== undefined) swapFirst(table.ids);
  return plan;
}

/** Recurrent groups' tables from the entry on that the first sequence goes on from. */
function granulesOf({ borders, blockTables, sequenceCount }: StepPlan, groups: readonly StateGroup[]): Int32Array[] {
  const first = (borders[0] ?? 0) - 1;
  if (sequenceCount === 0 || first < 0) return [];
  return blockTables.flatMap(({ ids }, g) => (groups[g]?.kind === "recurrent" ? [ids.subarray(first)] : []));
}

function swapFirst(ids: Int32Array): void {
  ids[0] = ids[0] === 0 ? 1 : 0;
}

function withoutAnswer(opening: SamplerOpening): SamplerOpening {
  return { ...opening, answer: new Int32Array(0) };
}

function changeMask(mask: Uint32Array | "drop", mechanism: Mechanism): Uint32Array | "drop" {
  if (mask === "drop") return mechanism === "dropped masks" ? Uint32Array.of(1, 0) : mask;
  return mechanism === "late masks" ? mask.map(() => 0xffff_ffff) : mask;
}

/** An unrun step as if it had run. */
function hideFailure(error: unknown, plan: StepPlan, mechanism: Mechanism): StepResult {
  if (mechanism !== "steps unrun" || !(error instanceof StepError) || error.reason !== "unrun") throw error;
  const ids = new Int32Array(plan.sampleCount);
  const none = new Float32Array(0);
  const outputs = plan.outputs.map(() => none);
  const samples = { sampleIds: ids, sampleLogprobs: none, topIds: ids, topLogprobs: none };
  return { ...samples, logprobs: none, logprobTopIds: ids, logprobTopLogprobs: none, outputs };
}

function overwrite(own: readonly Float32Array[], other: readonly Float32Array[]): Float32Array[] {
  return own.map((values, i) => {
    const changed = values.slice();
    changed.set(other[i]?.subarray(0, values.length) ?? []);
    return changed;
  });
}

/** A cancelled step takes its first sequence's first block with it. */
async function damage(pool: Pool, plan: StepPlan): Promise<void> {
  const block = plan.blockTables[0]?.ids[0] ?? -1;
  if (block < 0) return;
  const blocks = Int32Array.of(block);
  await pool.write(0, blocks, (await pool.read(0, blocks)).fill(0));
}
