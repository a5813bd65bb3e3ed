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
      case "headLinear":
        renamed.push(g.push(readsInt8(node.weight) ? { ...node, inputs: [int8(node.inputs[0])] } : node));
        break;
      case "attention": {
        const { op: _op, inputs, ...options } = node;
        const [q, k, v] = inputs;
        g.kvWrite(k, v, options.state);
        renamed.push(g.attendState(q, options));
        break;
      }
      case "latentAttention": {
        const { op: _op, inputs, ...options } = node;
        const [q, k] = inputs;
        g.latentWrite(k, options.state);
        renamed.push(g.attendState(q, options));
        break;
      }
      case "experts": {
        const int8 = { gateUp: readsInt8(node.gateUp), down: readsInt8(node.down) };
        renamed.push(g.push({ ...node, int8 }));
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
      case "selectiveScan":
      case "wkv":
      case "matrixScan":
      case "pick":
      case "bias":
      case "columnScale":
      case "gate":
      case "activation":
      case "add":
      case "scale":
      case "softcap":
      case "clamp":
      case "positionScale":
      case "route":
      case "slice":
      case "lora":
      case "rows":
      case "quantize":
      case "kvWrite":
      case "latentWrite":
      case "attendState":
      case "concat":
        renamed.push(g.push(node));
        break;
      default:
        return node satisfies never;
    }
  }
  for (const [name, value] of graph.outputs) g.output(name, rename(value));
  return g.build(graph);
}
