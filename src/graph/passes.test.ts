import assert from "node:assert/strict";
import test from "node:test";
import { GraphBuilder } from "./builder.ts";
import type { Graph, Value, WeightRef } from "./graph.ts";
import { foldScales, narrowRows, optimize } from "./passes.ts";
import { printGraph } from "./printer.ts";
import { GraphError } from "./graph-error.ts";
import { graphWeights } from "./interface.ts";
import { rowOutputs } from "./shapes.ts";

function weight(name: string, ...shape: number[]): WeightRef {
  return { name, shape, parts: [{ tensor: name }] };
}

/**
 * One layer of a small transformer with 2 heads, 1 kv head and biased projections; `name` gives more outputs, of the
 * attention's input and of the head's.
 */
function layer(name: (g: GraphBuilder, first: Value, last: Value) => void = () => undefined): Graph {
  const g = new GraphBuilder("tiny");
  const state = g.state({ name: "layer 0", kind: "kv", kvHeads: 1, keyDim: 4, valueDim: 4 });
  const x = g.embed(weight("embed", 32, 8));
  const h = g.rmsNorm(x, weight("norm", 8), { eps: 1e-5 });
  const rope = { headDim: 4, style: "half", frequencies: Float32Array.of(1, 0.1), magnitude: 1 } as const;
  const q = g.rope(g.linear(h, weight("q", 8, 8), weight("q.bias", 8)), rope);
  const k = g.rope(g.linear(h, weight("k", 4, 8), weight("k.bias", 4)), rope);
  const v = g.linear(h, weight("v", 4, 8), weight("v.bias", 4));
  const y = g.add(x, g.linear(g.attention(q, k, v, { state, heads: 2, scale: 0.5 }), weight("o", 8, 8)));
  const m = g.rmsNorm(y, weight("norm2", 8), { eps: 1e-5 });
  const gated = g.gate(g.linear(m, weight("gate", 16, 8)), g.linear(m, weight("up", 16, 8)), "silu");
  const z = g.add(y, g.linear(gated, weight("down", 8, 16)));
  const last = g.rmsNorm(z, weight("norm3", 8), { eps: 1e-5 });
  name(g, h, last);
  return g.finish(g.linear(last, weight("embed", 32, 8)), { contextLength: 64 });
}

test("linears that read one value become one, and only output rows go on after the last attention", () => {
  const graph = optimize(layer(), () => "F32");
  const linears = graph.nodes.flatMap((node) => (node.op === "linear" ? [node] : []));
  assert.deepEqual(
    linears.map((node) => [node.weight.name, node.weight.shape, node.bias?.shape]),
    [
      ["q + k + v", [16, 8], [16]],
      ["o", [8, 8], undefined],
      ["gate + up", [32, 8], undefined],
      ["down", [8, 16], undefined],
      ["embed", [32, 8], undefined],
    ],
  );
  assert.deepEqual(opsOf(graph, undefined), BEFORE);
  assert.deepEqual(opsOf(graph, "logits").filter((op) => op === "rows").length, 2);
});

/** The ops over all tokens, up to the last attention. */
const BEFORE = ["embed", "rmsNorm", "linear", "slice", "rope", "slice", "rope", "slice", "attention"];

function opsOf(graph: Graph, output: string | undefined): string[] {
  const holds = rowOutputs(graph.nodes);
  return graph.nodes.filter((_, i) => holds[i] === output).map(({ op }) => op);
}

