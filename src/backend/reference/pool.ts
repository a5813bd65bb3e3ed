/**
 * The reference's KV pool: for each state group one array of blocks. A block holds, for each state of the group,
 * 16 positions of keys, then of values, [position, kv head, column] in the pool's type; q8 has codes, and behind
 * them an f32 scale for each position and head, of keys, then of values.
 */
import { halfTable, numberToHalf } from "../../artifact/half.ts";
import { MemoryError, invariant } from "../../errors.ts";
import type { Graph, StateSpec } from "../../graph/graph.ts";
import { BLOCK_TOKENS, type KvType, type Pool, type StateGroup } from "../contract.ts";
import { quantizeHead } from "./quantize.ts";

const ELEMENT_BYTES = { f32: 4, f16: 2, q8: 1 } as const satisfies Record<KvType, number>;
const SCALE_BYTES = 4;

function stateBytes(state: StateSpec, kv: KvType): number {
  const elements = BLOCK_TOKENS * state.kvHeads * (state.keyDim + state.valueDim);
  return elements * ELEMENT_BYTES[kv] + (kv === "q8" ? 2 * BLOCK_TOKENS * state.kvHeads * SCALE_BYTES : 0);
}

export function groupBlockBytes(graph: Graph, group: StateGroup, kv: KvType): number {
  return group.states.reduce((sum, index) => sum + stateBytes(stateAt(graph, index), kv), 0);
}

function stateAt(graph: Graph, index: number): StateSpec {
  const state = graph.states[index];
  invariant(state !== undefined, `the graph has no state ${index}`);
  return state;
}

/** One state's place in a pool: writes and reads rows of one head, rounded to the pool's type. */
export interface StateStore {
  readonly group: number;
  readonly spec: StateSpec;
  /** Writes the keys and the values of one position: `[kvHeads · keyDim]` and `[kvHeads · valueDim]` from the offsets. */
  write(block: number, slot: number, keys: Float32Array, keyAt: number, values: Float32Array, valueAt: number): void;
  /** Reads the key and the value of one position and head into arrays at offsets. */
  read(
    block: number,
    slot: number,
    head: number,
    key: Float64Array,
    keyAt: number,
    value: Float64Array,
    valueAt: number,
  ): void;
}

interface Memory {
  readonly bytes: Uint8Array;
  readonly f32: Float32Array;
  readonly u16: Uint16Array;
  readonly i8: Int8Array;
}

export class ReferencePool implements Pool {
  readonly kv: KvType;
  readonly groups: readonly StateGroup[];
  readonly blocks: readonly number[];
  readonly bytes: number;
  readonly #blockBytes: readonly number[];
  readonly #stores = new Map<number, StateStore>();
  #memory: readonly Memory[];

  constructor(graph: Graph, groups: readonly StateGroup[], blocks: readonly number[], kv: KvType) {
    this.kv = kv;
    this.groups = groups;
    this.blocks = blocks;
    this.#blockBytes = groups.map((group) => groupBlockBytes(graph, group, kv));
    const sizes = this.#blockBytes.map((bytes, g) => bytes * (blocks[g] ?? 0));
    this.bytes = sizes.reduce((sum, size) => sum + size, 0);
    this.#memory = sizes.map(allocateMemory);
    const halves = halfTable();
    groups.forEach((group, g) => {
      const memory = this.#memory[g];
      invariant(memory !== undefined, "a group without memory");
      let offset = 0;
      for (const index of group.states) {
        const spec = stateAt(graph, index);
        this.#stores.set(index, stateStore(spec, kv, memory, g, this.#blockBytes[g] ?? 0, offset, halves));
        offset += stateBytes(spec, kv);
      }
    });
  }

  /** Where a state of the graph lives. */
  store(state: number): StateStore {
    const store = this.#stores.get(state);
    invariant(store !== undefined, `no group of the pool has state ${state}`);
    return store;
  }

  copy(group: number, from: number, to: number): void {
    this.#block(group, to).set(this.#block(group, from));
  }

  read(group: number, block: number): Uint8Array {
    return this.#block(group, block).slice();
  }

