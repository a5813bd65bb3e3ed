/**
 * The second half of compilation: a lowered graph → the executor's instructions and the arena's plan. What is fused
 * here changes no bit: a residual add becomes the last term of its linear, a gated MLP's activation and its rounding
 * follow each chunk of columns while they are in the cache, a slice is a view, an elementwise op writes where its
 * input lay, and a `moe` becomes routing, grouping by expert and two grouped linears.
 *
 * Time for the arena: wide instructions (linear, attention) and the serial one stand alone in a unit, row ops between
 * two of them share one.
 */
import { UnsupportedError, invariant } from "../../errors.ts";
import type { Graph, Node, Value, WeightRef } from "../../graph/graph.ts";
import { outputRows } from "../../graph/shapes.ts";
import type { CompileOptions, StateGroup } from "../contract.ts";
import { Arena, type Buffer } from "./arena.ts";
import { buffersOf, finish, spanOf, type Draft, type Place, type Place8 } from "./draft.ts";
import type { ProgramSpec } from "./native.ts";
import type { CpuWeights } from "./weights.ts";

/** Bytes of logits that the arena holds; more output rows than that are done in several passes. */
const LOGIT_BYTES = 16 << 20;
const WIDE: ReadonlySet<string> = new Set(["linear", "linearGate", "expertLinear", "attend", "groupExperts"]);

type NodeOf<O extends Node["op"]> = Extract<Node, { readonly op: O }>;

export function emit(
  graph: Graph,
  weights: CpuWeights,
  groups: readonly StateGroup[],
  options: CompileOptions,
): ProgramSpec {
  return new Emitter(graph, weights, groups, options).run();
}

class Emitter {
  readonly #graph: Graph;
  readonly #weights: CpuWeights;
  readonly #options: CompileOptions;
  readonly #outputRows: number;
  readonly #arena = new Arena();
  readonly #drafts: Draft[] = [];
  /** Buffers that are read or written outside of their instructions: the logits, what `rows` reads in each pass. */
  readonly #lasting = new Set<Buffer>();
  readonly #places = new Map<Value, Place | Place8>();
  /** Emitted already, as part of an instruction before. */
  readonly #absorbed = new Set<Value>();
  readonly #isOutput: readonly boolean[];
  /** Nodes that read a value, slices aside: what reads a slice reads its source. */
  readonly #readers: readonly (readonly Value[])[];
  /** Direct users. */
  readonly #users: readonly (readonly Value[])[];
  /** Place in the order of emission: nodes over tokens, then nodes over output rows. */
  readonly #order: readonly Value[];
  readonly #rank: readonly number[];
  readonly #views = new Map<Buffer, Value[]>();
  readonly #tables = new Map<string, readonly [Place, Place]>();
  readonly #stateOf = new Map<number, readonly [group: number, layer: number]>();

