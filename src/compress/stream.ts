/**
 * The residual stream as a model's graph shows it: which stored tensors make its rows, read them (behind which norm) and
 * add to them. Whoever turns the stream (rotations), makes it narrower (SliceGPT) or scales its columns (planted outliers)
 * finds here what else has to change with it, and hears of a family whose stream can't be turned by name. Values are not
 * read here.
 */
import type { ModelArtifact, Tensor } from "../artifact/artifact.ts";
import { invariant, UnsupportedError } from "../errors.ts";
import type { Graph, GraphNode, Value, WeightRef } from "../graph/graph.ts";
import { modelGraph } from "../models/models.ts";

/** A norm whose weight can be moved into the matrices that read its output. */
export interface StreamNorm {
  /** Undefined: it has no weight. */
  readonly weight: Tensor | undefined;
  /** Added to the stored values. */
  readonly offset: 0 | 1;
  readonly eps: number;
}

export interface ResidualStream {
  readonly width: number;
  /** `[rows, width]`: their rows begin the stream. */
  readonly tables: readonly Tensor[];
  /** `[…, N, width]`: matrices whose input is the stream, or a norm of it. */
  readonly readers: ReadonlyMap<string, StreamReader>;
  /** `[…, width, K]`: matrices whose output is added to the stream. */
  readonly writers: readonly Tensor[];
  /** Biases of writers, `[…, width]`. */
  readonly biases: readonly Tensor[];
  readonly norms: readonly StreamNorm[];
  /** The table that is the output's matrix too, read behind this norm. */
  readonly tied: StreamReader | undefined;
  readonly graph: Graph;
}

export interface StreamReader {
  readonly tensor: Tensor;
  readonly norm: StreamNorm | undefined;
}

/** @throws UnsupportedError where something in the network is not the same of a turned stream */
export async function residualStream(artifact: ModelArtifact): Promise<ResidualStream> {
  const { graph } = await modelGraph(artifact, { context: 1024 });
  return new StreamReading(artifact, graph).read();
}

class StreamReading {
  readonly #artifact: ModelArtifact;
  readonly #graph: Graph;
  /** Union-find over values: those that must be turned together. */
  readonly #parents: number[];
  readonly #norms = new Map<Value, StreamNorm>();
  readonly #tables = new Map<string, Tensor>();
  readonly #readers = new Map<string, StreamReader>();
  readonly #writers = new Map<string, Tensor>();
  readonly #biases = new Map<string, Tensor>();
  #tied: StreamReader | undefined;

  constructor(artifact: ModelArtifact, graph: Graph) {
    this.#artifact = artifact;
    this.#graph = graph;
    this.#parents = graph.nodes.map((_, value) => value);
  }

