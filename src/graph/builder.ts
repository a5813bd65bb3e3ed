/**
 * Builds a graph node by node: each method appends one node and returns the value that it computes, its width
 * inferred and checked on the spot. Model files write a network with it; passes and lowerings copy graphs with
 * `push`. A builder makes one graph and knows no backend.
 *
 * @example
 * const g = new GraphBuilder("tiny, 1 layer, 64 wide");
 * const x = g.embed(table);
 * const hidden = g.rmsNorm(x, norm, { eps: 1e-5 });
 * g.output("hidden:last", hidden);
 * const logits = g.linear(hidden, table);
 * const graph = g.finish(logits, { contextLength: 256 });
 */
import type {
  Activation,
  ColumnFactor,
  GateKind,
  Graph,
  GraphNode,
  MatrixScanInputs,
  NodeOf,
  StateSpec,
  Value,
  WeightRef,
} from "./graph.ts";
import { GraphError } from "./graph-error.ts";
import { inferWidth, rowOutputs } from "./shapes.ts";

type Options<O extends GraphNode["op"]> = Omit<NodeOf<O>, "op" | "inputs">;

/** How a family turns queries and keys; see the op `rope`. */
export type RopeOptions = Options<"rope">;

export class GraphBuilder {
  readonly name: string;
  readonly #nodes: GraphNode[] = [];
  readonly #widths: number[] = [];
  readonly #states: StateSpec[] = [];
  readonly #outputs = new Map<string, Value>();

  constructor(name: string) {
    this.name = name;
  }

  /** Appends any node. */
  push(node: GraphNode): Value {
    this.#widths.push(inferWidth(node, this.#widths, this.#states));
    return this.#nodes.push(node) - 1;
  }

  /** Columns of a value. */
  width(value: Value): number {
    const width = this.#widths[value];
    if (width === undefined) throw new GraphError(`there is no value %${value}`);
    return width;
  }

  /** Declares what a layer remembers; the result is what attention ops name as `state`. */
  state(spec: StateSpec): number {
    return this.#states.push(spec) - 1;
  }

  embed(weight: WeightRef, scale = 1, segments?: NodeOf<"embed">["segments"]): Value {
    const options = { ...(scale !== 1 && { scale }), ...(segments && { segments }) };
    return this.push({ op: "embed", inputs: [], weight, ...options });
  }

  positionEmbed(weight: WeightRef): Value {
    return this.push({ op: "positionEmbed", inputs: [], weight });
  }

  /** `x`, whose rows a plan may replace under the name. */
  input(x: Value, name: string): Value {
    return this.push({ op: "input", inputs: [x], name });
  }

  linear(x: Value, weight: WeightRef, bias?: WeightRef): Value {
    const node = { op: "linear", inputs: [x], weight } as const;
    return this.push(bias === undefined ? node : { ...node, bias });
  }

  headLinear(x: Value, weight: WeightRef): Value {
    return this.push({ op: "headLinear", inputs: [x], weight });
  }

  concat(a: Value, b: Value, heads = 1): Value {
    return this.push({ op: "concat", inputs: [a, b], heads });
  }

  /** `groupSize` is the whole width unless given (a head's, for QK norm). */
  rmsNorm(
    x: Value,
    weight: WeightRef | undefined,
    options: { eps: number; weightOffset?: 0 | 1; groupSize?: number },
  ): Value {
    const { eps, weightOffset = 0, groupSize = this.width(x) } = options;
    return this.push({ op: "rmsNorm", inputs: [x], ...(weight && { weight }), weightOffset, eps, groupSize });
  }

  layerNorm(
    x: Value,
    weight: WeightRef | undefined,
    bias: WeightRef | undefined,
    eps: number,
    weightOffset: 0 | 1 = 0,
    groupSize = this.width(x),
  ): Value {
    const weights = { ...(weight && { weight }), ...(bias && { bias }) };
    return this.push({ op: "layerNorm", inputs: [x], ...weights, weightOffset, eps, groupSize });
  }

  rope(x: Value, options: RopeOptions): Value {
    return this.push({ op: "rope", inputs: [x], ...options });
  }

  attention(q: Value, k: Value, v: Value, options: Options<"attention">): Value {
    return this.push({ op: "attention", inputs: [q, k, v], ...options });
  }

  latentAttention(q: Value, k: Value, options: Options<"latentAttention">): Value {
    return this.push({ op: "latentAttention", inputs: [q, k], ...options });
  }

  writeRows(x: Value, state: number): Value {
    return this.push({ op: "writeRows", inputs: [x], state });
  }