  constructor(graph: Graph, weights: CpuWeights, groups: readonly StateGroup[], options: CompileOptions) {
    this.#graph = graph;
    this.#weights = weights;
    this.#options = options;
    this.#isOutput = outputRows(graph.nodes);
    const fit = Math.floor(LOGIT_BYTES / (4 * graph.vocabSize));
    this.#outputRows = Math.min(options.maxOutputs, Math.max(16, Math.min(256, fit)));
    const values = graph.nodes.map((_, value) => value);
    this.#order = [...values.filter((v) => !this.#isOutput[v]), ...values.filter((v) => this.#isOutput[v])];
    const rank: number[] = [];
    for (const [i, value] of this.#order.entries()) rank[value] = i;
    this.#rank = rank;
    const users: Value[][] = values.map(() => []);
    const readers: Value[][] = values.map(() => []);
    for (const [value, node] of graph.nodes.entries()) for (const input of node.inputs) users[input]?.push(value);
    for (const value of values.toReversed()) {
      for (const user of users[value] ?? []) {
        if (graph.nodes[user]?.op === "slice") readers[value]?.push(...(readers[user] ?? []));
        else readers[value]?.push(user);
      }
    }
    this.#users = users;
    this.#readers = readers;
    for (const [group, { states }] of groups.entries()) {
      for (const [layer, state] of states.entries()) this.#stateOf.set(state, [group, layer]);
    }
  }

  run(): ProgramSpec {
    const { nodes, vocabSize, logits } = this.#graph;
    let tableRows = 0;
    let tokenIds = 2 ** 31 - 1;
    // The tables of all angles first: every layer reads them.
    for (const node of nodes) if (node.op === "rope") this.#ropeTable(node);
    for (const value of this.#order) {
      if (this.#absorbed.has(value)) continue;
      const node = this.#node(value);
      if (node.op === "positionEmbed") tableRows = node.weight.shape[0] ?? 0;
      if (node.op === "embed") tokenIds = Math.min(tokenIds, node.weight.shape[0] ?? 0);
      this.#emit(value, node);
    }
    const logitsPlace = this.#rows(logits);
    this.#lasting.add(logitsPlace.buffer);
    const arenaBytes = this.#plan();
    const { maxTokens, maxSequences, maxOutputs, samplerSlots } = this.#options;
    return {
      instructions: this.#drafts.map(finish),
      arenaBytes,
      maxTokens,
      maxSequences,
      maxOutputs,
      samplerSlots,
      outputRows: this.#outputRows,
      vocab: vocabSize,
      tokenIds,
      tableRows,
      logits: spanOf(logitsPlace),
    };
  }

  #plan(): number {
    let time = 0;
    let inRows = false;
    for (const [i, draft] of this.#drafts.entries()) {
      const alone = WIDE.has(draft.op);
      const domainChanges = i > 0 && draft.outputs !== this.#drafts[i - 1]?.outputs;
      if (alone || !inRows || domainChanges) time++;
      inRows = !alone;
      for (const buffer of buffersOf(draft)) Arena.touch(buffer, time);
    }
    for (const buffer of this.#lasting) Arena.touch(buffer, time + 1);
    return this.#arena.plan();
  }

  // --- values and places ---------------------------------------------------------------------------------------------

  #node(value: Value): Node {
    const node = this.#graph.nodes[value];
    invariant(node, `no node %${value}`);
    return node;
  }

  #width(value: Value): number {
    const width = this.#graph.widths[value];
    invariant(width !== undefined, `no width of %${value}`);
    return width;
  }

