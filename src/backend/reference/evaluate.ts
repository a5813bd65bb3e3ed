/**
 * Runs a graph's nodes in order, one array of rows a value, each dropped after its last reader; gives the wanted rows of
 * each named output. Plain and lowered graphs alike: `quantize` gives float64 rows (codes times scales, exact), all else
 * f32 rows.
 */
import { invariant } from "../../errors.ts";
import type { Graph, GraphNode, NodeOf, Value, WeightRef } from "../../graph/graph.ts";
import { rowOutputs } from "../../graph/shapes.ts";
import type { StepPlan } from "../contract.ts";
import { attend, kvWrite } from "./attention.ts";
import { addLora, type ReferenceAdapter } from "./lora.ts";
import { experts, route } from "./moe.ts";
import {
  activate,
  columnFactors,
  columnScale,
  gated,
  headLinear,
  layerNorm,
  linear,
  rmsNorm,
  rope,
  ropeTable,
  type RopeTable,
  type Rows,
} from "./ops.ts";
import { conv, readRows, writeRows } from "./paged-rows.ts";
import type { ReferencePool } from "./pool.ts";
import { quantizeRows } from "./quantize.ts";
import { matrixScan } from "./matrix-scan.ts";
import { selectiveScan, wkv } from "./recurrences.ts";
import { scan } from "./scan.ts";
import { sequencesOf } from "./sight.ts";
import type { SourceWeights } from "./weights.ts";

export interface EvaluateContext {
  readonly graph: Graph;
  readonly weights: SourceWeights;
  readonly pool: ReferencePool;
  readonly plan: StepPlan;
  /** The step's token ids, references to earlier samples resolved. */
  readonly tokens: Int32Array;
  /** For each named input: the rows that the plan gives. */
  readonly given: ReadonlyMap<string, GivenRows>;
  /** For each sequence of the step. */
  readonly adapters: readonly (ReferenceAdapter | undefined)[];
  /** For each named output: the rows that are wanted of it, each once. */
  readonly wanted: ReadonlyMap<string, readonly number[]>;
}

export interface GivenRows {
  readonly rows: Int32Array;
  readonly values: Float32Array;
}

/** For each named output: its wanted rows `[rows, width]`. */
export function evaluate(context: EvaluateContext): Map<string, Float32Array> {
  const { graph, wanted } = context;
  const lastUse = new Map<Value, number>();
  graph.nodes.forEach((node, i) => {
    for (const input of node.inputs) lastUse.set(input, i);
  });
  for (const value of graph.outputs.values()) lastUse.set(value, graph.nodes.length);

  const values = new Map<Value, Rows>();
  const ropes = new Map<string, RopeTable>();
  const holds = rowOutputs(graph.nodes);
  graph.nodes.forEach((node, i) => {
    if (node.op === "lora") values.set(i, lora(context, node, i, holds[i], values));
    else values.set(i, evaluateNode(context, node, graph.widths[i] ?? 0, values, ropes));
    for (const input of node.inputs) if (lastUse.get(input) === i) values.delete(input);
    if (!lastUse.has(i)) values.delete(i);
  });
  return new Map(
    [...graph.outputs].map(([name, value]) => {
      const all = values.get(value);
      invariant(all instanceof Float32Array, `the output "${name}" isn't rows of f32`);
      const rows = holds[value] === name ? all : selectRows(all, wanted.get(name) ?? [], graph.widths[value] ?? 0);
      return [name, rows];
    }),
  );
}

