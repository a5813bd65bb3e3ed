/**
 * Where an adapter changes a graph: for each `lora` node the low-rank pairs whose tensors its weight is made of, and
 * which columns of its output each of them adds to. Fused linears read several tensors, and pairs know the tensors by
 * their own names. Checks all shapes; what the pairs' values are is each backend's to load.
 */
import type { Adapter, LowRank } from "../artifact/adapter.ts";
import type { ModelArtifact, Tensor } from "../artifact/artifact.ts";
import { ArtifactError, UnsupportedError, invariant } from "../errors.ts";
import type { Graph, Value, WeightPart, WeightRef } from "../graph/graph.ts";

export interface AdapterSite {
  /** The `lora` node. */
  readonly value: Value;
  readonly pairs: readonly LowRank[];
  readonly runs: readonly AdapterRun[];
}

/** The columns `first … first + rows − 1` of a linear's output: rows `from …` of the B of a pair. */
export interface AdapterRun {
  readonly first: number;
  readonly rows: number;
  readonly from: number;
  /** Index among the site's pairs. */
  readonly pair: number;
}

/**
 * The sites of a graph that `withAdapters` made.
 * @throws UnsupportedError where a pair changes a tensor that no linear reads, ArtifactError where a shape doesn't fit
 */
export function adapterSites(graph: Graph, source: ModelArtifact, adapter: Adapter): AdapterSite[] {
  const used = new Set<string>();
  const sites = graph.nodes.flatMap((node, value) => {
    if (node.op !== "lora") return [];
    const { pairs, runs } = siteOf(node.weight, source, adapter);
    for (const { tensor } of node.weight.parts) used.add(tensor);
    return runs.length === 0 ? [] : [{ value, pairs, runs }];
  });
  for (const name of adapter.pairs.keys()) {
    if (used.has(name)) continue;
    throw new UnsupportedError(
      `${adapter.name}: it changes ${name}, which is no linear layer of ${graph.name}: only those can be adapted.`,
    );
  }
  return sites;
}

function siteOf(weight: WeightRef, source: ModelArtifact, adapter: Adapter): Omit<AdapterSite, "value"> {
  const pairs: LowRank[] = [];
  const runs: AdapterRun[] = [];
  let first = 0;
  for (const part of weight.parts) {
    const tensor = source.tensors.get(part.tensor);
    invariant(tensor !== undefined, `${source.name} has no tensor "${part.tensor}"`);
    const all = rowsOf(tensor, part);
    const from = part.rowStart ?? 0;
    const rows = part.rowCount ?? all - from;
    const pair = adapter.pairs.get(part.tensor);
    if (pair !== undefined) {
      checkPair(adapter, part.tensor, pair, all, weight.shape[1] ?? 0);
      if (!pairs.includes(pair)) pairs.push(pair);
      runs.push({ first, rows, from, pair: pairs.indexOf(pair) });
    }
    first += rows;
  }
  return { pairs, runs };
}

function rowsOf(tensor: Tensor, { transpose = false }: WeightPart): number {
  const [inner = 0, ...outer] = tensor.shape.toReversed();
  return transpose ? inner : outer.reduce((product, n) => product * n, 1);
}

function checkPair({ name }: Adapter, tensor: string, { a, b, gain }: LowRank, rows: number, columns: number): void {
  const [rank = 0, k] = a.shape;
  const [n, inner] = b.shape;
  const fits = rank > 0 && a.shape.length === 2 && b.shape.length === 2 && k === columns && n === rows;
  if (!fits || inner !== rank || (gain !== undefined && gain.length !== rows)) {
    throw new ArtifactError(
      `${name}: A [${a.shape.join(", ")}] and B [${b.shape.join(", ")}] don't fit the base's ${tensor} ` +
        `[${rows}, ${columns}]; was the adapter made for another model?`,
    );
  }
}
