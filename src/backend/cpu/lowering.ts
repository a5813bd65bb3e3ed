/**
 * The first half of compilation: an optimised graph → the lowered graph, which says what the kernels round. Linears
 * whose packed weights multiply int8 rows get a `quantize` before them (one for all readers of a value), and attention
 * is split into the write of keys and values (rounded to the pool's type) and the reading of the cache. It is a graph
 * like any other, so `inspect` prints it and the reference runs it. Fusion and buffers are emit.ts's.
 */
import { GraphBuilder } from "../../graph/builder.ts";
import type { Graph, Value, WeightRef } from "../../graph/graph.ts";
import { withInputs } from "../../graph/passes.ts";
import { invariant } from "../../errors.ts";

export function lower(graph: Graph, readsInt8: (weight: WeightRef) => boolean): Graph {
  const g = new GraphBuilder(graph.name);
  for (const state of graph.states) g.state(state);
  const renamed: Value[] = [];
  const quantized = new Map<Value, Value>();
  const rename = (value: Value): Value => {
    const found = renamed[value];
    invariant(found !== undefined, `value %${value} is read before it is computed`);
    return found;
  };
  const int8 = (value: Value): Value => {
    let found = quantized.get(value);
    if (found === undefined) {
      found = g.quantize(value);
      quantized.set(value, found);
    }
    return found;
  };
  for (const original of graph.nodes) {
    const node = withInputs(original, rename);
    switch (node.op) {
      case "linear":
        renamed.push(g.push(readsInt8(node.weight) ? { ...node, inputs: [int8(node.inputs[0])] } : node));
        break;
      case "attention": {
        const [q, k, v] = node.inputs;
        const { state, heads, scale, softcap } = node;
        g.kvWrite(k, v, state);
        renamed.push(g.attendState(q, { state, heads, scale, ...(softcap === undefined ? {} : { softcap }) }));
        break;
      }
      case "moe": {
        const [router, gateUp, down] = [node.router, node.gateUp, node.down].map(readsInt8);
        renamed.push(
          g.push({ ...node, int8: { router: router === true, gateUp: gateUp === true, down: down === true } }),
        );
        break;
      }
      case "embed":
      case "positionEmbed":
      case "input":
      case "rmsNorm":
      case "layerNorm":
      case "rope":
      case "writeRows":
      case "readRows":
      case "conv":
      case "scan":
      case "columnScale":
      case "gate":
      case "activation":
      case "add":
      case "scale":
      case "softcap":
      case "slice":
      case "lora":
      case "rows":
      case "quantize":
      case "kvWrite":
      case "attendState":
        renamed.push(g.push(node));
        break;
      default:
        return node satisfies never;
    }
  }
  for (const [name, value] of graph.outputs) g.output(name, rename(value));
  return g.build(graph);
}