function evaluateNode(
  context: EvaluateContext,
  node: Exclude<GraphNode, { readonly op: "lora" }>,
  width: number,
  values: ReadonlyMap<Value, Rows>,
  ropes: Map<string, RopeTable>,
): Rows {
  const { graph, weights, pool, plan, tokens } = context;
  const positions = plan.positions.subarray(0, plan.tokenCount);
  const value = (v: Value): Rows => {
    const rows = values.get(v);
    invariant(rows !== undefined, `value %${v} is gone`);
    return rows;
  };
  const f32 = (v: Value): Float32Array => {
    const rows = value(v);
    return rows instanceof Float32Array ? rows : Float32Array.from(rows);
  };
  const vector = (weight: WeightRef | undefined): Float32Array | undefined => weight && weights.get(weight);
  const stateName = (state: number): string => graph.states[state]?.name ?? "";
  const widthOf = (v: Value): number => graph.widths[v] ?? 0;
  /** As many rows as `v` has, of this node's width. */
  const like = (v: Value): Float32Array => new Float32Array((value(v).length / widthOf(v)) * width);

  switch (node.op) {
    case "embed":
      return gatherRows(weights.get(node.weight), rowIds(tokens, node.segments), width, Math.fround(node.scale ?? 1));
    case "positionEmbed":
      return gatherRows(weights.get(node.weight), positions, width, 1);
    case "input":
      return replaceRows(f32(node.inputs[0]), context.given.get(node.name), width);
    case "linear": {
      const [x] = node.inputs;
      const out = like(x);
      linear(
        value(x),
        { values: weights.get(node.weight), offset: 0, n: width, k: widthOf(x) },
        vector(node.bias),
        out,
      );
      return out;
    }
    case "headLinear": {
      const out = like(node.inputs[0]);
      headLinear(value(node.inputs[0]), weights.get(node.weight), node.weight.shape, out);
      return out;
    }
    case "concat": {
      const [a, b] = node.inputs;
      const out = like(a);
      const [first, second] = [widthOf(a) / node.heads, widthOf(b) / node.heads];
      for (let at = 0, head = 0; at < out.length; at += first + second, head++) {
        out.set(value(a).subarray(head * first, (head + 1) * first), at);
        out.set(value(b).subarray(head * second, (head + 1) * second), at + first);
      }
      return out;
    }
    case "rmsNorm": {
      const out = like(node.inputs[0]);
      rmsNorm(value(node.inputs[0]), vector(node.weight), node, out);
      return out;
    }
    case "layerNorm": {
      const out = like(node.inputs[0]);
      layerNorm(value(node.inputs[0]), vector(node.weight), vector(node.bias), node, out);
      return out;
    }
    case "rope": {
      // Layers share their tables: equal frequencies, equal angles.
      const key = `${node.magnitude} ${node.frequencies.join(" ")}`;
      const table = ropes.get(key) ?? ropeTable(positions, node.frequencies, node.magnitude);
      ropes.set(key, table);
      const out = like(node.inputs[0]);
      rope(value(node.inputs[0]), width, node.headDim, node.style === "interleaved", table, out);
      return out;
    }
    case "attention": {
      const [q, k, v] = node.inputs;
      const store = pool.store(stateName(node.state));
      kvWrite(plan, store, value(k), value(v));
      const out = like(q);
      attend(plan, store, value(q), node, vector(node.sinks), out);
      return out;
    }
    case "latentAttention": {
      const [q, k] = node.inputs;
      const store = pool.store(stateName(node.state));
      kvWrite(plan, store, value(k));
      const out = like(q);
      attend(plan, store, value(q), node, vector(node.sinks), out);
      return out;
    }
    case "latentWrite":
      kvWrite(plan, pool.store(stateName(node.state)), value(node.inputs[0]));
      return new Float32Array(0);
    case "kvWrite":
      kvWrite(plan, pool.store(stateName(node.state)), value(node.inputs[0]), value(node.inputs[1]));
      return new Float32Array(0);
    case "attendState": {
      const out = like(node.inputs[0]);
      attend(plan, pool.store(stateName(node.state)), value(node.inputs[0]), node, vector(node.sinks), out);
      return out;
    }
    case "writeRows":
      writeRows(plan, pool.store(stateName(node.state)), f32(node.inputs[0]));
      return new Float32Array(0);
    case "readRows":
      return readRows(plan, pool.store(stateName(node.state)), node.back);
    case "conv": {
      const store = pool.store(stateName(node.state));
      writeRows(plan, store, f32(node.inputs[0]));
      return conv(plan, store, weights.get(node.weight), node.bias && weights.get(node.bias));
    }
    case "scan": {
      const [q, k, v, g, beta] = node.inputs.map(f32) as [
        Float32Array,
        Float32Array,
        Float32Array,
        Float32Array,
        Float32Array,
      ];
      const out = like(node.inputs[2]);
      scan(
        plan,
        pool.granules(stateName(node.state)),
        pool.store(stateName(node.history)),
        { ...node, q, k, v, g, beta },
        out,
      );
      return out;
    }
    case "selectiveScan": {
      const [dt, x, b, c] = node.inputs.map(f32) as [Float32Array, Float32Array, Float32Array, Float32Array];
      const out = like(node.inputs[1]);
      const a = columnFactors(weights.get(node.weight), node.factor);
      selectiveScan(
        plan,
        pool.granules(stateName(node.state)),
        pool.store(stateName(node.history)),
        { dt, x, b, c, a },
        out,
      );
      return out;
    }
    case "wkv": {
      const [k, v] = node.inputs.map(f32) as [Float32Array, Float32Array];
      const out = like(node.inputs[0]);
      const decay = columnFactors(weights.get(node.decay), node.factor);
      const given = { k, v, decay, bonus: weights.get(node.bonus) };
      wkv(plan, pool.granules(stateName(node.state)), pool.store(stateName(node.history)), given, out);
      return out;
    }
    case "matrixScan": {
      const [r, w, k, v, a, b] = node.inputs.map(f32);
      invariant(r && w && k && v, "a scan without its inputs");
      const out = like(node.inputs[3]);
      const removal = a && b && { a, b };
      const given = { heads: node.heads, r, w, k, v, removal, bonus: vector(node.bonus) };
      matrixScan(plan, pool.granules(stateName(node.state)), pool.store(stateName(node.history)), given, out);
      return out;
    }
    case "bias": {
      const weight = weights.get(node.weight);
      return f32(node.inputs[0]).map((x, i) => x + (weight[i % width] ?? 0));
    }
    case "pick": {
      const [input] = node.inputs;
      const source = value(input);
      const step = widthOf(input);
      return like(input).map((_, i) => source[Math.floor(i / width) * step + (node.columns[i % width] ?? 0)] ?? 0);
    }
    case "columnScale": {
      const out = like(node.inputs[0]);
      columnScale(value(node.inputs[0]), width, weights.get(node.weight), node.factor, out);
      return out;
    }
    case "gate": {
      const [gate, up] = node.inputs.map(value) as [Rows, Rows];
      const columns = widthOf(node.inputs[0]) === 1 ? width : 1;
      return like(node.inputs[1]).map((_, i) => gated(gate[Math.floor(i / columns)] ?? 0, up[i] ?? 0, node.activation));
    }
    case "activation":
      return f32(node.inputs[0]).map((x) => activate(x, node.activation));
    case "add": {
      const [a, b] = node.inputs.map(value) as [Rows, Rows];
      return like(node.inputs[0]).map((_, i) => (a[i] ?? 0) + (b[i] ?? 0));
    }
    case "scale":
      return f32(node.inputs[0]).map((x) => x * Math.fround(node.factor));
    case "clamp": {
      const limit = Math.fround(node.limit);
      return f32(node.inputs[0]).map((x) => Math.min(Math.max(x, -limit), limit));
    }
    case "softcap":
      return f32(node.inputs[0]).map((x) => node.cap * Math.tanh(x / node.cap));
    case "slice": {
      const [x] = node.inputs;
      const out = like(x);
      const source = value(x);
      const step = widthOf(x);
      for (let row = 0; row * width < out.length; row++) {
        const start = row * step + node.start;
        out.set(source.subarray(start, start + width), row * width);
      }
      return out;
    }
    case "positionScale": {
      const { every, offset, factors } = node;
      return f32(node.inputs[0]).map((x, i) => {
        const step = Math.floor(((positions[Math.floor(i / width)] ?? 0) + offset) / every);
        return x * (factors[Math.min(step, factors.length - 1)] ?? 1);
      });
    }
    case "route":
      return route(f32(node.inputs[0]), widthOf(node.inputs[0]), node, weights);
    case "experts":
      return experts(f32(node.inputs[0]), f32(node.inputs[1]), width, node, weights);
    case "rows":
      return selectRows(value(node.inputs[0]), context.wanted.get(node.output) ?? [], width);
    case "quantize":
      return quantizeRows(f32(node.inputs[0]), width);
    default:
      return node satisfies never;
  }
}