  write(group: number, block: number, bytes: Uint8Array): void {
    const target = this.#block(group, block);
    invariant(
      bytes.byteLength === target.byteLength,
      `a block has ${target.byteLength} bytes, not ${bytes.byteLength}`,
    );
    target.set(bytes);
  }

  close(): void {
    this.#memory = [];
    this.#stores.clear();
  }

  #block(group: number, block: number): Uint8Array {
    const size = this.#blockBytes[group] ?? 0;
    const memory = this.#memory[group];
    const inside = memory !== undefined && block >= 0 && block < (this.blocks[group] ?? 0);
    invariant(inside, `there is no block ${block} in group ${group}`);
    return memory.bytes.subarray(block * size, (block + 1) * size);
  }
}

function allocateMemory(size: number): Memory {
  try {
    const buffer = new ArrayBuffer(size);
    const views = { f32: new Float32Array(buffer), u16: new Uint16Array(buffer), i8: new Int8Array(buffer) };
    return { bytes: new Uint8Array(buffer), ...views };
  } catch (cause) {
    throw new MemoryError(`can't allocate ${size} bytes for the KV cache`, { cause });
  }
}

/** All sizes are multiples of 4 bytes: a block has 16 positions. */
function stateStore(
  spec: StateSpec,
  kv: KvType,
  memory: Memory,
  group: number,
  blockBytes: number,
  stateOffset: number,
  halves: Float32Array,
): StateStore {
  const { kvHeads, keyDim, valueDim } = spec;
  const bytesEach = ELEMENT_BYTES[kv];
  const valuesAt = stateOffset + BLOCK_TOKENS * kvHeads * keyDim * bytesEach;
  const keyScalesAt = valuesAt + BLOCK_TOKENS * kvHeads * valueDim * bytesEach;
  const valueScalesAt = keyScalesAt + BLOCK_TOKENS * kvHeads * SCALE_BYTES;

  const put = (x: Float32Array, from: number, dim: number, at: number, scaleAt: number): void => {
    if (kv === "q8") {
      memory.f32[scaleAt / SCALE_BYTES] = quantizeHead(x, from, dim, memory.i8, at);
      return;
    }
    for (let i = 0; i < dim; i++) {
      const value = x[from + i] ?? 0;
      if (kv === "f32") memory.f32[at / 4 + i] = value;
      else memory.u16[at / 2 + i] = numberToHalf(value);
    }
  };
  const get = (out: Float64Array, to: number, dim: number, at: number, scaleAt: number): void => {
    const scale = kv === "q8" ? (memory.f32[scaleAt / SCALE_BYTES] ?? 0) : 1;
    for (let i = 0; i < dim; i++) {
      if (kv === "f32") out[to + i] = memory.f32[at / 4 + i] ?? 0;
      else if (kv === "f16") out[to + i] = halves[memory.u16[at / 2 + i] ?? 0] ?? 0;
      else out[to + i] = (memory.i8[at + i] ?? 0) * scale;
    }
  };
  const row = (block: number, slot: number, head: number): { base: number; index: number } => ({
    base: block * blockBytes,
    index: slot * kvHeads + head,
  });
  return {
    group,
    spec,
    write: (block, slot, keys, keyAt, values, valueAt) => {
      for (let head = 0; head < kvHeads; head++) {
        const { base, index } = row(block, slot, head);
        const scale = index * SCALE_BYTES + base;
        put(keys, keyAt + head * keyDim, keyDim, base + stateOffset + index * keyDim * bytesEach, keyScalesAt + scale);
        put(
          values,
          valueAt + head * valueDim,
          valueDim,
          base + valuesAt + index * valueDim * bytesEach,
          valueScalesAt + scale,
        );
      }
    },
    read: (block, slot, head, key, keyAt, value, valueAt) => {
      const { base, index } = row(block, slot, head);
      const scale = index * SCALE_BYTES + base;
      get(key, keyAt, keyDim, base + stateOffset + index * keyDim * bytesEach, keyScalesAt + scale);
      get(value, valueAt, valueDim, base + valuesAt + index * valueDim * bytesEach, valueScalesAt + scale);
    },
  };
}
