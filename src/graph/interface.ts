/**
 * What a graph has to do with the world outside of it: the weights that it reads, the token ids that it knows, the inputs
 * that plans may give rows for, and the outputs that it names.
 */
import { check } from "./graph-error.ts";
import type { Graph, GraphNode, WeightRef } from "./graph.ts";

/** How many token ids a graph has rows for (those that carry a segment included), or undefined where it has no table. */
export function tokenIdsOf(graph: Graph): number | undefined {
  const ids = graph.nodes.flatMap((node) => {
    if (node.op !== "embed") return [];
    const rows = node.weight.shape[0] ?? 0;
    // A table of ids doesn't limit how many segments there are.
    if (node.segments === undefined) return [rows];
    return node.segments.by === "segment" ? [rows * node.segments.size] : [];
  });
  return ids.length === 0 ? undefined : Math.min(...ids);
}

/** The inputs of a graph that plans may give rows for: their widths by name. */
export function graphInputs(graph: Graph): Map<string, number> {
  const inputs = new Map<string, number>();
  graph.nodes.forEach((node, value) => {
    if (node.op !== "input") return;
    const width = graph.widths[value] ?? 0;
    check((inputs.get(node.name) ?? width) === width, node, `two inputs "${node.name}" of different widths`);
    inputs.set(node.name, width);
  });
  return inputs;
}

function present(...weights: readonly (WeightRef | undefined)[]): WeightRef[] {
  return weights.filter((weight) => weight !== undefined);
}

/** The weights that a node reads, in a fixed order. */
export function weightsOf(node: GraphNode): WeightRef[] {
  switch (node.op) {
    case "embed":
    case "positionEmbed":
    case "headLinear":
    case "columnScale":
    case "bias":
    case "selectiveScan":
      return [node.weight];
    case "wkv":
      return [node.decay, node.bonus];
    case "attention":
    case "latentAttention":
    case "attendState":
      return present(node.sinks);
    case "rmsNorm":
      return present(node.weight);
    case "conv":
    case "linear":
    case "layerNorm":
      return present(node.weight, node.bias);
    case "route":
      return present(node.bias);
    case "matrixScan":
      return present(node.bonus);
    case "experts":
      return present(node.gateUp, node.down, node.gateUpBias, node.downBias);
    // What it adds comes with an adapter; the bias is the linear's.
    case "lora":
    case "positionScale":
    case "input":
    case "rope":
    case "concat":
    case "writeRows":
    case "readRows":
    case "scan":
    case "pick":
    case "gate":
    case "activation":
    case "add":
    case "scale":
    case "softcap":
    case "clamp":
    case "slice":
    case "rows":
    case "quantize":
    case "kvWrite":
    case "latentWrite":
      return [];
    default:
      return node satisfies never;
  }
}

/** All weights of a graph by name, each once, in order of first use. */
export function graphWeights(graph: Graph): Map<string, WeightRef> {
  const weights = new Map<string, WeightRef>();
  for (const node of graph.nodes)
    for (const weight of weightsOf(node)) weights.set(weight.name, weights.get(weight.name) ?? weight);
  return weights;
}

/** A value of the graph that has a name outside. */
export interface ValueShape {
  readonly name: string;
  readonly width: number;
}

/** The outputs that a graph names. */
export function outputShapes({ outputs, widths }: Graph): ValueShape[] {
  return [...outputs].map(([name, value]) => ({ name, width: widths[value] ?? 0 }));
}
