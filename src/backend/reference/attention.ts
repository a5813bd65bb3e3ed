/**
 * Attention over the paged cache: K and V of the step are rounded and written first, then every row reads all its
 * keys from the cache. The softmax is over the whole row at once; tiles are other backends' business.
 */
import { invariant } from "../../errors.ts";
import { BLOCK_TOKENS, type StepPlan } from "../contract.ts";
import type { Rows } from "./ops.ts";
import type { StateStore } from "./pool.ts";

function blockOf(plan: StepPlan, group: number, sequence: number, position: number): number {
  const table = plan.blockTables[group];
  invariant(table !== undefined, `the plan has no block table for group ${group}`);
  const block = table.ids[sequence * table.stride + Math.floor(position / BLOCK_TOKENS)] ?? -1;
  invariant(block >= 0, `sequence ${sequence} has no block for position ${position} in group ${group}`);
  return block;
}

/** Calls `visit` with each sequence's index and its rows `begin … end − 1`. */
function forSequences(plan: StepPlan, visit: (sequence: number, begin: number, end: number) => void): void {
  for (let s = 0; s < plan.sequenceCount; s++) visit(s, plan.queryStarts[s] ?? 0, plan.queryStarts[s + 1] ?? 0);
}

function asF32(x: Rows): Float32Array {
  return x instanceof Float32Array ? x : Float32Array.from(x);
}

export function kvWrite(plan: StepPlan, store: StateStore, keys: Rows, values: Rows): void {
  const { kvHeads, keyDim, valueDim } = store.spec;
  const [k, v] = [asF32(keys), asF32(values)];
  forSequences(plan, (sequence, begin, end) => {
    for (let row = begin; row < end; row++) {
      const position = plan.positions[row] ?? 0;
      const block = blockOf(plan, store.group, sequence, position);
      store.write(block, position % BLOCK_TOKENS, k, row * kvHeads * keyDim, v, row * kvHeads * valueDim);
    }
  });
}

export interface AttendOptions {
  readonly heads: number;
  readonly scale: number;
  readonly softcap?: number;
}

/** softmax(softcap(scale · q kᵀ)) v for each row and head: q `[T, heads · keyDim]` → `[T, heads · valueDim]`. */
export function attend(plan: StepPlan, store: StateStore, q: Rows, options: AttendOptions, out: Float32Array): void {
  const { kvHeads } = store.spec;
  forSequences(plan, (sequence, begin, end) => {
    if (begin < end)
      for (let head = 0; head < kvHeads; head++) attendHead(plan, store, q, options, sequence, begin, end, head, out);
  });
}

/** One sequence's rows and the query heads that share one kv head. */
function attendHead(
  plan: StepPlan,
  store: StateStore,
  q: Rows,
  options: AttendOptions,
  sequence: number,
  begin: number,
  end: number,
  kvHead: number,
  out: Float32Array,
): void {
  const { kvHeads, keyDim, valueDim, window = Infinity } = store.spec;
  const { heads, softcap } = options;
  const scale = Math.fround(options.scale);
  const firstQuery = plan.positions[begin] ?? 0;
  const start = Math.max(0, firstQuery - window + 1);
  const count = (plan.positions[end - 1] ?? 0) + 1 - start;
  const keys = new Float64Array(count * keyDim);
  const values = new Float64Array(count * valueDim);
  for (let i = 0; i < count; i++) {
    const position = start + i;
    const block = blockOf(plan, store.group, sequence, position);
    store.read(block, position % BLOCK_TOKENS, kvHead, keys, i * keyDim, values, i * valueDim);
  }

  const shared = heads / kvHeads;
  const scores = new Float64Array(count);
  const sum = new Float64Array(valueDim);
  for (let row = begin; row < end; row++) {
    const position = plan.positions[row] ?? 0;
    const from = Math.max(0, position - window + 1) - start;
    const to = position + 1 - start;
    for (let head = kvHead * shared; head < (kvHead + 1) * shared; head++) {
      const query = (row * heads + head) * keyDim;
      let most = -Infinity;
      for (let i = from; i < to; i++) {
        let dot = 0;
        for (let c = 0; c < keyDim; c++) dot += (q[query + c] as number) * (keys[i * keyDim + c] as number);
        const score = softcap === undefined ? dot * scale : softcap * Math.tanh((dot * scale) / softcap);
        scores[i] = score;
        if (score > most) most = score;
      }
      sum.fill(0);
      let total = 0;
      for (let i = from; i < to; i++) {
        const weight = Math.exp((scores[i] as number) - most);
        total += weight;
        for (let c = 0; c < valueDim; c++) sum[c] = (sum[c] as number) + weight * (values[i * valueDim + c] as number);
      }
      const at = (row * heads + head) * valueDim;
      for (let c = 0; c < valueDim; c++) out[at + c] = (sum[c] ?? 0) / total;
    }
  }
}
