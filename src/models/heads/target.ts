/**
 * What drafting heads need of the model that they draft for: its embeddings, its output matrix with what stands around it,
 * and vectors of its layers as rows of states. All of it is read off the model's graph, so that no family has to say it.
 */
import { UnsupportedError } from "../../errors.ts";
import type { GraphBuilder } from "../../graph/builder.ts";
import type { Graph, GraphNode, StateSpec, Value } from "../../graph/graph.ts";
import { withInputs } from "../../graph/passes.ts";
import { withLayerOutputs } from "../layer-outputs.ts";

/** The state in which a model leaves a value of its rows: "hidden" what goes into its output matrix, "hidden:N" what comes out of layer N. */
export function featureState(name: string, width: number): StateSpec {
  return { name: `feature ${name}`, kind: "rows", width };
}

/** The graph, which writes these values of its rows into states beside all that it does. */
export function withFeatures(graph: Graph, names: readonly string[]): Graph {
  const { outputs } = withLayerOutputs(graph);
  const nodes: GraphNode[] = [...graph.nodes];
  const widths = [...graph.widths];
  const states = [...graph.states];
  for (const name of names) {
    const value = outputs.get(name);
    if (value === undefined)
      throw new UnsupportedError(`${graph.name}: there is no value "${name}" for a head to read`);
    states.push(featureState(name, graph.widths[value] ?? 0));
    nodes.push({ op: "writeRows", inputs: [value], state: states.length - 1 });
    widths.push(0);
  }
  return { ...graph, nodes, widths, states };
}

/** The target's own embeddings of the tokens. */
export function embedAsTarget(g: GraphBuilder, target: Graph): Value {
  const embed = target.nodes.find((node) => node.op === "embed");
  if (embed === undefined) throw new UnsupportedError(`${target.name}: there are no embeddings for a head to read`);
  return g.push(embed);
}

/** Columns of the vector that the target's output matrix reads. */
export function hiddenWidth(target: Graph): number {
  const hidden = target.outputs.get("hidden");
  if (hidden === undefined) throw new UnsupportedError(`${target.name}: there is no vector for a head to follow`);
  return target.widths[hidden] ?? 0;
}

/**
 * The target's logits of another vector: everything between its own vector and its logits, over the first `vocabulary`
 * tokens where that is given.
 */
export function logitsAsTarget(g: GraphBuilder, target: Graph, x: Value, vocabulary?: number): Value {
  const logits = target.outputs.get("logits");
  const hidden = target.outputs.get("hidden");
  if (logits === undefined || hidden === undefined)
    throw new UnsupportedError(`${target.name}: it has no output matrix for a head to share`);
  const renamed = new Map<Value, Value>([[hidden, x]]);
  const copy = (value: Value): Value => {
    const known = renamed.get(value);
    if (known !== undefined) return known;
    const node = target.nodes[value];
    if (node === undefined || node.inputs.length === 0)
      throw new UnsupportedError(`${target.name}: its logits don't come from its last vector alone`);
    const copied = g.push(
      vocabulary === undefined ? withInputs(node, copy) : firstRows(withInputs(node, copy), vocabulary),
    );
    renamed.set(value, copied);
    return copied;
  };
  return copy(logits);
}

/** Of a linear, the first rows. */
function firstRows(node: GraphNode, count: number): GraphNode {
  if (node.op !== "linear") return node;
  const [part, ...others] = node.weight.parts;
  if (part === undefined || others.length > 0 || node.bias !== undefined || count > (node.weight.shape[0] ?? 0))
    throw new UnsupportedError("a head of fewer tokens needs an output matrix in one piece, without a bias");
  const rows = { ...part, rowStart: part.rowStart ?? 0, rowCount: count };
  const weight = {
    name: `${node.weight.name} (first ${count})`,
    shape: [count, ...node.weight.shape.slice(1)],
    parts: [rows],
  };
  return { ...node, weight };
}
