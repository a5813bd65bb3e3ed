/**
 * How a KV budget in bytes becomes blocks of each state group: groups share it in the proportion in which one
 * sequence of full length uses them.
 */
import { type Backend, BLOCK_TOKENS, type StateGroup } from "../backend/contract.ts";
import { MemoryError } from "../errors.ts";
import { blocksNeeded } from "../state/sequence-state.ts";

export interface MemoryPlan {
  /** Blocks of each group. */
  readonly blocks: readonly number[];
  readonly bytes: number;
  /** Positions that fit, over all sequences together. */
  readonly tokens: number;
}

const GIB = 2 ** 30;
/** Recurrent state that the prefix tree may keep, beside what running sequences need: granules for each sequence. */
const SNAPSHOTS_PER_SEQUENCE = 5;

/** The budget where the user gives none: four sequences of full length, at most 1 GiB, at least one sequence. */
export function planMemory(
  backend: Backend,
  groups: readonly StateGroup[],
  options: {
    readonly context: number;
    /** Positions of a sequence that are planned beyond what is confirmed, at most. */
    readonly ahead: number;
    readonly kvBytes?: number | undefined;
  },
): MemoryPlan {
  const { context, ahead } = options;
  const blockBytes = groups.map((group) => backend.blockBytes(group));
  const perSequence = groups.map(
    (group) => blocksNeeded(group, 0, context, 1, ahead) + (group.kind === "recurrent" ? SNAPSHOTS_PER_SEQUENCE : 0),
  );
  const sequenceBytes = perSequence.reduce((sum, count, g) => sum + count * (blockBytes[g] ?? 0), 0);
  const budget = options.kvBytes ?? Math.max(sequenceBytes, Math.min(4 * sequenceBytes, GIB));
  const share = budget / sequenceBytes;
  const blocks = perSequence.map((count) => Math.floor(count * share + 1e-9));
  if (blocks.some((count) => count < 1)) {
    throw new MemoryError(
      `the KV cache has a budget of ${mib(budget)}; one sequence of ${context} positions takes ${mib(sequenceBytes)}. ` +
        "Raise kvBytes, lower the context, or set kv to q8",
    );
  }
  const tokens = Math.min(
    ...blocks.map((count, g) => {
      const { kind, window } = groups[g] ?? {};
      return window === undefined && kind !== "recurrent" ? count * BLOCK_TOKENS : Infinity;
    }),
  );
  return {
    blocks,
    bytes: blocks.reduce((sum, count, g) => sum + count * (blockBytes[g] ?? 0), 0),
    tokens: Number.isFinite(tokens) ? tokens : Math.floor(share * context),
  };
}

function mib(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
