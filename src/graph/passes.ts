/**
 * The neutral passes: graph → graph of the same function, for every backend. Linears that read one value become
 * one wider linear and slices (q/k/v, gate/up: a row is read, and quantised, once), scales fold into their
 * source, work on rows that no output needs is dropped (after the last attention only the step's output rows go
 * on), and nodes that nothing reads disappear. What depends on a backend (residual adds, quantisation, in-place
 * slices) is its lowering's business.
 */
import type { DType } from "../artifact/dtype.ts";
import { GraphBuilder } from "./builder.ts";
import type { Graph, Node, Value, WeightRef } from "./graph.ts";
import { GraphError } from "./shapes.ts";

/** The storage format of a tensor of the file. */
export type DTypeOf = (tensor: string) => DType;

type Linear = Extract<Node, { readonly op: "linear" }>;

/** All neutral passes in their order. */
export function optimize(graph: Graph, dtypeOf: DTypeOf): Graph {
  return removeDead(narrowRows(foldScales(fuseLinears(graph, dtypeOf))));
}

/** `node` with other inputs. */
export function withInputs(node: Node, rename: (value: Value) => Value): Node {
  // The number of inputs stays, so each member of the union keeps its tuple.
  return { ...node, inputs: node.inputs.map(rename) } as unknown as Node;
}

/** Copies a graph through `visit`, which emits what stands for a node (given its inputs by their new names). */
function rewrite(graph: Graph, visit: (node: Node, value: Value, g: GraphBuilder, renamed: Value[]) => Value): Graph {
  const g = new GraphBuilder(graph.name);
  for (const state of graph.states) g.state(state);
  const renamed: Value[] = [];
  graph.nodes.forEach((node, value) => {
    renamed.push(
      visit(
        withInputs(node, (v) => at(renamed, v)),
        value,
        g,
        renamed,
      ),
    );
  });
  return g.finish(at(renamed, graph.logits), { contextLength: graph.contextLength });
}

function at<T>(list: readonly T[], index: number): T {
  const found = list[index];
  if (found === undefined) throw new GraphError(`a pass lost value %${index}`);
  return found;
}

/** Rows of several weights one after another. Equal names stay equal, so two fusions of the same parts are one. */
export function concatRows(weights: readonly WeightRef[]): WeightRef {
  const columns = at(weights, 0).shape.slice(1);
  const rows = weights.reduce((sum, weight) => sum + at(weight.shape, 0), 0);
  const name = weights.map((weight) => weight.name).join(" + ");
  return { name, shape: [rows, ...columns], parts: weights.flatMap((weight) => weight.parts) };
}

/** One linear in place of all that read the same value, have weights of one format, and all or none a bias. */
export function fuseLinears(graph: Graph, dtypeOf: DTypeOf): Graph {
  const groups = new Map<string, Value[]>();
  graph.nodes.forEach((node, value) => {
    if (node.op !== "linear") return;
    const formats = new Set(node.weight.parts.map((part) => dtypeOf(part.tensor)));
    const transposed = node.weight.parts.some((part) => part.transpose === true);
    const key = [node.inputs[0], ...formats, node.bias === undefined, formats.size > 1 ? value : "", transposed].join(
      " ",
    );
    groups.set(key, [...(groups.get(key) ?? []), value]);
  });
  const groupOf = new Map<Value, readonly Value[]>();
  for (const group of groups.values()) if (group.length > 1) for (const value of group) groupOf.set(value, group);

  const fused = new Map<readonly Value[], Value>();
  return rewrite(graph, (node, value, g) => {
    const group = groupOf.get(value);
    if (group === undefined || node.op !== "linear") return g.push(node);
    const linears = group.map((v) => at(graph.nodes, v) as Linear);
    let whole = fused.get(group);
    if (whole === undefined) {
      const biases = linears.flatMap((linear) => linear.bias ?? []);
      const weight = concatRows(linears.map((linear) => linear.weight));
      whole = g.linear(node.inputs[0], weight, biases.length === 0 ? undefined : concatRows(biases));
      fused.set(group, whole);
    }
    const before = group.slice(0, group.indexOf(value));
    const start = before.reduce((sum, v) => sum + at(graph.widths, v), 0);
    return g.slice(whole, start, at(graph.widths, value));
  });
}

