/**
 * Where attention's values come from and go to: the rows that make them and the matrix that reads what heads give. Between
 * the two everything is linear in a value, so each head's columns can be turned, scaled or left out on both sides. Layers
 * where something stands between (a norm, a gate, values shared with another layer) are not listed.
 */
import type { ModelArtifact, Tensor } from "../artifact/artifact.ts";
import type { Graph, GraphNode, NodeOf, Value, WeightRef } from "../graph/graph.ts";

/** Consecutive rows of a stored matrix, and the values of their bias. */
export interface RowRange {
  readonly tensor: Tensor;
  readonly bias: Tensor | undefined;
  readonly start: number;
  readonly count: number;
}

export interface ValueHeads {
  readonly heads: number;
  readonly kvHeads: number;
  /** Columns of a head's value. */
  readonly width: number;
  /** kvHeads · width rows. */
  readonly values: RowRange;
  /** `[N, heads · width]` */
  readonly output: Tensor;
  /** The attention node. */
  readonly attention: Value;
}

export function valueHeads(artifact: ModelArtifact, graph: Graph): ValueHeads[] {
  return graph.nodes.flatMap((node, attention) => {
    if (node.op !== "attention") return [];
    const state = graph.states[node.state];
    const values = rowsThatMake(artifact, graph, node.inputs[2]);
    const readers = consumers(graph, attention);
    const [reader] = readers;
    if (state === undefined || !("valueDim" in state) || values === undefined) return [];
    // Another layer may read this one's values; a value may go elsewhere, too.
    const isShared = graph.nodes.some((other) => other.op === "attendState" && other.state === node.state);
    const isAlone = consumers(graph, node.inputs[2]).length === 1;
    if (isShared || !isAlone || readers.length !== 1 || reader?.op !== "linear") return [];
    const output = wholeTensor(artifact, reader.weight);
    if (output === undefined) return [];
    return [{ heads: node.heads, kvHeads: state.kvHeads, width: state.valueDim, values, output: output, attention }];
  });
}

/** The rows that make a value: all of a linear's, or a slice of them. Undefined where something else makes it. */
export function rowsThatMake(artifact: ModelArtifact, graph: Graph, value: Value): RowRange | undefined {
  const node = graph.nodes[value];
  if (node?.op === "slice") {
    const whole = rowsThatMake(artifact, graph, node.inputs[0]);
    return whole && { ...whole, start: whole.start + node.start, count: node.width };
  }
  if (node?.op !== "linear") return undefined;
  return rowsOfLinear(artifact, node);
}

function rowsOfLinear(artifact: ModelArtifact, { weight, bias }: NodeOf<"linear">): RowRange | undefined {
  const tensor = wholeTensor(artifact, weight);
  const vector = bias && wholeTensor(artifact, bias);
  if (tensor === undefined || (bias !== undefined && vector === undefined)) return undefined;
  return { tensor, bias: vector, start: 0, count: weight.shape[0] ?? 0 };
}

/** The tensor that a weight is, where it is one tensor as it stands in the file. */
export function wholeTensor(artifact: ModelArtifact, { parts }: WeightRef): Tensor | undefined {
  const [part, more] = parts;
  if (part === undefined || more !== undefined) return undefined;
  const isWhole = part.transpose !== true && part.slice === undefined && part.rowStart === undefined;
  return isWhole ? artifact.tensors.get(part.tensor) : undefined;
}

/** The nodes that read a value; those that only pass rows on are looked through. */
export function consumers(graph: Graph, value: Value): GraphNode[] {
  return graph.nodes.flatMap((node, result) => {
    if (!(node.inputs as readonly Value[]).includes(value)) return [];
    return node.op === "rows" ? consumers(graph, result) : [node];
  });
}
