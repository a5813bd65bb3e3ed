/**
 * Attention over the paged cache: K and V of the step are rounded and written first, then every row reads all its
 * keys from the cache, in the order of their places. The softmax is over the whole row at once; tiles are other
 * backends' business.
 */
import type { AttendOptions } from "../../graph/graph.ts";
import type { StepPlan } from "../contract.ts";
import type { Rows } from "./ops.ts";
import { placeOf } from "./pool.ts";
import { sequencesOf, sightOf, type Sight } from "./sight.ts";
import type { StateStore } from "./state-store.ts";

function asF32(x: Rows): Float32Array {
  return x instanceof Float32Array ? x : Float32Array.from(x);
}

const NO_VALUES = new Float32Array(0);

/** `values`: absent where the state is latent. */
export function kvWrite(plan: StepPlan, store: StateStore, keys: Rows, values: Rows = NO_VALUES): void {
  const { kvHeads, keyDim, valueDim } = store.spec;
  const [k, v] = [asF32(keys), asF32(values)];
  const [keyWidth, valueWidth] = [kvHeads * keyDim, kvHeads * valueDim];
  for (const { sequence, begin, end } of sequencesOf(plan)) {
    for (let row = begin; row < end; row++) {
      const { block, offset } = placeOf(plan, store.group, sequence, plan.slots[row] ?? -1);
      const key = k.subarray(row * keyWidth, (row + 1) * keyWidth);
      store.write(block, offset, key, v.subarray(row * valueWidth, (row + 1) * valueWidth));
    }
  }
}

/**
 * softmax(softcap(scale · q kᵀ)) v for each row and head: q `[T, heads · keyDim]` → `[T, heads · valueDim]`. `sinks`: the
 * values of the options' weight.
 */
export function attend(
  plan: StepPlan,
  store: StateStore,
  q: Rows,
  options: AttendOptions,
  sinks: Float32Array | undefined,
  out: Float32Array,
): void {
  const limits = { window: store.spec.window ?? Infinity, chunk: options.chunk, ahead: options.ahead };
  for (const { sequence, begin, end } of sequencesOf(plan)) {
    const sights = Array.from({ length: end - begin }, (_, i) => sightOf(plan, begin + i, limits));
    const cache = readCache(
      plan,
      store,
      sequence,
      sights.map(({ slots }) => slots),
    );
    for (const [i, sight] of sights.entries()) attendRow(store, cache, sight, q, begin + i, options, sinks, out);
  }
}

/** Keys and values that the rows of one sequence see: `[slot − first, kv head, column]`. */
interface Cache {
  readonly first: number;
  readonly keys: Float64Array;
  readonly values: Float64Array;
}

function readCache(plan: StepPlan, store: StateStore, sequence: number, sights: readonly Int32Array[]): Cache {
  const { kvHeads, keyDim, valueDim } = store.spec;
  let first = Infinity;
  let last = -1;
  for (const sight of sights) {
    for (const slot of sight) {
      first = Math.min(first, slot);
      last = Math.max(last, slot);
    }
  }
  const count = Math.max(0, last + 1 - first);
  const keys = new Float64Array(count * kvHeads * keyDim);
  const values = new Float64Array(count * kvHeads * valueDim);
  const read = new Uint8Array(count);
  for (const sight of sights) {
    for (const slot of sight) {
      const at = slot - first;
      if (read[at] === 1) continue;
      read[at] = 1;
      const { block, offset } = placeOf(plan, store.group, sequence, slot);
      store.read(block, offset, keys, at * kvHeads * keyDim, values, at * kvHeads * valueDim);
    }
  }
  return { first, keys, values };
}

function attendRow(
  store: StateStore,
  { first, keys, values }: Cache,
  { slots: sight, distance }: Sight,
  q: Rows,
  row: number,
  { heads, scale, softcap, slopes, distances }: AttendOptions,
  sinks: Float32Array | undefined,
  out: Float32Array,
): void {
  const { kvHeads, keyDim, valueDim } = store.spec;
  const factor = Math.fround(scale);
  const perHead = (distances?.length ?? heads) / heads;
  const reach = (perHead - 1) / 2;
  const scores = new Float64Array(sight.length);
  const sum = new Float64Array(valueDim);
  for (let head = 0; head < heads; head++) {
    const kvHead = Math.floor((head * kvHeads) / heads);
    const query = (row * heads + head) * keyDim;
    let most = -Infinity;
    for (let i = 0; i < sight.length; i++) {
      const key = (((sight[i] as number) - first) * kvHeads + kvHead) * keyDim;
      let dot = 0;
      for (let c = 0; c < keyDim; c++) dot += (q[query + c] as number) * (keys[key + c] as number);
      const near = head * perHead + reach + Math.min(Math.max(distance + i, -reach), reach);
      const raw = dot * factor - (slopes?.[head] ?? 0) * Math.abs(distance + i) + (distances?.[near] ?? 0);
      const score = softcap === undefined ? raw : softcap * Math.tanh(raw / softcap);
      scores[i] = score;
      if (score > most) most = score;
    }
    sum.fill(0);
    let total = 0;
    for (let i = 0; i < sight.length; i++) {
      const weight = Math.exp((scores[i] as number) - most);
      total += weight;
      const value = (((sight[i] as number) - first) * kvHeads + kvHead) * valueDim;
      for (let c = 0; c < valueDim; c++) sum[c] = (sum[c] as number) + weight * (values[value + c] as number);
    }
    const sink = sinks?.[head];
    if (sink !== undefined) total += Math.exp(sink - most);
    const at = (row * heads + head) * valueDim;
    for (let c = 0; c < valueDim; c++) out[at + c] = (sum[c] ?? 0) / total;
  }
}