/** Ops whose output row depends on the same row of their inputs and on nothing else. */
const ROW_LOCAL: ReadonlySet<Node["op"]> = new Set<Node["op"]>([
  "linear",
  "rmsNorm",
  "layerNorm",
  "gate",
  "activation",
  "add",
  "scale",
  "softcap",
  "slice",
  "moe",
]);

/**
 * Moves `rows` towards the inputs: a value that only outputs need is computed for their rows alone. In a
 * transformer it ends at the last attention and the residual beside it, so a prefill skips the last layer's MLP.
 */
export function narrowRows(graph: Graph): Graph {
  // Values that are needed for all tokens: what ops read that look at other rows, and what those come from.
  const full = new Set<Value>();
  for (let value = graph.nodes.length - 1; value >= 0; value--) {
    const node = at(graph.nodes, value);
    if (full.has(value) || (!ROW_LOCAL.has(node.op) && node.op !== "rows"))
      for (const input of node.inputs) full.add(input);
  }
  // Row-local values outside of `full` are read only on the way to a `rows` node, and are computed after it.
  const late = (value: Value): boolean => !full.has(value) && ROW_LOCAL.has(at(graph.nodes, value).op);
  const narrow = new Map<Value, Value>();
  return rewrite(graph, (node, value, g, renamed) => {
    const narrowed = (old: Value): Value => {
      if (late(old)) return at(renamed, old);
      const source = at(graph.nodes, old);
      if (source.op === "rows") return at(renamed, old);
      let rows = narrow.get(old);
      if (rows === undefined) {
        rows = g.rows(at(renamed, old));
        narrow.set(old, rows);
      }
      return rows;
    };
    const original = at(graph.nodes, value);
    if (original.op === "rows") return narrowed(original.inputs[0]);
    if (late(value)) return g.push(withInputs(original, narrowed));
    return g.push(node);
  });
}

/** scale(scale(x)) is one scale, scale(embed) is an embed with a scale, and a factor of 1 is nothing. */
export function foldScales(graph: Graph): Graph {
  const uses = useCounts(graph);
  const built: Node[] = [];
  return rewrite(graph, (node, value, g) => {
    const emit = (out: Node): Value => {
      const index = g.push(out);
      built[index] = out;
      return index;
    };
    if (node.op !== "scale") return emit(node);
    if (node.factor === 1) return node.inputs[0];
    const original = at(graph.nodes, value) as typeof node;
    const source = at(built, node.inputs[0]);
    const single = uses[original.inputs[0]] === 1;
    if (single && source.op === "embed") return emit({ ...source, scale: (source.scale ?? 1) * node.factor });
    if (single && source.op === "scale") return emit({ ...source, factor: source.factor * node.factor });
    return emit(node);
  });
}

/** How many nodes read each value. */
export function useCounts(graph: Graph): number[] {
  const counts = graph.nodes.map(() => 0);
  for (const node of graph.nodes) for (const input of node.inputs) counts[input] = (counts[input] ?? 0) + 1;
  return counts;
}

/** Drops nodes whose output nothing reads. */
export function removeDead(graph: Graph): Graph {
  const live = new Set<Value>([graph.logits]);
  for (let value = graph.nodes.length - 1; value >= 0; value--) {
    const node = at(graph.nodes, value);
    if (node.op === "kvWrite") live.add(value);
    if (live.has(value)) for (const input of node.inputs) live.add(input);
  }
  const gone = -1;
  return rewrite(graph, (node, value, g) => (live.has(value) ? g.push(node) : gone));
}