  read(): ResidualStream {
    const { nodes, widths } = this.#graph;
    const first = nodes.findIndex(({ op }) => op === "embed");
    const width = widths[first];
    if (width === undefined) throw this.#unsupported("there is no table of tokens");
    nodes.forEach((node, value) => {
      for (const input of this.#together(node)) this.#union(input, value);
    });
    nodes.forEach((node, value) => this.#visit(node, value, (v) => this.#find(v) === this.#find(first)));
    for (const tensor of this.#writers.values())
      if (tensor.shape.at(-2) !== width) throw this.#unsupported(`${tensor.name} adds to a part of the stream`);
    return {
      width,
      tables: [...this.#tables.values()],
      readers: this.#readers,
      writers: [...this.#writers.values()],
      biases: [...this.#biases.values()],
      norms: [...this.#norms.values()],
      tied: this.#tied,
      graph: this.#graph,
    };
  }

  /** Inputs that are turned as the node's output is. */
  #together(node: GraphNode): readonly Value[] {
    switch (node.op) {
      case "add":
      case "scale":
      case "rows":
        return node.inputs;
      case "rmsNorm":
        return node.groupSize === this.#graph.widths[node.inputs[0]] ? node.inputs : [];
      case "gate":
        // A gate of one column multiplies a whole row.
        return this.#graph.widths[node.inputs[0]] === 1 ? [node.inputs[1]] : [];
      default:
        return [];
    }
  }

  #visit(node: GraphNode, value: Value, isStream: (value: Value) => boolean): void {
    const { inputs }: { readonly inputs: readonly Value[] } = node;
    const makes = isStream(value);
    const reads = inputs.some(isStream);
    if (!makes && !reads) return;
    switch (node.op) {
      case "embed":
      case "positionEmbed":
        for (const tensor of this.#tensors(node.weight)) this.#tables.set(tensor.name, tensor);
        return;
      case "rmsNorm":
        if (makes && reads) return this.#norm(node, value);
        break;
      case "linear":
        if (reads) this.#reader(node.weight, inputs[0]);
        if (makes) this.#writer(node.weight, node.bias);
        return;
      case "experts":
        if (!isStream(node.inputs[0]) || !makes) break;
        this.#reader(node.gateUp, node.inputs[0]);
        this.#writer(node.down, node.downBias);
        return;
      case "add":
      case "scale":
      case "rows":
        return;
      case "gate":
        if (!isStream(node.inputs[0])) return;
        break;
      default:
        break;
    }
    throw this.#unsupported(`"${node.op}" is not the same of a turned stream`);
  }

  #norm(node: Extract<GraphNode, { readonly op: "rmsNorm" }>, value: Value): void {
    const [weight] = node.weight === undefined ? [] : this.#tensors(node.weight);
    if (weight !== undefined) {
      const elsewhere = this.#graph.nodes.some(
        ({ op, inputs }) =>
          op !== "linear" && op !== "experts" && op !== "rows" && (inputs as readonly Value[]).includes(value),
      );
      if (elsewhere) throw this.#unsupported(`${weight.name} is not followed by matrices alone`);
    }
    this.#norms.set(value, { weight, offset: node.weightOffset, eps: node.eps });
  }

  #reader(weight: WeightRef, input: Value | undefined): void {
    for (const tensor of this.#tensors(weight)) {
      const reader = { tensor, norm: this.#normOf(input) };
      if (this.#tables.has(tensor.name)) {
        this.#tied = reader;
        continue;
      }
      const known = this.#readers.get(tensor.name);
      if (known !== undefined && known.norm?.weight !== reader.norm?.weight)
        throw this.#unsupported(`${tensor.name} is read behind two norms`);
      this.#readers.set(tensor.name, reader);
    }
  }

  /** The norm that a value comes out of, if any. */
  #normOf(value: Value | undefined): StreamNorm | undefined {
    const node = value === undefined ? undefined : this.#graph.nodes[value];
    if (node?.op === "rows") return this.#normOf(node.inputs[0]);
    return value === undefined ? undefined : this.#norms.get(value);
  }

  #writer(weight: WeightRef, bias: WeightRef | undefined): void {
    for (const tensor of this.#tensors(weight)) this.#writers.set(tensor.name, tensor);
    if (bias !== undefined) for (const tensor of this.#tensors(bias)) this.#biases.set(tensor.name, tensor);
  }

  #tensors(weight: WeightRef): Tensor[] {
    return weight.parts.map(({ tensor: name, transpose }) => {
      if (transpose === true) throw this.#unsupported(`${name} is stored transposed`);
      const tensor = this.#artifact.tensors.get(name);
      invariant(tensor !== undefined, `the graph names ${name}`);
      return tensor;
    });
  }

  #find(value: Value): Value {
    let root = value;
    for (let parent = this.#parents[root]; parent !== undefined && parent !== root; parent = this.#parents[root])
      root = parent;
    return root;
  }

  #union(a: Value, b: Value): void {
    this.#parents[this.#find(a)] = this.#find(b);
  }

  #unsupported(why: string): UnsupportedError {
    return new UnsupportedError(`${this.#artifact.name}: the residual stream can't be turned: ${why}`);
  }
}
