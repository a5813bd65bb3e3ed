/**
 * One state's rows in a pool. A block holds, for each state of its group, 16 places of keys, then of values, [place,
 * kv head, column] in the group's type; q8 has codes, and behind them an f32 scale for each place and head, of keys,
 * then of values. Values are rounded to the type when they are written. A latent state holds keys alone: their first
 * columns are the values.
 */
import { halfTable, numberToHalf } from "../../artifact/half.ts";
import { invariant } from "../../errors.ts";
import { BLOCK_TOKENS, type KvGroup, type KvType, type StateGroup } from "../contract.ts";
import { quantizeHead } from "./quantize.ts";

const ELEMENT_BYTES = { f32: 4, f16: 2, q8: 1 } as const satisfies Record<KvType, number>;
const SCALE_BYTES = 4;

/** How the places of a group lie in memory: rows are the keys of one head. */
export function shapeOf(group: StateGroup): StateShape {
  invariant(group.kind !== "recurrent", "granules have no places");
  if (group.kind !== "rows") return { ...group, latent: group.kind === "latent-kv" };
  const shape = { kvHeads: 1, keyDim: group.width, valueDim: 0, type: "f32", latent: false } as const;
  return group.window === undefined ? shape : { ...shape, window: group.window };
}

export type StateShape = Pick<KvGroup, "kvHeads" | "keyDim" | "valueDim" | "type" | "window"> & {
  readonly latent: boolean;
};

/** Columns of the values that are held beside the keys. */
function heldValues({ valueDim, latent }: StateShape): number {
  return latent ? 0 : valueDim;
}

/** Bytes of one state in a block. All sizes are multiples of 4: a block has 16 places. */
export function stateBytes(shape: StateShape): number {
  const { kvHeads, keyDim, type } = shape;
  const elements = BLOCK_TOKENS * kvHeads * (keyDim + heldValues(shape));
  return elements * ELEMENT_BYTES[type] + (type === "q8" ? 2 * BLOCK_TOKENS * kvHeads * SCALE_BYTES : 0);
}

/** One recurrent state's granules in a pool: a block holds, for each state of its group, `width` f32 values. */
export class GranuleStore {
  readonly group: number;
  readonly width: number;
  readonly #memory: Memory;
  readonly #states: number;
  readonly #layer: number;

  constructor(memory: Memory, group: number, width: number, states: number, layer: number) {
    this.group = group;
    this.width = width;
    this.#memory = memory;
    this.#states = states;
    this.#layer = layer;
  }

  /** The values themselves, to be read or written. */
  at(granule: number): Float32Array {
    const start = (granule * this.#states + this.#layer) * this.width;
    return this.#memory.f32.subarray(start, start + this.width);
  }
}

/** Zeroed bytes, seen as each type. */
export class Memory {
  readonly bytes: Uint8Array;
  readonly f32: Float32Array;
  readonly u16: Uint16Array;
  readonly i8: Int8Array;
  readonly halves = halfTable();

  constructor(size: number) {
    const buffer = new ArrayBuffer(size);
    this.bytes = new Uint8Array(buffer);
    this.f32 = new Float32Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.i8 = new Int8Array(buffer);
  }
}

/** The heads of all places of a block's keys, or of its values: columns of a head, and where codes and scales begin. */
interface Part {
  readonly columns: number;
  readonly at: number;
  readonly scalesAt: number;
}

export class StateStore {
  readonly spec: StateShape;
  readonly group: number;
  readonly #memory: Memory;
  readonly #blockBytes: number;
  readonly #keys: Part;
  readonly #values: Part;

  /** `offset`: where the state begins in each block. */
  constructor(memory: Memory, spec: StateShape, group: number, blockBytes: number, offset: number) {
    const { kvHeads, keyDim, type } = spec;
    const valueDim = heldValues(spec);
    this.spec = spec;
    this.group = group;
    this.#memory = memory;
    this.#blockBytes = blockBytes;
    const heads = BLOCK_TOKENS * kvHeads;
    const valuesAt = offset + heads * keyDim * ELEMENT_BYTES[type];
    const scalesAt = valuesAt + heads * valueDim * ELEMENT_BYTES[type];
    this.#keys = { columns: keyDim, at: offset, scalesAt };
    this.#values = { columns: valueDim, at: valuesAt, scalesAt: scalesAt + heads * SCALE_BYTES };
  }

  /**
   * Rounds and writes the keys and the values of one place: `[kvHeads · keyDim]` and `[kvHeads · valueDim]`, which a latent
   * state doesn't read.
   */
  write(block: number, offset: number, keys: Float32Array, values: Float32Array): void {
    const { kvHeads, keyDim } = this.spec;
    const valueDim = this.#values.columns;
    for (let head = 0; head < kvHeads; head++) {
      const index = offset * kvHeads + head;
      this.#put(this.#keys, block, index, keys, head * keyDim);
      this.#put(this.#values, block, index, values, head * valueDim);
    }
  }

  /** Reads the keys and the values of one place into arrays, from the given columns on. */
  read(block: number, offset: number, keys: Float64Array, keyAt: number, values: Float64Array, valueAt: number): void {
    const { kvHeads, keyDim, valueDim, latent } = this.spec;
    for (let head = 0; head < kvHeads; head++) {
      const index = offset * kvHeads + head;
      this.#get(this.#keys, block, index, keys, keyAt + head * keyDim);
      if (latent) values.set(keys.subarray(keyAt, keyAt + valueDim), valueAt);
      else this.#get(this.#values, block, index, values, valueAt + head * valueDim);
    }
  }

  /** Bits of one place to another. */
  move(fromBlock: number, from: number, toBlock: number, to: number): void {
    const { kvHeads, type } = this.spec;
    const { bytes } = this.#memory;
    const move = (at: number, size: number): void => {
      const source = fromBlock * this.#blockBytes + at + from * size;
      bytes.copyWithin(toBlock * this.#blockBytes + at + to * size, source, source + size);
    };
    for (const { columns, at, scalesAt } of [this.#keys, this.#values]) {
      move(at, kvHeads * columns * ELEMENT_BYTES[type]);
      if (type === "q8") move(scalesAt, kvHeads * SCALE_BYTES);
    }
  }

  #put({ columns, at, scalesAt }: Part, block: number, index: number, x: Float32Array, from: number): void {
    const { type } = this.spec;
    const { f32, u16, i8 } = this.#memory;
    const base = block * this.#blockBytes;
    const start = base + at + index * columns * ELEMENT_BYTES[type];
    if (type === "q8") {
      f32[(base + scalesAt) / SCALE_BYTES + index] = quantizeHead(x, from, columns, i8, start);
      return;
    }
    for (let i = 0; i < columns; i++) {
      const value = x[from + i] ?? 0;
      if (type === "f32") f32[start / 4 + i] = value;
      else u16[start / 2 + i] = numberToHalf(value);
    }
  }

  #get({ columns, at, scalesAt }: Part, block: number, index: number, out: Float64Array, to: number): void {
    const { type } = this.spec;
    const { f32, u16, i8, halves } = this.#memory;
    const base = block * this.#blockBytes;
    const start = base + at + index * columns * ELEMENT_BYTES[type];
    const scale = type === "q8" ? (f32[(base + scalesAt) / SCALE_BYTES + index] ?? 0) : 1;
    for (let i = 0; i < columns; i++) {
      if (type === "f32") out[to + i] = f32[start / 4 + i] ?? 0;
      else if (type === "f16") out[to + i] = halves[u16[start / 2 + i] ?? 0] ?? 0;
      else out[to + i] = (i8[start + i] ?? 0) * scale;
    }
  }
}
