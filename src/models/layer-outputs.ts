/**
 * The values between a graph's layers as named outputs: "hidden:0" goes into the first layer, "hidden:N" comes out of the
 * Nth. Which layer a node belongs to is read off the names of its tensors ("blk.3.…", "model.layers.3.…"), so that no
 * family has to say it.
 */
import type { Graph, GraphNode, Value } from "../graph/graph.ts";
import { weightsOf } from "../graph/interface.ts";

/** The graph with these outputs beside its own. */
export function withLayerOutputs(graph: Graph): Graph {
  const outputs = new Map<string, Value>(graph.outputs);
  let layer = -1;
  for (const node of graph.nodes) {
    const [input] = node.inputs;
    const own = layerOf(node);
    // Behind the last layer: the norm before the head.
    const isHead = own === undefined && layer >= 0 && weightsOf(node).length > 0;
    const next = isHead ? layer + 1 : own;
    if (input === undefined || next !== layer + 1 || layer === Infinity) continue;
    outputs.set(`hidden:${next}`, input);
    layer = isHead ? Infinity : next;
  }
  return { ...graph, outputs };
}

function layerOf(node: GraphNode): number | undefined {
  const [weight] = weightsOf(node);
  const found = /(?:^|\.)\w+\.(\d+)\./.exec(weight?.parts[0]?.tensor ?? "")?.[1];
  return found === undefined ? undefined : Number(found);
}