  readRows(state: number, back: number): Value {
    return this.push({ op: "readRows", inputs: [], state, back });
  }

  conv(x: Value, options: Options<"conv">): Value {
    return this.push({ op: "conv", inputs: [x], ...options });
  }

  scan(inputs: NodeOf<"scan">["inputs"], options: Options<"scan">): Value {
    return this.push({ op: "scan", inputs, ...options });
  }

  selectiveScan(inputs: NodeOf<"selectiveScan">["inputs"], options: Options<"selectiveScan">): Value {
    return this.push({ op: "selectiveScan", inputs, ...options });
  }

  wkv(k: Value, v: Value, options: Options<"wkv">): Value {
    return this.push({ op: "wkv", inputs: [k, v], ...options });
  }

  matrixScan(inputs: MatrixScanInputs, options: Options<"matrixScan">): Value {
    return this.push({ op: "matrixScan", inputs, ...options });
  }

  pick(x: Value, columns: Int32Array): Value {
    return this.push({ op: "pick", inputs: [x], columns });
  }

  bias(x: Value, weight: WeightRef): Value {
    return this.push({ op: "bias", inputs: [x], weight });
  }

  columnScale(x: Value, weight: WeightRef, factor: ColumnFactor = "weight"): Value {
    return this.push({ op: "columnScale", inputs: [x], weight, factor });
  }

  /** a · b, column by column. */
  multiply(a: Value, b: Value): Value {
    return this.gate(a, b, "identity");
  }

  gate(gate: Value, up: Value, activation: GateKind): Value {
    return this.push({ op: "gate", inputs: [gate, up], activation });
  }

  activation(x: Value, activation: Activation): Value {
    return this.push({ op: "activation", inputs: [x], activation });
  }

  add(a: Value, b: Value): Value {
    return this.push({ op: "add", inputs: [a, b] });
  }

  scale(x: Value, factor: number): Value {
    return this.push({ op: "scale", inputs: [x], factor });
  }

  clamp(x: Value, limit: number): Value {
    return this.push({ op: "clamp", inputs: [x], limit });
  }

  softcap(x: Value, cap: number): Value {
    return this.push({ op: "softcap", inputs: [x], cap });
  }

  slice(x: Value, start: number, width: number): Value {
    return this.push({ op: "slice", inputs: [x], start, width });
  }

  positionScale(x: Value, options: Options<"positionScale">): Value {
    return this.push({ op: "positionScale", inputs: [x], ...options });
  }

  route(logits: Value, options: Options<"route">): Value {
    return this.push({ op: "route", inputs: [logits], ...options });
  }

  experts(x: Value, routes: Value, options: Options<"experts">): Value {
    return this.push({ op: "experts", inputs: [x, routes], ...options });
  }

  rows(x: Value, output = "logits"): Value {
    return this.push({ op: "rows", inputs: [x], output });
  }

  quantize(x: Value): Value {
    return this.push({ op: "quantize", inputs: [x] });
  }

  kvWrite(k: Value, v: Value, state: number): Value {
    return this.push({ op: "kvWrite", inputs: [k, v], state });
  }

  latentWrite(k: Value, state: number): Value {
    return this.push({ op: "latentWrite", inputs: [k], state });
  }

  attendState(q: Value, options: Options<"attendState">): Value {
    return this.push({ op: "attendState", inputs: [q], ...options });
  }

  /** Names a value that plans may ask for. */
  output(name: string, value: Value): void {
    if (this.#outputs.has(name)) throw new GraphError(`two outputs are called "${name}"`);
    if (this.width(value) === 0) throw new GraphError(`the output "${name}" is empty`);
    this.#outputs.set(name, value);
  }

  /** The graph whose logits are `logits`: the vocabulary is its width. */
  finish(logits: Value, options: { readonly contextLength: number }): Graph {
    this.output("logits", logits);
    return this.build(options);
  }

  /** The graph with the outputs that were named. */
  build({ contextLength }: { readonly contextLength: number }): Graph {
    const nodes = [...this.#nodes];
    const outputs = new Map(this.#outputs);
    if (outputs.size === 0) throw new GraphError(`${this.name}: there is no output`);
    const holds = rowOutputs(nodes);
    for (const [name, value] of outputs) {
      const other = holds[value];
      if (other !== undefined && other !== name)
        throw new GraphError(`the output "${name}" holds the rows of the output "${other}"`);
    }
    const logits = outputs.get("logits");
    const vocabSize = logits === undefined ? 0 : this.width(logits);
    const widths = [...this.#widths];
    return { name: this.name, vocabSize, contextLength, nodes, widths, states: [...this.#states], outputs };
  }
}
