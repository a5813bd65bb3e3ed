/**
 * The second half of compilation: a lowered graph → the executor's stages and the arena's plan. What is fused changes no
 * bit: a slice is a view, an elementwise op writes where its input lay, and what emit-products.ts says of linears. What has
 * rows of its own to look back at is emit-recurrent.ts's.
 */
import { invariant } from "../../errors.ts";
import type { GraphNode, NodeOf, Value } from "../../graph/graph.ts";
import { withAdapters } from "../../graph/passes.ts";
import { GraphError } from "../../graph/graph-error.ts";
import { graphInputs, tokenIdsOf } from "../../graph/interface.ts";
import type { CompileOptions, Lowered, StateGroup } from "../contract.ts";
import { findState } from "../groups.ts";
import { Arena } from "./arena.ts";
import { experts, headLinear, linear, type EmitContext } from "./emit-products.ts";
import { recurrent } from "./emit-recurrent.ts";
import type { Place, RowDraft, StateId } from "./instructions.ts";
import type { ProgramSpec } from "./native.ts";
import { Places } from "./places.ts";
import { finish, spanOf, stagesOf, touchBuffers, type Step } from "./stages.ts";
import type { CpuWeights } from "./weights.ts";

/** Bytes of an output's rows that the arena holds; more rows than that are done in several passes. */
const OUTPUT_BYTES = 16 << 20;
const LOGITS = "logits";

/** `groups`: those of the pool that the program runs on. */
export function emit(
  lowered: Lowered,
  weights: CpuWeights,
  groups: readonly StateGroup[],
  options: CompileOptions,
): ProgramSpec {
  return new Emitter(lowered, weights, groups, options).run();
}

class Emitter implements EmitContext {
  readonly places: Places;
  readonly maxRank: number;
  readonly #lowered: Lowered;
  readonly #weights: CpuWeights;
  readonly #groups: readonly StateGroup[];
  readonly #options: CompileOptions;
  /** Emitted already, as part of an instruction before. */
  readonly #absorbed = new Set<Value>();
  readonly #tables = new Map<string, { readonly cos: Place; readonly sin: Place }>();
  /** The logits last: while they wait for masks nothing else is left to do. */
  readonly #outputs: readonly string[];
  #steps: Step[] = [];

  constructor(lowered: Lowered, weights: CpuWeights, groups: readonly StateGroup[], options: CompileOptions) {
    const { maxAdapters = 0, maxRank = 0 } = options;
    const graph = maxAdapters > 0 ? withAdapters(lowered.graph) : lowered.graph;
    this.maxRank = maxRank;
    this.#lowered = { ...lowered, graph };
    this.#weights = weights;
    this.#groups = groups;
    this.#options = options;
    const { outputs } = graph;
    this.#outputs = [...options.outputs.filter((name) => name !== LOGITS), ...(outputs.has(LOGITS) ? [LOGITS] : [])];
    this.places = new Places(graph, this.#outputs, (output) =>
      output === undefined ? options.stepTokens : this.#passRows(output),
    );
  }

