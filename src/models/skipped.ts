/**
 * A model without some of its layers, which drafts for the whole one (Draft & Verify, Zhang et al. 2024): no weights and no
 * memory of its own. It reads the keys and values that the model has put in its states, and what it puts there itself, behind
 * the known tokens, is written again when they are verified.
 */
import { UnsupportedError } from "../errors.ts";
import type { Graph, GraphNode, Value } from "../graph/graph.ts";
import { withInputs } from "../graph/passes.ts";
import { withLayerOutputs } from "./layer-outputs.ts";

/** How many layers a graph has, as far as their borders are known. */
export function layerCount(graph: Graph): number {
  const { outputs } = withLayerOutputs(graph);
  let count = 0;
  while (outputs.has(`hidden:${count + 1}`)) count += 1;
  return count;
}

/** Layers that are left out where nobody says which: every second one between the first quarter and the last layer. */
export function skippedByDefault(graph: Graph): number[] {
  const layers = layerCount(graph);
  const first = Math.max(1, Math.floor(layers / 4));
  return Array.from({ length: Math.max(0, layers - 1 - first) }, (_, i) => first + i).filter((_, i) => i % 2 === 0);
}

/** The graph without these layers. Throws UnsupportedError where it has no such layers, or states that can't be shared so. */
export function withoutLayers(graph: Graph, skipped: readonly number[]): Graph {
  const { outputs } = withLayerOutputs(graph);
  const border = (layer: number): Value => {
    const value = outputs.get(`hidden:${layer}`);
    if (value === undefined)
      throw new UnsupportedError(
        `${graph.name} has ${layerCount(graph)} layers that can be left out, and no layer ${layer}`,
      );
    return value;
  };
  const other = graph.states.find(({ kind }) => kind !== "kv" && kind !== "window-kv");
  if (other !== undefined)
    throw new UnsupportedError(
      `${graph.name} can't leave out layers: its state ${other.name} is of the kind ${other.kind}`,
    );
  // What comes out of a skipped layer is what went into it.
  const stands = new Map(skipped.map((layer) => [border(layer + 1), border(layer)]));
  const logits = graph.outputs.get("logits");
  if (logits === undefined) throw new UnsupportedError(`${graph.name} makes no text that could be drafted`);
  const nodes: GraphNode[] = [];
  const widths: number[] = [];
  const renamed = new Map<Value, Value>();
  const copy = (value: Value): Value => {
    const known = renamed.get(value);
    if (known !== undefined) return known;
    const through = stands.get(value);
    const node = graph.nodes[value];
    if (node === undefined) throw new UnsupportedError(`${graph.name}: there is no value ${value}`);
    const copied = through === undefined ? nodes.push(withInputs(node, copy)) - 1 : copy(through);
    if (through === undefined) widths.push(graph.widths[value] ?? 0);
    renamed.set(value, copied);
    return copied;
  };
  const result = copy(logits);
  return {
    ...graph,
    name: `${graph.name}, without ${skipped.join(", ")}`,
    nodes,
    widths,
    outputs: new Map([["logits", result]]),
  };
}
