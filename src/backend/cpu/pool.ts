/** A pool of blocks in native memory. */
import { MemoryError, invariant } from "../../errors.ts";
import { BLOCK_TOKENS, type KvGroup, type Pool, type StateGroup } from "../contract.ts";
import type { NativeAddon, PoolHandle, TeamHandle } from "./native.ts";
import { gib } from "./weights.ts";

export function blockBytesOf(native: NativeAddon, team: TeamHandle, group: StateGroup): number {
  const { type, kvHeads, keyDim, valueDim } = shapeOf(group);
  const latent = group.kind === "latent-kv";
  return native.kvBytes(team, type, kvHeads, keyDim, valueDim, latent) * group.states.length;
}

/** Rows are told by their having no values; a granule lies in the place of 16 rows. */
function shapeOf(group: StateGroup): Pick<KvGroup, "type" | "kvHeads" | "keyDim" | "valueDim"> {
  if (group.kind === "rows") return { type: "f32", kvHeads: 1, keyDim: group.width, valueDim: 0 };
  if (group.kind === "recurrent")
    return { type: "f32", kvHeads: 1, keyDim: Math.ceil(group.width / BLOCK_TOKENS), valueDim: 0 };
  return group;
}

export class NativePool implements Pool {
  readonly groups: readonly StateGroup[];
  readonly blocks: readonly number[];
  readonly bytes: number;
  readonly handle: PoolHandle;
  readonly #native: NativeAddon;
  readonly #blockBytes: readonly number[];

  constructor(native: NativeAddon, team: TeamHandle, groups: readonly StateGroup[], blocks: readonly number[]) {
    invariant(groups.length === blocks.length, "a pool needs a number of blocks for each group");
    this.#native = native;
    this.groups = groups;
    this.blocks = blocks;
    this.#blockBytes = groups.map((group) => blockBytesOf(native, team, group));
    const specs = groups.map((group, g) => {
      const { kind, window } = group;
      invariant(kind === "rows" || (kind === "window-kv") === (window !== undefined), `a window of a ${kind} group`);
      const { type, kvHeads, keyDim, valueDim } = shapeOf(group);
      const layers = group.states.length;
      const [latent, granules] = [kind === "latent-kv", kind === "recurrent"];
      const shape = { type, kvHeads, keyDim, valueDim, latent, window: window ?? 0, granules };
      return { ...shape, layers, blocks: numberAt(blocks, g) };
    });
    this.bytes = specs.reduce((sum, spec, g) => sum + numberAt(this.#blockBytes, g) * spec.blocks, 0);
    const available = native.availableMemory();
    if (this.bytes > available) {
      const need = gib(this.bytes);
      throw new MemoryError(`The KV pool needs ${need}, ${gib(available)} of memory is free; lower the context.`);
    }
    this.handle = native.createPool(team, specs);
  }

  async read(group: number, blocks: Int32Array): Promise<Uint8Array> {
    const bytes = new Uint8Array(numberAt(this.#blockBytes, group) * blocks.length);
    await this.#native.moveBlocks(this.handle, group, blocks, bytes, false);
    return bytes;
  }

  /** The bytes must not change until the promise is settled. */
  async write(group: number, blocks: Int32Array, bytes: Uint8Array): Promise<void> {
    await this.#native.moveBlocks(this.handle, group, blocks, bytes, true);
  }

  close(): void {
    this.#native.close(this.handle);
  }
}

function numberAt(list: readonly number[], index: number): number {
  const value = list[index];
  invariant(value !== undefined, `there is no group ${index}`);
  return value;
}