  #maxRows(value: Value): number {
    return this.#isOutput[value] === true ? this.#outputRows : this.#options.maxTokens;
  }

  /** Room for `rows` rows of `width` values of 4 bytes. */
  #newRows(rows: number, width: number): Place {
    const buffer = this.#arena.allocate(rows * width * 4);
    return { kind: "rows", buffer, stride: width, column: 0, width };
  }

  #new8(rows: number, cols: number): Place8 {
    if (cols % 32 !== 0) throw new UnsupportedError(`A row of ${cols} columns can't be quantised in blocks of 32.`);
    const codes = this.#arena.allocate(rows * cols);
    const scales = this.#arena.allocate((rows * cols) / 8);
    const sums = this.#arena.allocate((rows * cols) / 4);
    return { kind: "int8", codes, scales, sums, cols };
  }

  #newValue(value: Value): Place {
    return this.#put(value, this.#newRows(this.#maxRows(value), this.#width(value)));
  }

  #put(value: Value, place: Place): Place {
    this.#places.set(value, place);
    const views = this.#views.get(place.buffer);
    if (views) views.push(value);
    else this.#views.set(place.buffer, [value]);
    return place;
  }

  #rows(value: Value): Place {
    const place = this.#places.get(value);
    invariant(place?.kind === "rows", `%${value} has no rows yet`);
    return place;
  }

  #rows8(value: Value): Place8 {
    const place = this.#places.get(value);
    invariant(place?.kind === "int8", `%${value} has no int8 rows yet`);
    return place;
  }

  #lastRead(value: Value, except: Value): number {
    const readers = this.#readers[value]?.filter((reader) => reader !== except) ?? [];
    return Math.max(-1, ...readers.map((reader) => this.#rank[reader] ?? 0));
  }

  /** May the node `by`, executed at `rank`, write over what it reads as `value`? Nobody else reads those columns later. */
  #canOverwrite(value: Value, by: Value, rank: number): boolean {
    if (this.#isOutput[value] !== this.#isOutput[by] || value === this.#graph.logits) return false;
    const place = this.#rows(value);
    if (this.#lasting.has(place.buffer)) return false;
    return (this.#views.get(place.buffer) ?? []).every((other) => {
      const view = this.#rows(other);
      const apart = view.column + view.width <= place.column || place.column + place.width <= view.column;
      // A slice's source counts through its slices.
      return apart || this.#ownReads(other, by) < rank;
    });
  }

  /** The last rank at which `value` itself is read, its slices (which are views of their own) aside. */
  #ownReads(value: Value, except: Value): number {
    if (value === this.#graph.logits) return Infinity;
    const users = this.#users[value]?.filter((user) => user !== except && this.#node(user).op !== "slice") ?? [];
    const slices =
      this.#users[value]?.filter((user) => this.#node(user).op === "slice" && !this.#places.has(user)) ?? [];
    return Math.max(
      -1,
      ...users.map((user) => this.#rank[user] ?? 0),
      ...slices.map((slice) => this.#lastRead(slice, except)),
    );
  }

  /** The input's place where the node may write there, else a new one. */
  #inPlace(value: Value, inputs: readonly Value[]): Place {
    const rank = this.#rank[value] ?? 0;
    for (const input of inputs) if (this.#canOverwrite(input, value, rank)) return this.#put(value, this.#rows(input));
    return this.#newValue(value);
  }

  // --- weights -------------------------------------------------------------------------------------------------------

  #parts(weight: WeightRef): readonly (readonly [number, number])[] {
    const stored = this.#weights.get(weight);
    invariant(stored.kind === "matrix", `${weight.name} is no matrix`);
    return stored.segments.map(({ matrix, row }) => [matrix, row] as const);
  }

  #vector(weight: WeightRef): number {
    const stored = this.#weights.get(weight);
    invariant(stored.kind === "vector", `${weight.name} is no vector`);
    return stored.vector;
  }

  #reads8(weight: WeightRef): boolean {
    const stored = this.#weights.get(weight);
    return stored.kind === "matrix" && stored.int8;
  }

  // --- instructions --------------------------------------------------------------------------------------------------

  #push(value: Value, draft: Draft): void {
    this.#drafts.push({ ...draft, outputs: this.#isOutput[value] === true });
  }

  #emit(value: Value, node: Node): void {
    switch (node.op) {
      case "embed":
      case "positionEmbed": {
        const factor = node.op === "embed" ? (node.scale ?? 1) : 1;
        const cols = this.#width(value);
        this.#push(value, { op: node.op, parts: this.#parts(node.weight), factor, cols, y: this.#newValue(value) });
        return;
      }
      case "linear":
        if (!this.#linearGate(value, node)) this.#linear(value, node);
        return;
      case "rmsNorm": {
        const x = this.#rows(node.inputs[0]);
        const { groupSize, eps, weightOffset: offset } = node;
        const y = this.#inPlace(value, node.inputs);
        this.#push(value, {
          op: "rmsNorm",
          x,
          y,
          cols: x.width,
          groupSize,
          eps,
          offset,
          weight: this.#vector(node.weight),
        });
        return;
      }
      case "layerNorm": {
        const x = this.#rows(node.inputs[0]);
        const y = this.#inPlace(value, node.inputs);
        const bias = node.bias === undefined ? {} : { bias: this.#vector(node.bias) };
        this.#push(value, {
          op: "layerNorm",
          x,
          y,
          cols: x.width,
          eps: node.eps,
          weight: this.#vector(node.weight),
          ...bias,
        });
        return;
      }
      case "rope": {
        const x = this.#rows(node.inputs[0]);
        const [z, t] = this.#ropeTable(node);
        const y = this.#inPlace(value, node.inputs);
        const heads = x.width / node.headDim;
        const interleaved = node.style === "interleaved";
        const n = node.frequencies.length;
        this.#push(value, { op: "rope", x, y, z, t, cols: x.width, heads, headDim: node.headDim, n, interleaved });
        return;
      }
      case "kvWrite": {
        const [group, layer] = this.#state(node.state);
        this.#push(value, {
          op: "kvWrite",
          x: this.#rows(node.inputs[0]),
          y: this.#rows(node.inputs[1]),
          group,
          layer,
        });
        return;
      }
      case "attendState": {
        const [group, layer] = this.#state(node.state);
        const common = {
          x: this.#rows(node.inputs[0]),
          y: this.#newValue(value),
          heads: node.heads,
          factor: node.scale,
          eps: node.softcap ?? 0,
          group,
          layer,
        };
        this.#push(value, { op: "attend", ...common });
        this.#push(value, { op: "merge", ...common });
        return;
      }
      case "gate": {
        const [x, z] = [this.#rows(node.inputs[0]), this.#rows(node.inputs[1])];
        const y = this.#inPlace(value, node.inputs);
        this.#push(value, { op: "gate", x, z, y, cols: x.width, activation: node.activation });
        return;
      }
      case "activation": {
        const x = this.#rows(node.inputs[0]);
        this.#push(value, {
          op: "activate",
          x,
          y: this.#inPlace(value, node.inputs),
          cols: x.width,
          activation: node.activation,
        });
        return;
      }
      case "add": {
        const [x, z] = [this.#rows(node.inputs[0]), this.#rows(node.inputs[1])];
        this.#push(value, { op: "add", x, z, y: this.#inPlace(value, node.inputs), cols: x.width });
        return;
      }
      case "scale":
      case "softcap": {
        const x = this.#rows(node.inputs[0]);
        const factor = node.op === "scale" ? node.factor : node.cap;
        this.#push(value, { op: node.op, x, y: this.#inPlace(value, node.inputs), cols: x.width, factor });
        return;
      }
      case "slice": {
        const x = this.#rows(node.inputs[0]);
        this.#put(value, { ...x, column: x.column + node.start, width: node.width });
        return;
      }
      case "rows": {
        const x = this.#rows(node.inputs[0]);
        // Each pass over output rows reads it again.
        this.#lasting.add(x.buffer);
        this.#push(value, { op: "rows", x, y: this.#newValue(value), cols: x.width });
        return;
      }
      case "quantize": {
        const x = this.#rows(node.inputs[0]);
        const q = this.#new8(this.#maxRows(value), x.width);
        this.#places.set(value, q);
        this.#push(value, { op: "quantize", x, q });
        return;
      }
      case "moe":
        this.#moe(value, node);
        return;
      case "attention":
        throw new Error("Millrace defect: a plain attention op in a lowered graph");
      default:
        node satisfies never;
    }
  }

  #state(state: number): readonly [group: number, layer: number] {
    const found = this.#stateOf.get(state);
    invariant(found, `no group holds state ${state}`);
    return found;
  }

  #ropeTable(node: NodeOf<"rope">): readonly [Place, Place] {
    const key = `${node.magnitude} ${node.frequencies.join()}`;
    let table = this.#tables.get(key);
    if (table === undefined) {
      const { frequencies, magnitude } = node;
      const n = frequencies.length;
      const [y, z] = [this.#newRows(this.#options.maxTokens, n), this.#newRows(this.#options.maxTokens, n)];
      this.#drafts.push({ op: "ropeTable", y, z, frequencies, factor: magnitude, n, outputs: false });
      table = [y, z];
      this.#tables.set(key, table);
    }
    return table;
  }

  #input(value: Value): { readonly x: Place } | { readonly q: Place8 } {
    return this.#node(value).op === "quantize" ? { q: this.#rows8(value) } : { x: this.#rows(value) };
  }

  /** y = x Wᵀ + bias, and the residual add that is its only reader. */
  #linear(value: Value, node: NodeOf<"linear">): void {
    const cols = this.#width(value);
    const bias = node.bias === undefined ? {} : { bias: this.#vector(node.bias) };
    const draft = { op: "linear", ...this.#input(node.inputs[0]), parts: this.#parts(node.weight), cols, ...bias };
    const users = this.#users[value] ?? [];
    const sum = users[0];
    const add = sum === undefined || users.length !== 1 ? undefined : this.#node(sum);
    if (sum !== undefined && add?.op === "add" && value !== this.#graph.logits) {
      const other = add.inputs[0] === value ? add.inputs[1] : add.inputs[0];
      const rank = this.#rank[value] ?? 0;
      if (other !== value && (this.#rank[other] ?? 0) < rank && this.#places.has(other)) {
        const z = this.#rows(other);
        const y = this.#canOverwrite(other, sum, rank) ? this.#put(sum, z) : this.#newValue(sum);
        this.#absorbed.add(sum);
        this.#push(value, { ...draft, z, y, residual: true });
        return;
      }
    }
    this.#push(value, { ...draft, y: this.#newValue(value) });
  }

  /** A gate of the two halves of one linear, and its rounding: true where `value` is such a linear. */
  #linearGate(value: Value, node: NodeOf<"linear">): boolean {
    const half = this.#width(value) / 2;
    const parts = this.#parts(node.weight);
    if (node.bias !== undefined || half % 32 !== 0 || parts.length !== 1) return false;
    const [first, second, ...more] = this.#users[value] ?? [];
    if (first === undefined || second === undefined || more.length > 0) return false;
    const [a, b] = [this.#node(first), this.#node(second)];
    if (a.op !== "slice" || b.op !== "slice" || a.width !== half || b.width !== half) return false;
    const [gateSlice, upSlice] = a.start === 0 ? [first, second] : [second, first];
    const users = [...(this.#users[gateSlice] ?? []), ...(this.#users[upSlice] ?? [])];
    const gateValue = users[0];
    if (gateValue === undefined || users.length !== 2 || users[1] !== gateValue) return false;
    const gate = this.#node(gateValue);
    if (gate.op !== "gate" || gate.inputs[0] !== gateSlice || gate.inputs[1] !== upSlice) return false;

    const y = this.#newRows(this.#maxRows(value), 2 * half);
    this.#put(gateValue, { ...y, width: half });
    for (const done of [gateSlice, upSlice, gateValue]) this.#absorbed.add(done);
    const rounding = (this.#users[gateValue] ?? []).find((user) => this.#node(user).op === "quantize");
    const draft = {
      op: "linearGate",
      ...this.#input(node.inputs[0]),
      parts,
      y,
      cols: half,
      activation: gate.activation,
    };
    if (rounding === undefined) {
      this.#push(value, draft);
      return true;
    }
    const q2 = this.#new8(this.#maxRows(value), half);
    this.#places.set(rounding, q2);
    this.#absorbed.add(rounding);
    this.#push(value, { ...draft, q2 });
    return true;
  }

  #moe(value: Value, node: NodeOf<"moe">): void {
    const x = this.#rows(node.inputs[0]);
    const rows = this.#maxRows(value);
    const { experts: n, topK, normalize, activation } = node;
    const width = this.#width(value);
    const inner = (node.gateUp.shape[1] ?? 0) / 2;
    const reads8 = {
      router: this.#reads8(node.router),
      gateUp: this.#reads8(node.gateUp),
      down: this.#reads8(node.down),
    };
    invariant(
      node.int8 &&
        node.int8.router === reads8.router &&
        node.int8.gateUp === reads8.gateUp &&
        node.int8.down === reads8.down,
      "a moe node was lowered for other weights",
    );
    let input: { x: Place } | { q: Place8 } = { x };
    if (reads8.router || reads8.gateUp) {
      const q = this.#new8(rows, x.width);
      this.#push(value, { op: "quantize", x, q });
      input = { q };
    }
    const list = (count: number): Buffer => this.#arena.allocate(count * 4);
    const experts = [list(n + 1), list(n + 1), list(rows * topK), list(rows * topK)] as const;
    const logits = this.#newRows(rows, n);
    const ids = this.#newRows(rows, topK);
    const shares = this.#newRows(rows, topK);
    const hidden = this.#newRows(rows * topK, 2 * inner);
    const out = this.#newRows(rows * topK, width);
    const parts = this.#parts(node.router);
    this.#push(value, { op: "linear", ...(reads8.router ? input : { x }), y: logits, parts, cols: n });
    this.#push(value, { op: "route", x: logits, y: ids, z: shares, cols: n, topK, normalize });
    this.#push(value, { op: "groupExperts", y: ids, n, topK, experts });
    const source = reads8.gateUp ? input : { x };
    const gateUp = this.#parts(node.gateUp);
    this.#push(value, {
      op: "expertLinear",
      ...source,
      y: hidden,
      parts: gateUp,
      cols: 2 * inner,
      experts,
      gather: true,
    });
    const gated: Place = { ...hidden, width: inner };
    const up: Place = { ...gated, column: inner };
    this.#push(value, { op: "gate", x: gated, z: up, y: gated, cols: inner, activation, perRow: topK });
    let product: { x: Place } | { q: Place8 } = { x: gated };
    if (reads8.down) {
      const q = this.#new8(rows * topK, inner);
      this.#push(value, { op: "quantize", x: gated, q, perRow: topK });
      product = { q };
    }
    this.#push(value, { op: "expertLinear", ...product, y: out, parts: this.#parts(node.down), cols: width, experts });
    this.#push(value, { op: "combine", x: out, y: this.#newValue(value), z: shares, cols: width, topK, experts });
  }
}