/** The linear's rows, and on those of sequences with an adapter what that adds. `output`: whose wanted rows they are. */
function lora(
  { graph, weights, plan, adapters, wanted }: EvaluateContext,
  node: NodeOf<"lora">,
  index: Value,
  output: string | undefined,
  values: ReadonlyMap<Value, Rows>,
): Float32Array {
  const [y, x] = node.inputs.map((v) => values.get(v));
  invariant(y instanceof Float32Array && x !== undefined, "an adapter's rows are gone");
  const out = y.slice();
  const [n = 0, k = 0] = [graph.widths[index], graph.widths[node.inputs[1]]];
  const bias = node.bias === undefined ? undefined : weights.get(node.bias);
  const rows = output === undefined ? [...plan.tokens.keys()] : (wanted.get(output) ?? []);
  const sequences = [...sequencesOf(plan)];
  for (const [i, row] of rows.entries()) {
    const sequence = sequences.find(({ end }) => row < end)?.sequence ?? -1;
    const site = adapters[sequence]?.sites.get(index);
    if (site !== undefined) addLora(site, x.subarray(i * k, (i + 1) * k), bias, out.subarray(i * n, (i + 1) * n));
  }
  return out;
}

function rowIds(tokens: Int32Array, segments: Extract<GraphNode, { readonly op: "embed" }>["segments"]): Int32Array {
  if (segments === undefined) return tokens;
  const { size, by } = segments;
  return tokens.map((id) => (by === "id" ? id % size : Math.floor(id / size)));
}

function gatherRows(table: Float32Array, ids: Int32Array, width: number, scale: number): Float32Array {
  const out = new Float32Array(ids.length * width);
  ids.forEach((id, row) => {
    const inside = id >= 0 && (id + 1) * width <= table.length;
    invariant(inside, `row ${id} of an embedding of ${table.length / width} rows`);
    for (let i = 0; i < width; i++) out[row * width + i] = (table[id * width + i] ?? 0) * scale;
  });
  return out;
}

function replaceRows(x: Float32Array, given: GivenRows | undefined, width: number): Float32Array {
  const out = x.slice();
  for (const [i, row] of given?.rows.entries() ?? [])
    out.set(given?.values.subarray(i * width, (i + 1) * width) ?? [], row * width);
  return out;
}

function selectRows<R extends Rows>(x: R, rows: readonly number[], width: number): R;
function selectRows(x: Rows, rows: readonly number[], width: number): Rows {
  const out = x instanceof Float64Array ? new Float64Array(rows.length * width) : new Float32Array(rows.length * width);
  rows.forEach((row, i) => out.set(x.subarray(row * width, (row + 1) * width), i * width));
  return out;
}
