/** Adapters in the reference: the pairs' values as f32, and what they add to the rows of a linear. */
import { rankOf, type Adapter } from "../../artifact/adapter.ts";
import { tensorValues } from "../../artifact/tensor-values.ts";
import type { Graph, Value } from "../../graph/graph.ts";
import { adapterSites, type AdapterRun } from "../adapter-sites.ts";
import type { AdapterWeights, Lowered } from "../contract.ts";
import { linear, type Rows } from "./ops.ts";

interface Pair {
  readonly rank: number;
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly scale: number;
  readonly gain: Float32Array | undefined;
}

interface Site {
  readonly pairs: readonly Pair[];
  readonly runs: readonly AdapterRun[];
}

export class ReferenceAdapter implements AdapterWeights {
  readonly lowered: Lowered;
  readonly bytes: number;
  readonly rank: number;
  /** By `lora` node. */
  readonly sites: ReadonlyMap<Value, Site>;

  private constructor(lowered: Lowered, rank: number, sites: ReadonlyMap<Value, Site>) {
    this.lowered = lowered;
    this.rank = rank;
    this.sites = sites;
    const pairs = [...sites.values()].flatMap((site) => site.pairs);
    this.bytes = pairs.reduce((sum, { a, b, gain }) => sum + 4 * (a.length + b.length + (gain?.length ?? 0)), 0);
  }

  /** `graph`: the lowered one with its `lora` nodes. */
  static async load(lowered: Lowered, graph: Graph, adapter: Adapter): Promise<ReferenceAdapter> {
    const sites = new Map<Value, Site>();
    for (const { value, pairs, runs } of adapterSites(graph, lowered.source, adapter)) {
      const loaded: Pair[] = [];
      for (const { a, b, scale, gain } of pairs)
        loaded.push({ rank: a.shape[0] ?? 0, a: await tensorValues(a), b: await tensorValues(b), scale, gain });
      sites.set(value, { pairs: loaded, runs });
    }
    return new ReferenceAdapter(lowered, rankOf(adapter), sites);
  }

  close(): void {
    // Memory is the collector's: steps in flight may still read it.
  }
}

/** Adds to one row of a linear's output `y` [n] what the adapter makes of its input `x` [k]. */
export function addLora(site: Site, x: Rows, bias: Float32Array | undefined, y: Float32Array): void {
  const inner = site.pairs.map(({ a, rank, scale }) => {
    const out = new Float32Array(rank);
    linear(x, { values: a, offset: 0, n: rank, k: x.length }, undefined, out);
    return out.map((value) => value * Math.fround(scale));
  });
  for (const { first, rows, from, pair } of site.runs) {
    const { b, rank, gain } = site.pairs[pair] as Pair;
    const added = new Float32Array(rows);
    linear(inner[pair] as Float32Array, { values: b, offset: from * rank, n: rows, k: rank }, undefined, added);
    for (let i = 0; i < rows; i++) {
      const sum = (y[first + i] ?? 0) + (added[i] ?? 0);
      const fixed = bias?.[first + i] ?? 0;
      y[first + i] = gain === undefined ? sum : (sum - fixed) * (gain[from + i] ?? 1) + fixed;
    }
  }
}
