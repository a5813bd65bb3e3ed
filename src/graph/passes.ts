/**
 * The neutral passes: graph → graph of the same function, for every backend. Linears that read one value become
 * one wider linear and slices (q/k/v, gate/up: a row is read, and quantised, once), scales fold into their
 * source, work on rows that no output needs is dropped (after the last attention only wanted rows go on), and nodes that nothing reads disappear. What depends on a backend (residual adds, quantisation, in-place
 * slices) is its lowering's business.
 */
import type { DType } from "../artifact/dtype.ts";
import { GraphBuilder } from "./builder.ts";
import type { Graph, GraphNode, NodeOf, Value, WeightRef } from "./graph.ts";
import { GraphError } from "./graph-error.ts";
import { OP_TRAITS } from "./traits.ts";

/** The storage format of a tensor of the file. */
export type DTypeOf = (tensor: string) => DType;

type Linear = NodeOf<"linear">;

/** All neutral passes in their order. */
export function optimize(graph: Graph, dtypeOf: DTypeOf): Graph {
  return narrowRows(removeDead(foldScales(fuseLinears(graph, dtypeOf))));
}

/** `node` with other inputs. */
export function withInputs(node: GraphNode, rename: (value: Value) => Value): GraphNode {
  // The number of inputs stays, so each member of the union keeps its tuple.
  return { ...node, inputs: node.inputs.map(rename) } as unknown as GraphNode;
}

/** Copies a graph through `visit`, which emits what stands for a node (given its inputs by their new names). */
function rewrite(
  graph: Graph,
  visit: (node: GraphNode, value: Value, g: GraphBuilder, renamed: Value[]) => Value,
): Graph {
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
  for (const [name, value] of graph.outputs) g.output(name, at(renamed, value));
  return g.build(graph);
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
  // A router's rows, and a gate's single one, would break up a shared expert's pair of gate and up.
  const routers = new Set(graph.nodes.flatMap((node) => (node.op === "route" ? node.inputs : [])));
  graph.nodes.forEach((node, value) => {
    if (node.op !== "linear" || routers.has(value) || graph.widths[value] === 1) return;
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

/**
 * After every linear what an adapter may add to it. Backends do this to lowered graphs that are compiled for adapters:
 * a linear may read rounded rows, what is added never does.
 */
export function withAdapters(graph: Graph): Graph {
  const built: GraphNode[] = [];
  return rewrite(graph, (node, _value, g) => {
    const push = (one: GraphNode): Value => {
      built.push(one);
      return g.push(one);
    };
    const y = push(node);
    if (node.op !== "linear") return y;
    const source = at(built, node.inputs[0]);
    const x = source.op === "quantize" ? source.inputs[0] : node.inputs[0];
    const bias = node.bias === undefined ? {} : { bias: node.bias };
    return push({ op: "lora", inputs: [y, x], weight: node.weight, ...bias });
  });
}

/**
 * Moves `rows` towards the inputs: a value that only outputs need is computed for their rows alone, for each output by
 * itself. In a transformer that begins at the last attention and the residual beside it, so a prefill skips the last
 * layer's MLP. Every output ends with the rows that are wanted of it, and its nodes stand together.
 */
export function narrowRows(graph: Graph): Graph {
  // Values that are needed for all tokens: what ops read that look at other rows, and what those come from.
  const full = new Set<Value>();
  for (let value = graph.nodes.length - 1; value >= 0; value--) {
    const node = at(graph.nodes, value);
    if (!OP_TRAITS[node.op].rowLocal) full.add(value);
    if (full.has(value)) for (const input of node.inputs) full.add(input);
  }
  const g = new GraphBuilder(graph.name);
  for (const state of graph.states) g.state(state);
  const renamed = new Map<Value, Value>();
  const fullName = (value: Value): Value => {
    const name = renamed.get(value);
    if (name === undefined) throw new GraphError(`a pass lost value %${value}`);
    return name;
  };
  graph.nodes.forEach((node, value) => {
    if (full.has(value))
      renamed.set(value, node.op === "rows" ? fullName(node.inputs[0]) : g.push(withInputs(node, fullName)));
  });
  for (const [output, result] of graph.outputs) {
    const wanted = reachable(graph, result, full);
    const late = new Map<Value, Value>();
    const narrow = (value: Value): Value => {
      const name = late.get(value) ?? g.rows(fullName(value), output);
      late.set(value, name);
      return name;
    };
    graph.nodes.forEach((node, value) => {
      if (!wanted.has(value)) return;
      late.set(value, node.op === "rows" ? narrow(node.inputs[0]) : g.push(withInputs(node, narrow)));
    });
    g.output(output, narrow(result));
  }
  return g.build(graph);
}

/** `from` and the values that it is computed from, as far as `end`, which is left out. */
function reachable(graph: Graph, from: Value, end: ReadonlySet<Value>): Set<Value> {
  const found = new Set([from].filter((value) => !end.has(value)));
  for (let value = from; value >= 0; value--) {
    if (!found.has(value)) continue;
    for (const input of at(graph.nodes, value).inputs) if (!end.has(input)) found.add(input);
  }
  return found;
}

/** scale(scale(x)) is one scale, scale(embed) is an embed with a scale, and a factor of 1 is nothing. */
export function foldScales(graph: Graph): Graph {
  const uses = useCounts(graph);
  const built: GraphNode[] = [];
  return rewrite(graph, (node, value, g) => {
    const emit = (out: GraphNode): Value => {
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

/** How many nodes and outputs read each value. */
export function useCounts(graph: Graph): number[] {
  const counts = graph.nodes.map(() => 0);
  const readers: readonly Value[] = [...graph.nodes.flatMap(({ inputs }) => inputs), ...graph.outputs.values()];
  for (const value of readers) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}

/** Drops nodes that change no state and whose output nothing reads. */
export function removeDead(graph: Graph): Graph {
  const live = new Set<Value>(graph.outputs.values());
  for (let value = graph.nodes.length - 1; value >= 0; value--) {
    const node = at(graph.nodes, value);
    if (OP_TRAITS[node.op].writes) live.add(value);
    if (live.has(value)) for (const input of node.inputs) live.add(input);
  }
  const gone = -1;
  return rewrite(graph, (node, value, g) => (live.has(value) ? g.push(node) : gone));
}