test("every named output pays for its own rows, and for the head only the logits'", () => {
  const graph = optimize(
    layer((g, first, last) => {
      g.output("first", first);
      g.output("last", last);
      g.output("again", last);
    }),
    () => "F32",
  );
  assert.deepEqual([...graph.outputs.keys()], ["first", "last", "again", "logits"]);
  assert.deepEqual(opsOf(graph, undefined), BEFORE);
  assert.deepEqual(opsOf(graph, "first"), ["rows"]);
  const tail = [
    "rows",
    "rows",
    "linear",
    "add",
    "rmsNorm",
    "linear",
    "slice",
    "slice",
    "gate",
    "linear",
    "add",
    "rmsNorm",
  ];
  assert.deepEqual(opsOf(graph, "last").toSorted(), tail.toSorted());
  assert.deepEqual(opsOf(graph, "again"), opsOf(graph, "last"));
  assert.deepEqual(opsOf(graph, "logits"), [...opsOf(graph, "last"), "linear"]);
  assert.deepEqual(narrowRows(graph), graph, "what is narrow stays as it is");
  const holds = rowOutputs(graph.nodes);
  for (const [name, value] of graph.outputs) assert.equal(holds[value], name);
});

test("what an output names is neither folded away nor dropped", () => {
  const g = new GraphBuilder("named");
  const scaled = g.scale(g.embed(weight("embed", 32, 8)), 3);
  g.output("scaled", scaled);
  g.output("twice", g.scale(scaled, 2));
  const graph = optimize(g.build({ contextLength: 8 }), () => "F32");
  assert.equal(graph.vocabSize, 0);
  assert.deepEqual(
    graph.nodes.map((node) => (node.op === "scale" ? node.factor : node.op === "embed" ? node.scale : node.op)),
    [3, "rows", "rows", 2],
  );
});

test("weights of different formats stay apart", () => {
  const graph = optimize(layer(), (tensor) => (tensor === "v" ? "Q6_K" : "Q4_K"));
  const names = graph.nodes.flatMap((node) => (node.op === "linear" ? [node.weight.name] : []));
  assert.deepEqual(names.slice(0, 2), ["q + k", "v"]);
});

test("scales fold into the embedding and into each other", () => {
  const g = new GraphBuilder("scales");
  const x = g.scale(g.scale(g.embed(weight("embed", 32, 8)), 3), 2);
  const y = g.scale(g.scale(g.rows(g.scale(x, 1)), 5), 7);
  const graph = optimize(g.finish(g.linear(y, weight("head", 32, 8)), { contextLength: 8 }), () => "F32");
  const kept = graph.nodes.map((node) =>
    node.op === "embed" ? node.scale : node.op === "scale" ? node.factor : node.op,
  );
  assert.deepEqual(kept, [6, "rows", 35, "linear"]);
});

test("a scale of a value that others read stays", () => {
  const g = new GraphBuilder("shared");
  const x = g.embed(weight("embed", 32, 8));
  const graph = g.finish(g.linear(g.rows(g.add(x, g.scale(x, 2))), weight("head", 32, 8)), { contextLength: 8 });
  assert.equal(foldScales(graph).nodes.filter((node) => node.op === "scale").length, 1);
});

test("a node that doesn't fit names the op and both widths", () => {
  const g = new GraphBuilder("wrong");
  const x = g.embed(weight("embed", 32, 8));
  assert.throws(() => g.linear(x, weight("w", 4, 9)), new GraphError('linear: the input and "w" are 8 and 9 wide'));
  assert.throws(() => g.add(x, g.linear(x, weight("w", 4, 8))), /add: the inputs are 8 and 4 wide/);
  assert.throws(() => g.build({ contextLength: 8 }), /no output/);
  assert.throws(() => new GraphBuilder("").finish(0, { contextLength: 8 }), /no value/);
  assert.throws(() => g.finish(g.add(x, g.rows(x)), { contextLength: 8 }), /mixes/);
});

test("the printer writes a line for each node, and weights are listed once", () => {
  const graph = layer();
  const lines = printGraph(graph).split("\n");
  assert.equal(lines.length, graph.nodes.length + graph.states.length + 3);
  assert.match(printGraph(graph), /%3 +\[T, 8\] +rope +%2 +half {2}head=4/);
  const narrow = printGraph(optimize(graph, () => "F32"));
  assert.match(narrow, /\[R, 8\] +rows +%\d+ +wanted of logits\n/);
  assert.match(narrow, /%(\d+) +\[R, 32\] +linear[^\n]*\nlogits %\1\n$/);
  assert.equal(graphWeights(graph).size, 14);
});
