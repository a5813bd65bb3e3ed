/**
 * Where a layer's matrices read rows whose columns can be scaled without changing what the model computes: the factors go
 * into the matrices' columns, their inverses into what makes the rows (a norm's weights, the rows of the matrix before). Read
 * off the graph, so no family has to say it. AWQ, SmoothQuant and their kin choose the factors.
 */
import type { ModelArtifact, Tensor } from "../artifact/artifact.ts";
import { tensorValues } from "../artifact/tensor-values.ts";
import { invariant, RequestError } from "../errors.ts";
import type { Graph, GraphNode, Value, WeightRef } from "../graph/graph.ts";
import { ColumnStatistics } from "./column-statistics.ts";
import { LayerWalk } from "./layer-walk.ts";
import type { PassContext } from "./pass.ts";
import type { Section, Site } from "./sections.ts";
import { keepJson } from "./store.ts";
import { withTensors } from "./tensors.ts";

/** Matrices that read one value, and what makes it. */
export interface Fold {
  readonly input: Value;
  readonly sites: readonly Site[];
  /** Columns of the value, and how many factors there are: columns that share one lie as `factorOf` says. */
  readonly width: number;
  readonly factors: number;
  readonly factorOf: (column: number) => number;
  /** What is divided: a vector (less an offset that readers add), or the rows of a matrix with its bias. */
  readonly sources: readonly { readonly tensor: string; readonly offset: number }[];
}

/** What a pass chooses for a fold, beside what it wants to remember of that. */
export interface ChosenFactors {
  readonly factors: readonly number[];
  readonly [key: string]: number | readonly number[];
}

export interface FoldOptions<Chosen extends ChosenFactors> {
  /** For messages. */
  readonly pass: string;
  /** Rows of each value that are kept to try roundings on. Default: none. */
  readonly sampleRows?: number;
  /** Which folds are looked at. Default: all. */
  readonly wants?: (fold: Fold, graph: Graph) => boolean;
  /** `artifact`: the model with the factors that were chosen so far. Kept: not asked again after a kill. */
  readonly choose: (artifact: ModelArtifact, fold: Fold, seen: ColumnStatistics) => Promise<Chosen>;
}

/** Walks through the layers, chooses factors by the rows that matrices read, and folds them in. `found`: one a fold. */
export async function foldLayers<Chosen extends ChosenFactors>(
  artifact: ModelArtifact,
  { backend, calibration, store, progress, signal }: PassContext,
  { pass, sampleRows = 0, wants = () => true, choose }: FoldOptions<Chosen>,
): Promise<{ readonly artifact: ModelArtifact; readonly found: readonly Chosen[] }> {
  if (calibration === undefined) throw new RequestError(`${pass} needs text to calibrate with`);
  const walk = await LayerWalk.begin(artifact, { backend, calibration, signal });
  const { graph, layers } = walk.sections;
  const tensors = new Map<string, Tensor>();
  const found: Chosen[] = [];
  const share = 1 / calibration.sequences.length;
  for (let section = walk.section; section !== undefined; section = walk.section) {
    const { index } = section;
    const folds = foldsOf(graph, section).filter((fold) => wants(fold, graph));
    const statistics = new Map(
      folds.map(({ input, width }) => [input, new ColumnStatistics(width, sampleRows)] as const),
    );
    walk.accept(await walk.observe([...statistics.keys()], (value, rows) => statistics.get(value)?.add(rows, share)));
    for (const [i, fold] of folds.entries()) {
      const seen = statistics.get(fold.input);
      invariant(seen !== undefined, `%${fold.input} was observed`);
      const changed: ModelArtifact = { ...artifact, tensors: new Map([...artifact.tensors, ...tensors]) };
      const chosen = await keepJson(store, `${index} ${i}`, () => choose(changed, fold, seen));
      found.push(chosen);
      for (const [name, tensor] of folded(changed, fold, Float32Array.from(chosen.factors))) tensors.set(name, tensor);
    }
    progress({ done: index + 1, total: layers.length, unit: "steps" });
  }
  return { artifact: withTensors(artifact, (tensor) => tensors.get(tensor.name) ?? tensor), found };
}

/** The mean of what was found for each fold; 0 where there was none. */
export function meanOf<Chosen>(found: readonly Chosen[], of: (one: Chosen) => number): number {
  return found.reduce((sum, one) => sum + of(one), 0) / Math.max(1, found.length);
}

