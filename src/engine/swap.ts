/**
 * Between the prefix tree and the tier behind it: blocks that the tree gives up are read before the next step overwrites them,
 * and what a sequence begins with comes back where that is cheaper than computing it. A request that lost its memory finds
 * its own blocks in this way: preemption by swap. Reads and writes wait in the order in which blocks changed hands, and are
 * submitted before the next step.
 */
import { BLOCK_TOKENS, type Pool } from "../backend/contract.ts";
import type { GroupMemory } from "../state/block-pool.ts";
import { type BlockBytes, HostTier } from "../state/host-tier.ts";
import type { EvictedNode, PrefixNode, PrefixTree } from "../state/prefix-tree.ts";
import { type HeldBlock, releaseBlocks } from "../state/sequence-state.ts";
import type { PrefixBacking } from "./prefix-cache.ts";

interface Write {
  readonly group: number;
  readonly block: number;
  readonly bytes: Uint8Array;
}

type Transfer = { readonly read: EvictedNode } | { readonly writes: readonly Write[] };

export interface SwapCounts {
  /** Blocks that were read out, and that came back. */
  readonly saved: number;
  readonly restored: number;
  /** Blocks that are kept now, and their bytes. */
  readonly blocks: number;
  readonly bytes: number;
}

/** What reading in a block's worth of prefix takes, and computing a token: seconds. 0: not known. */
export interface SwapCosts {
  readonly block: number;
  token: number;
}

/** Steps of fewer rows say little about what a row of a prompt costs. */
const TELLING_ROWS = 16;

export class Swap implements PrefixBacking {
  readonly #pool: Pool;
  readonly #memory: readonly GroupMemory[];
  readonly #tier: HostTier;
  readonly #costs: SwapCosts;
  #transfers: Transfer[] = [];
  readonly #pending = new Set<Promise<void>>();
  #saved = 0;
  #restored = 0;

  constructor(pool: Pool, memory: readonly GroupMemory[], bytes: number, secondsPerBlock = 0) {
    this.#pool = pool;
    this.#memory = memory;
    this.#tier = new HostTier(bytes);
    this.#costs = { block: secondsPerBlock, token: 0 };
  }

  get counts(): SwapCounts {
    const { blocks, bytes } = this.#tier;
    return { saved: this.#saved, restored: this.#restored, blocks, bytes };
  }

  /** A step of so many rows took so long. */
  measure(rows: number, ms: number): void {
    if (rows < TELLING_ROWS) return;
    const token = ms / 1000 / rows;
    this.#costs.token = this.#costs.token === 0 ? token : 0.9 * this.#costs.token + 0.1 * token;
  }

  /** The tree gives up a node: its blocks may be others' from now on. */
  evicted(node: EvictedNode): void {
    if (node.tokens.length % BLOCK_TOKENS === 0) this.#transfers.push({ read: node });
  }

  /** Brings back what the tree lacks of the first `limit` tokens, as far as it is kept and there is room. */
  restore(tree: PrefixTree, tokens: Int32Array, limit: number, salt: string): void {
    const path = tree.path(tokens, limit, salt);
    const found = this.#tier.get(salt, tokens, path.length, limit);
    const { block, token } = this.#costs;
    if (found.length === 0 || (token > 0 && block >= token * BLOCK_TOKENS)) return;
    const held: Write[] = [];
    let parent: PrefixNode = path.at(-1) ?? tree.root(salt);
    // What it goes on from can't be given up for it: held, it doesn't count as free either.
    const before = path.flatMap(({ blocks }) => this.#held(blocks));
    for (const { pool, block } of before) pool.share(block);
    for (const [i, kept] of found.entries()) {
      const writes = this.#place(kept);
      if (writes === undefined) break;
      held.push(...writes);
      const blocks = this.#memory.map((_, g) => writes.find(({ group }) => group === g)?.block ?? -1);
      const from = (path.length + i) * BLOCK_TOKENS;
      parent = tree.add(parent, tokens.subarray(from, from + BLOCK_TOKENS), blocks, () => undefined);
      parent.models |= kept.models;
      this.#restored += 1;
    }
    releaseBlocks(before);
    if (held.length > 0) this.#transfers.push({ writes: held });
    for (const { group, block: own } of held) this.#memory[group]?.pool.release(own);
  }

  /** Submits what waits, behind the steps in flight and before the next one. `failed`: what was to come back didn't. */
  flush(failed: (error: unknown) => void): void {
    for (const transfer of this.#transfers.splice(0)) {
      // What can't be read is only computed again.
      if ("read" in transfer) this.#follow(this.#read(transfer.read).catch(() => undefined));
      else for (const one of transfer.writes) this.#follow(this.#write(one).catch(failed));
    }
  }

  /** Resolves when nothing that was submitted is under way: then the pool may be closed. */
  async settled(): Promise<void> {
    await Promise.all(this.#pending);
  }

  #follow(transfer: Promise<void>): void {
    const done = transfer.finally(() => this.#pending.delete(done));
    this.#pending.add(done);
  }

  #write({ group, block, bytes }: Write): Promise<void> {
    return this.#pool.write(group, Int32Array.of(block), bytes);
  }

  #held(blocks: readonly number[]): HeldBlock[] {
    return this.#memory.flatMap(({ pool }, g) => {
      const block = blocks[g] ?? -1;
      return block < 0 ? [] : [{ pool, block }];
    });
  }

  /** A block of each group for what is kept; undefined: there is no room. */
  #place({ groups }: BlockBytes): Write[] | undefined {
    const wanted = groups.flatMap((bytes, group) => (bytes === undefined ? [] : [{ group, bytes }]));
    if (wanted.some(({ group }) => (this.#memory[group]?.pool.free ?? 0) === 0)) return undefined;
    return wanted.map(({ group, bytes }) => ({ group, bytes, block: this.#memory[group]?.pool.allocate() ?? -1 }));
  }

  async #read({ salt, tokens, blocks, models }: EvictedNode): Promise<void> {
    const groups = await Promise.all(
      blocks.map(async (block, g) => (block < 0 ? undefined : this.#pool.read(g, Int32Array.of(block)))),
    );
    this.#tier.put(salt, tokens, { groups, models });
    this.#saved += 1;
  }
}

/** What it takes to read in a block of every group, measured on a pool that nobody uses yet. */
export async function swapSeconds(pool: Pool): Promise<number> {
  const block = Int32Array.of(0);
  const bytes = await Promise.all(pool.groups.map((_, group) => pool.read(group, block)));
  const times: number[] = [];
  for (let round = 0; round < 5; round++) {
    const began = performance.now();
    await Promise.all(bytes.map((one, group) => pool.write(group, block, one)));
    times.push((performance.now() - began) / 1000);
  }
  return times.toSorted((a, b) => a - b)[2] ?? 0;
}