  run(): ProgramSpec {
    const { graph } = this.#lowered;
    let tableRows = 0;
    // The tables of all angles first: every layer reads them.
    for (const node of graph.nodes) if (node.op === "rope") this.#ropeTable(node);
    const sections = [undefined, ...this.#outputs].map((output) => {
      for (const value of this.places.order) {
        if (this.places.outputOf(value) !== output || this.#absorbed.has(value)) continue;
        const node = this.places.node(value);
        if (node.op === "positionEmbed") tableRows = rowsOf(node.weight);
        this.#emit(value, node);
      }
      if (output !== undefined) this.places.keep(this.places.rows(this.#result(output)));
      const stages = stagesOf(this.#steps);
      this.#steps = [];
      return { output, stages };
    });
    let time = 0;
    for (const { stages } of sections) time = touchBuffers(stages, time);
    for (const buffer of this.places.lasting()) Arena.touch(buffer, time + 1);
    const arenaBytes = this.places.arena.plan();

    const { outputs, inputs = [], maxInputRows = 0, maxAdapters = 0, maxRank: _, ...limits } = this.#options;
    const widths = graphInputs(graph);
    return {
      ...limits,
      inputs: inputs.map((name) => {
        const width = widths.get(name);
        if (width === undefined) throw new GraphError(`${graph.name}: there is no input "${name}"`);
        return width;
      }),
      maxInputRows,
      maxAdapters,
      outputs: outputs.length,
      tokens: sections.filter(({ output }) => output === undefined).flatMap(({ stages }) => stages.map(finish)),
      sections: sections.flatMap(({ output, stages }) => {
        if (output === undefined) return [];
        const value = this.#result(output);
        const place = spanOf(this.places.rows(value));
        const width = this.places.width(value);
        const rows = this.#passRows(output);
        return [{ stages: stages.map(finish), rows, place, width, output: outputs.indexOf(output) }];
      }),
      logits: this.#outputs.indexOf(LOGITS),
      arenaBytes,
      vocab: graph.vocabSize,
      tokenIds: tokenIdsOf(graph) ?? 2 ** 31 - 1,
      tableRows,
    };
  }

  #result(output: string): Value {
    const value = this.#lowered.graph.outputs.get(output);
    invariant(value !== undefined, `the graph has no output "${output}"`);
    return value;
  }

  #passRows(output: string): number {
    const width = this.#lowered.graph.widths[this.#result(output)];
    invariant(width !== undefined, `no width of the output "${output}"`);
    const fit = Math.floor(OUTPUT_BYTES / (4 * width));
    return Math.min(this.#options.maxOutputs, Math.max(16, Math.min(256, fit)));
  }

  // --- what emit-products.ts needs ---

  parts(weight: Parameters<CpuWeights["parts"]>[1]): ReturnType<CpuWeights["parts"]> {
    return this.#weights.parts(this.#lowered.source, weight);
  }

  vector(weight: Parameters<CpuWeights["vector"]>[1]): ReturnType<CpuWeights["vector"]> {
    return this.#weights.vector(this.#lowered.source, weight);
  }

  state(state: number): StateId {
    const spec = this.#lowered.graph.states[state];
    invariant(spec, `the graph has no state ${state}`);
    return findState(this.#groups, spec.name);
  }

  push(step: Step): void {
    this.#steps.push(step);
  }

  absorb(value: Value): void {
    this.#absorbed.add(value);
  }

  // --- nodes ---

  #row(draft: RowDraft): void {
    this.push({ kind: "rows", draft, perRow: 1 });
  }

  #emit(value: Value, node: GraphNode): void {
    const { places } = this;
    switch (node.op) {
      case "embed": {
        const { scale: factor = 1 } = node;
        const cols = places.width(value);
        const { size: segment = 0, by = "id" } = node.segments ?? {};
        const rows = { parts: this.parts(node.weight), factor, segment, bySegment: by === "segment" };
        this.#row({ op: "embed", ...rows, cols, y: places.newValue(value) });
        return;
      }
      case "positionEmbed": {
        const cols = places.width(value);
        this.#row({ op: "positionEmbed", parts: this.parts(node.weight), cols, y: places.newValue(value) });
        return;
      }
      case "input": {
        const x = places.rows(node.inputs[0]);
        const input = this.#options.inputs?.indexOf(node.name) ?? -1;
        this.#row({ op: "input", x, y: places.inPlace(value, node.inputs), cols: x.width, input });
        return;
      }
      case "linear":
        linear(this, value, node);
        return;
      case "lora":
        throw new Error("Millrace defect: what an adapter adds is its linear's to emit");
      case "headLinear":
        headLinear(this, value, node);
        return;
      case "rmsNorm": {
        const x = places.rows(node.inputs[0]);
        const y = places.inPlace(value, node.inputs);
        const { groupSize, eps, weightOffset } = node;
        const weight = node.weight === undefined ? {} : { weight: this.vector(node.weight) };
        this.#row({ op: "rmsNorm", x, y, cols: x.width, groupSize, eps, weightOffset, ...weight });
        return;
      }
      case "layerNorm": {
        const x = places.rows(node.inputs[0]);
        const y = places.inPlace(value, node.inputs);
        const bias = node.bias === undefined ? {} : { bias: this.vector(node.bias) };
        const weight = node.weight === undefined ? {} : { weight: this.vector(node.weight) };
        this.#row({
          op: "layerNorm",
          x,
          y,
          cols: x.width,
          groupSize: node.groupSize,
          eps: node.eps,
          weightOffset: node.weightOffset,
          ...weight,
          ...bias,
        });
        return;
      }
      case "rope": {
        const x = places.rows(node.inputs[0]);
        const table = this.#ropeTable(node);
        const y = places.inPlace(value, node.inputs);
        const { headDim } = node;
        const interleaved = node.style === "interleaved";
        const pairs = node.frequencies.length;
        this.#row({ op: "rope", x, y, ...table, heads: x.width / headDim, headDim, pairs, interleaved });
        return;
      }
      case "kvWrite": {
        const [keys, values] = [places.rows(node.inputs[0]), places.rows(node.inputs[1])];
        this.#row({ op: "kvWrite", keys, values, ...this.state(node.state) });
        return;
      }
      case "latentWrite":
        this.#row({ op: "kvWrite", keys: places.rows(node.inputs[0]), ...this.state(node.state) });
        return;
      case "concat": {
        const [a, b] = [places.rows(node.inputs[0]), places.rows(node.inputs[1])];
        const { heads } = node;
        const shape = { heads, aCols: a.width / heads, bCols: b.width / heads };
        this.#row({ op: "concat", a, b, y: places.newValue(value), ...shape });
        return;
      }
      case "writeRows": {
        const x = places.rows(node.inputs[0]);
        this.#row({ op: "writeRows", x, cols: x.width, column: 0, width: x.width, ...this.state(node.state) });
        return;
      }
      case "readRows": {
        const y = places.newValue(value);
        const draft = { op: "readRows", y, cols: y.width, back: node.back, ...this.state(node.state) } as const;
        // It reads other rows' places: all threads have written theirs before.
        this.push({ kind: "rows", draft, perRow: 1, apart: true });
        return;
      }
      case "conv":
      case "scan":
      case "selectiveScan":
      case "wkv":
      case "matrixScan":
        recurrent(this, value, node);
        return;
      case "bias": {
        const x = places.rows(node.inputs[0]);
        const y = places.inPlace(value, node.inputs);
        this.#row({ op: "bias", x, y, cols: x.width, weight: this.vector(node.weight) });
        return;
      }
      case "pick": {
        const x = places.rows(node.inputs[0]);
        const y = places.newValue(value);
        this.#row({ op: "pick", x, y, columns: node.columns, width: x.width, cols: y.width });
        return;
      }
      case "columnScale": {
        const x = places.rows(node.inputs[0]);
        const y = places.inPlace(value, node.inputs);
        const { weight, factor } = node;
        this.#row({
          op: "columnScale",
          x,
          y,
          cols: x.width,
          weight: this.vector(weight),
          weights: rowsOf(weight),
          factor,
        });
        return;
      }
      case "attendState": {
        const { heads, scale, softcap = 0, chunk = 0, ahead = -1, sinks, slopes, distances } = node;
        const [q, y] = [places.rows(node.inputs[0]), places.newValue(value)];
        const by = { ...(slopes && { slopes }), ...(distances && { distances }) };
        const vectors = { ...(sinks && { sinks: this.vector(sinks) }), ...by };
        const options = { heads, scale, softcap, chunk, ahead, ...vectors };
        this.push({ kind: "wide", draft: { op: "attend", q, y, ...options, ...this.state(node.state) } });
        return;
      }
      case "gate": {
        const [gate, up] = [places.rows(node.inputs[0]), places.rows(node.inputs[1])];
        const y = places.inPlace(value, gate.width === up.width ? node.inputs : [node.inputs[1]]);
        const shape = { cols: up.width, gateCols: gate.width, paired: false };
        this.#row({ op: "gate", gate, up, y, ...shape, activation: node.activation });
        return;
      }
      case "activation": {
        const x = places.rows(node.inputs[0]);
        const y = places.inPlace(value, node.inputs);
        this.#row({ op: "activate", x, y, cols: x.width, activation: node.activation });
        return;
      }
      case "add": {
        const [a, b] = [places.rows(node.inputs[0]), places.rows(node.inputs[1])];
        this.#row({ op: "add", a, b, y: places.inPlace(value, node.inputs), cols: a.width });
        return;
      }
      case "scale": {
        const x = places.rows(node.inputs[0]);
        this.#row({ op: "scale", x, y: places.inPlace(value, node.inputs), cols: x.width, factor: node.factor });
        return;
      }
      case "clamp": {
        const x = places.rows(node.inputs[0]);
        this.#row({ op: "clamp", x, y: places.inPlace(value, node.inputs), cols: x.width, limit: node.limit });
        return;
      }
      case "softcap": {
        const x = places.rows(node.inputs[0]);
        this.#row({ op: "softcap", x, y: places.inPlace(value, node.inputs), cols: x.width, cap: node.cap });
        return;
      }
      case "slice": {
        const x = places.rows(node.inputs[0]);
        places.put(value, { ...x, column: x.column + node.start, width: node.width });
        return;
      }
      case "rows": {
        const x = places.rows(node.inputs[0]);
        places.keep(x);
        this.#row({ op: "rows", x, y: places.newValue(value), cols: x.width });
        return;
      }
      case "quantize": {
        const x = places.rows(node.inputs[0]);
        const q = places.newRows8(places.maxRows(value), x.width);
        places.put8(value, q);
        this.#row({ op: "quantize", x, q, cols: x.width });
        return;
      }
      case "positionScale": {
        const x = places.rows(node.inputs[0]);
        const { every, offset, factors } = node;
        const y = places.inPlace(value, node.inputs);
        this.#row({ op: "positionScale", x, y, cols: x.width, every, offset, factors });
        return;
      }
      case "route": {
        const logits = places.rows(node.inputs[0]);
        const keys = places.newRows(places.maxRows(value), logits.width);
        const { topK, scores, bias, groups, normalize, factor } = node;
        this.#row({
          op: "route",
          logits,
          keys,
          routes: places.newValue(value),
          experts: logits.width,
          topK,
          sigmoid: scores === "sigmoid",
          ...(bias && { bias: this.vector(bias) }),
          groups: groups?.count ?? 0,
          keptGroups: groups?.kept ?? 0,
          twoLargest: groups?.by === "two largest",
          normalize,
          factor,
        });
        return;
      }
      case "experts":
        experts(this, value, node);
        return;
      case "attention":
      case "latentAttention":
        throw new Error("Millrace defect: a plain attention op in a lowered graph");
      default:
        node satisfies never;
    }
  }

  #ropeTable(node: NodeOf<"rope">): { readonly cos: Place; readonly sin: Place } {
    const key = `${node.magnitude} ${node.frequencies.join()}`;
    let table = this.#tables.get(key);
    if (table === undefined) {
      const { frequencies, magnitude } = node;
      const half = (): Place => this.places.newRows(this.#options.stepTokens, frequencies.length);
      table = { cos: half(), sin: half() };
      this.#row({ op: "ropeTable", ...table, frequencies, magnitude });
      this.#tables.set(key, table);
    }
    return table;
  }
}

function rowsOf(weight: { readonly name: string; readonly shape: readonly number[] }): number {
  const [rows] = weight.shape;
  invariant(rows !== undefined, `${weight.name} has no rows`);
  return rows;
}