export function foldsOf(graph: Graph, section: Section): Fold[] {
  const readers = new Map<Value, Value[]>();
  graph.nodes.forEach((node, value) => {
    for (const input of node.inputs) readers.set(input, [...(readers.get(input) ?? []), value]);
  });
  const outputs = new Set(graph.outputs.values());
  const inputs = [...new Set(section.sites.map(({ input }) => input))];
  return inputs.flatMap((input) => {
    const sites = section.sites.filter((site) => site.input === input);
    const alone = readers.get(input)?.length === sites.length && !outputs.has(input);
    const node = graph.nodes[input];
    if (!alone || node === undefined) return [];
    const width = graph.widths[input] ?? 0;
    const common = { input, sites, width };
    const same = { factors: width, factorOf: (column: number) => column };
    switch (node.op) {
      case "rmsNorm":
      case "layerNorm": {
        const sources = [vectorOf(node.weight, node.weightOffset), ...("bias" in node ? [vectorOf(node.bias, 0)] : [])];
        const known = sources.filter((source) => source !== undefined);
        const isWhole = node.weight?.shape[0] === width && known.length > 0;
        return isWhole ? [{ ...common, ...same, sources: known }] : [];
      }
      case "gate": {
        // activation(gate) · up: what scales up scales the product.
        const sources = rowsOf(graph, readers, node.inputs[1], input);
        const isPlain = node.activation !== "clampedSwiglu" && (graph.widths[node.inputs[0]] ?? 0) === width;
        return sources !== undefined && isPlain ? [{ ...common, ...same, sources }] : [];
      }
      case "attention": {
        const sources = rowsOf(graph, readers, node.inputs[2], input);
        const state = graph.states[node.state];
        if (sources === undefined || state === undefined || !("valueDim" in state)) return [];
        const { kvHeads, valueDim } = state;
        const shared = node.heads / kvHeads;
        const factorOf = (column: number): number =>
          Math.floor(Math.floor(column / valueDim) / shared) * valueDim + (column % valueDim);
        return [{ ...common, factors: kvHeads * valueDim, factorOf, sources }];
      }
      default:
        return [];
    }
  });
}

/** The matrix whose rows make the value, which nobody but `reader` reads. */
function rowsOf(
  graph: Graph,
  readers: ReadonlyMap<Value, readonly Value[]>,
  value: Value,
  reader: Value,
): Fold["sources"] | undefined {
  const node: GraphNode | undefined = graph.nodes[value];
  const only = readers.get(value);
  if (node?.op !== "linear" || only?.length !== 1 || only[0] !== reader) return undefined;
  const sources = [vectorOf(node.weight, 0), vectorOf(node.bias, 0)].filter((source) => source !== undefined);
  return node.weight.parts.length === 1 && node.weight.parts[0]?.transpose !== true ? sources : undefined;
}

function vectorOf(weight: WeightRef | undefined, offset: number): { tensor: string; offset: number } | undefined {
  const [part, ...more] = weight?.parts ?? [];
  if (part === undefined || more.length > 0 || part.rowStart !== undefined) return undefined;
  return { tensor: part.tensor, offset };
}

/** The fold's tensors with factors (`[factors]`) in the matrices' columns and their inverses in what makes the rows. */
export function folded(artifact: ModelArtifact, fold: Fold, factors: Float32Array): Map<string, Tensor> {
  const changed = new Map<string, Tensor>();
  const find = (name: string): Tensor => {
    const tensor = changed.get(name) ?? artifact.tensors.get(name);
    invariant(tensor !== undefined, `there is no tensor ${name}`);
    return tensor;
  };
  const columns = Float32Array.from({ length: fold.width }, (_, i) => factors[fold.factorOf(i)] ?? 1);
  for (const { tensor } of fold.sites) {
    changed.set(
      tensor,
      mapped(find(tensor), (values) => {
        for (let i = 0; i < values.length; i++) values[i] = (values[i] ?? 0) * (columns[i % columns.length] ?? 1);
      }),
    );
  }
  for (const { tensor, offset } of fold.sources) {
    const base = find(tensor);
    const rowWidth = base.shape.length > 1 ? (base.shape.at(-1) ?? 1) : 1;
    changed.set(
      tensor,
      mapped(base, (values, first) => {
        for (let i = 0; i < values.length; i++) {
          const factor = factors[first + Math.floor(i / rowWidth)] ?? 1;
          values[i] = ((values[i] ?? 0) + offset) / factor - offset;
        }
      }),
    );
  }
  return changed;
}

/** The tensor as F32, computed when it is read, some whole rows at a time. `change` gets the first row's index. */
export function mapped(base: Tensor, change: (values: Float32Array, firstRow: number) => void): Tensor {
  const columns = base.shape.length > 1 ? (base.shape.at(-1) ?? 1) : 1;
  const rowBytes = 4 * columns;
  const byteLength = base.shape.reduce((product, n) => product * n, 4);
  return {
    ...base,
    dtype: "F32",
    offset: 0,
    byteLength,
    source: {
      name: base.source.name,
      size: byteLength,
      async read(offset, length) {
        const first = Math.floor(offset / rowBytes);
        const rows = Math.ceil((offset + length) / rowBytes) - first;
        const values = await tensorValues(base, first * columns, rows * columns);
        change(values, first);
        const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
        return bytes.subarray(offset - first * rowBytes, offset - first * rowBytes + length);
      },
      close: async () => undefined,
    },
  };
}
