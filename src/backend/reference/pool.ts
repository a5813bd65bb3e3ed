/**
 * The reference's pool: for each state group one array of blocks, read and written as bytes, copied and moved by plans.
 * Programs find their states in it by name. What lies inside a block is state-store.ts's business; the order of effects
 * over all programs is timeline.ts's.
 */
import { MemoryError, invariant } from "../../errors.ts";
import { BLOCK_TOKENS, type Pool, type StateGroup, type StepPlan } from "../contract.ts";
import { findState } from "../groups.ts";
import { GranuleStore, Memory, shapeOf, StateStore, stateBytes } from "./state-store.ts";
import { Timeline } from "./timeline.ts";

export function groupBlockBytes(group: StateGroup): number {
  const bytes = group.kind === "recurrent" ? 4 * group.width : stateBytes(shapeOf(group));
  return bytes * group.states.length;
}

export class ReferencePool implements Pool {
  readonly groups: readonly StateGroup[];
  readonly blocks: readonly number[];
  readonly bytes: number;
  readonly timeline = new Timeline();
  readonly #blockBytes: readonly number[];
  #memory: readonly Memory[];

  constructor(groups: readonly StateGroup[], blocks: readonly number[]) {
    this.groups = groups;
    this.blocks = blocks;
    this.#blockBytes = groups.map(groupBlockBytes);
    const sizes = this.#blockBytes.map((bytes, g) => bytes * (blocks[g] ?? 0));
    this.bytes = sizes.reduce((sum, size) => sum + size, 0);
    this.#memory = sizes.map(allocateMemory);
  }

  /** Where a state lies. */
  store(name: string): StateStore {
    const { group, layer } = findState(this.groups, name);
    const of = this.groups[group];
    invariant(of !== undefined, `there is no group ${group}`);
    const shape = shapeOf(of);
    return new StateStore(this.#memoryOf(group), shape, group, this.#blockBytes[group] ?? 0, layer * stateBytes(shape));
  }

  /** Where a recurrent state lies. */
  granules(name: string): GranuleStore {
    const { group, layer } = findState(this.groups, name);
    const of = this.groups[group];
    invariant(of?.kind === "recurrent", `the state "${name}" isn't recurrent`);
    return new GranuleStore(this.#memoryOf(group), group, of.width, of.states.length, layer);
  }

  /** A plan's moves, then its copies. */
  move(plan: StepPlan): void {
    for (let i = 0; i < plan.moveCount; i++) {
      const [group = -1, fromBlock = -1, from = -1, toBlock = -1, to = -1] = plan.moves.subarray(5 * i, 5 * i + 5);
      const { states } = this.groups[group] ?? { states: [] };
      for (const state of states) this.store(state).move(fromBlock, from, toBlock, to);
    }
    for (let i = 0; i < plan.copyCount; i++) {
      const [group = -1, from = -1, to = -1] = plan.copies.subarray(3 * i, 3 * i + 3);
      this.#block(group, to).set(this.#block(group, from));
    }
  }

  read(group: number, blocks: Int32Array): Promise<Uint8Array> {
    const ids = blocks.slice();
    return this.timeline.enqueue(() => {
      const size = this.#blockBytes[group] ?? 0;
      const bytes = new Uint8Array(ids.length * size);
      for (const [i, id] of ids.entries()) bytes.set(this.#block(group, id), i * size);
      return bytes;
    });
  }

  write(group: number, blocks: Int32Array, bytes: Uint8Array): Promise<void> {
    const ids = blocks.slice();
    const own = bytes.slice();
    return this.timeline.enqueue(() => {
      const size = this.#blockBytes[group] ?? 0;
      const expected = ids.length * size;
      invariant(own.length === expected, `${ids.length} blocks have ${expected} bytes, not ${own.length}`);
      const targets = Array.from(ids, (id) => this.#block(group, id));
      for (const [i, target] of targets.entries()) target.set(own.subarray(i * size, (i + 1) * size));
    });
  }

  close(): void {
    this.#memory = [];
  }

  #memoryOf(group: number): Memory {
    const memory = this.#memory[group];
    invariant(memory !== undefined, `there is no group ${group}, or the pool is closed`);
    return memory;
  }

  #block(group: number, block: number): Uint8Array {
    const size = this.#blockBytes[group] ?? 0;
    invariant(block >= 0 && block < (this.blocks[group] ?? 0), `there is no block ${block} in group ${group}`);
    return this.#memoryOf(group).bytes.subarray(block * size, (block + 1) * size);
  }
}

/** The block of a slot and the place in it. */
export function placeOf(
  plan: StepPlan,
  group: number,
  sequence: number,
  slot: number,
): { readonly block: number; readonly offset: number } {
  const table = plan.blockTables[group];
  const index = Math.floor(slot / BLOCK_TOKENS);
  const block = table !== undefined && index < table.stride ? table.ids[sequence * table.stride + index] : undefined;
  invariant(
    block !== undefined && block >= 0,
    `sequence ${sequence} of the step has no block for slot ${slot} in group ${group}`,
  );
  return { block, offset: slot % BLOCK_TOKENS };
}

function allocateMemory(size: number): Memory {
  try {
    return new Memory(size);
  } catch (cause) {
    throw new MemoryError(`can't allocate ${size} bytes for the KV cache`, { cause });
  }
}
