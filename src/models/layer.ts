/**
 * One layer of a network: its parts by name (names.ts), as steps of the graph. Weights are found in the artifact and their
 * shapes checked; a missing one is an ArtifactError. Where a file keeps parts in one matrix, they are taken apart here.
 */
import type { GraphBuilder } from "../graph/builder.ts";
import type { Activation, GateKind, NodeOf, Value, WeightPart, WeightRef } from "../graph/graph.ts";
import type { Dimensions } from "./dimensions.ts";
import { expertWeights } from "./experts.ts";
import type { TensorNames } from "./names.ts";
import type { TensorFinder } from "./tensors.ts";

/** What the two factors of a matrix "….weight" are called, where a model keeps it as b · a. */
export const lowRankName = {
  a: (name: string): string => name.replace(/(\.weight)?$/, ".low_a.weight"),
  b: (name: string): string => name.replace(/(\.weight)?$/, ".low_b.weight"),
} as const;

/** What differs from one linear to another. */
export interface LinearOptions {
  /** Biases are used where the file has them; "required": the family always has them; "none": the family adds it itself. */
  readonly bias?: "required" | "none";
  /** Hugging Face's file holds the matrix as [K, N] (GPT-2's Conv1D). */
  readonly transposed?: boolean;
  /** The part's names are whole: no ".weight" follows. */
  readonly bare?: boolean;
}

/** How rows are routed (see the op `route`), and what an expert is (see the op `experts`). */
export interface MoeOptions {
  readonly experts: number;
  readonly topK: number;
  /** Columns inside one expert. */
  readonly hidden: number;
  readonly normalize: boolean;
  readonly activation: GateKind;
  /** Default "softmax". */
  readonly scores?: RouteOptions["scores"];
  readonly groups?: RouteOptions["groups"];
  /** Default 1. */
  readonly factor?: number;
  /** Default "output". */
  readonly weighs?: "output" | "input";
  /** Gate and up rows of an expert take turns in Hugging Face's file. */
  readonly paired?: boolean;
  /** Hugging Face's file holds each expert's matrices as [K, N]. */
  readonly transposed?: boolean;
  /** An expert has no gate of its own: what it makes of its input gates itself. */
  readonly gatesItself?: boolean;
}

type RouteOptions = NodeOf<"route">;

/** One value for each width. */
type Split<W extends readonly number[]> = { readonly [I in keyof W]: Value };

/** A run of a stored matrix's rows. */
export type Rows = Pick<Required<WeightPart>, "rowStart" | "rowCount">;

export class Layer<N extends TensorNames> {
  readonly #g: GraphBuilder;
  readonly #tensors: TensorFinder;
  /** What a part's tensor may be called; a part that the family doesn't have is found in no file. */
  readonly #names: (part: string, suffix: string) => string[];

  constructor(g: GraphBuilder, tensors: TensorFinder, names: (part: string, suffix: string) => string[]) {
    this.#g = g;
    this.#tensors = tensors;
    this.#names = names;
  }

  /** Does the file have this part's weight? */
  has(part: keyof N["layer"] & string): boolean {
    return this.#has(part);
  }

  /** x Wᵀ (+ bias): `[T, K]` → `[T, outputs]`. */
  linear(x: Value, part: keyof N["layer"] & string, outputs: number, options: LinearOptions = {}): Value {
    return this.#linear(x, part, outputs, options);
  }

  /** Columns that a part's matrix gives, read off the file: a low rank that no config tells. */
  outputs(
    part: keyof N["layer"] & string,
    { transposed, bare }: Pick<LinearOptions, "transposed" | "bare"> = {},
  ): number {
    const names = this.#names(part, bare === true ? "" : ".weight");
    const { shape = [] } = this.#tensors.find(names) ?? {};
    const isTurned = transposed === true && this.#tensors.artifact.config.format === "hf";
    return shape[isTurned ? 1 : 0] ?? 1;
  }

  /** A linear whose output is several values side by side: q, k and v in one matrix. */
  split<const W extends readonly number[]>(
    x: Value,
    part: keyof N["layer"] & string,
    widths: W,
    options: LinearOptions = {},
  ): Split<W> {
    return this.#split(x, part, widths, options);
  }

  /** Queries, keys and values, of one matrix ("qkv") where the file has it, or of three. */
  qkv(x: Value, qWidth: number, kvWidth: number): readonly [q: Value, k: Value, v: Value] {
    if (this.#has("qkv")) return this.#split(x, "qkv", [qWidth, kvWidth, kvWidth] as const, {});
    return [this.#linear(x, "q", qWidth, {}), this.#linear(x, "k", kvWidth, {}), this.#linear(x, "v", kvWidth, {})];
  }

  /**
   * Queries, keys and values of one matrix that holds, for each key/value head, its queries' rows, then its key's, then
   * its value's. GGUF's converter has put all queries first, then all keys, then all values.
   */
  groupedQkv(
    x: Value,
    part: keyof N["layer"] & string,
    { heads, kvHeads, headDim }: Pick<Dimensions, "heads" | "kvHeads" | "headDim">,
  ): readonly [q: Value, k: Value, v: Value] {
    const widths = [heads * headDim, kvHeads * headDim, kvHeads * headDim] as const;
    if (this.#tensors.artifact.config.format === "gguf") return this.#split(x, part, widths, {});
    const perGroup = heads / kvHeads;
    const stride = (perGroup + 2) * headDim;
    const rows = (first: number, count: number): Rows[] =>
      Array.from({ length: kvHeads }, (_, group) => ({
        rowStart: group * stride + first * headDim,
        rowCount: count * headDim,
      }));
    const total = kvHeads * stride;
    return [
      this.#linearRows(x, part, total, rows(0, perGroup), "q"),
      this.#linearRows(x, part, total, rows(perGroup, 1), "k"),
      this.#linearRows(x, part, total, rows(perGroup + 1, 1), "v"),
    ];
  }

  /** A vector of `length` values, which has the part's own name (`suffix` in GGUF's file). */
  vector(part: keyof N["layer"] & string, length: number, suffix = ".weight"): WeightRef {
    return this.#vector([...this.#names(part, ""), ...this.#names(part, suffix)], length);
  }

  /** Of each of `heads` runs of `stride` rows of one matrix, `count` rows from `first` on. */
  linearRuns(
    x: Value,
    part: keyof N["layer"] & string,
    { heads, stride, first, count }: { heads: number; stride: number; first: number; count: number },
  ): Value {
    const rows = Array.from({ length: heads }, (_, head) => ({ rowStart: head * stride + first, rowCount: count }));
    return this.#linearRows(x, part, heads * stride, rows, `${first} … ${first + count - 1} of ${stride}`);
  }

  /**
   * Each head's columns by a matrix of their own, `shape` = [heads, N, K]: the stack `part`, or where the file has none, of
   * each of the runs of `stride` rows of the matrix `from.part` those from `first` on, which may be transposed.
   */
  headLinear(
    x: Value,
    part: keyof N["layer"] & string,
    shape: readonly [heads: number, n: number, k: number],
    from: { part: keyof N["layer"] & string; stride: number; first: number; transpose?: true },
  ): Value {
    const [heads, n, k] = shape;
    if (this.has(part)) {
      const { name } = this.#tensors.get(this.#names(part, ".weight"), shape);
      return this.#g.headLinear(x, { name, shape, parts: [{ tensor: name }] });
    }
    const { stride, first, transpose } = from;
    const stored = [heads * stride, transpose === true ? n : k];
    const { name } = this.#tensors.get(this.#names(from.part, ".weight"), stored);
    const parts = Array.from({ length: heads }, (_, head) => ({
      tensor: name,
      rowStart: head * stride + first,
      rowCount: transpose === true ? k : n,
      ...(transpose && { transpose }),
    }));
    return this.#g.headLinear(x, { name: `${name} (${part})`, shape, parts });
  }

  /**
   * Each head's columns by a matrix of their own, of a stack that has no ".weight" in its name and that Hugging Face's file
   * holds as [heads, k, n].
   */
  headStack(x: Value, part: keyof N["layer"] & string, [heads, n, k]: readonly [number, number, number]): Value {
    const isTurned = this.#tensors.artifact.config.format === "hf";
    const { name } = this.#tensors.get(this.#names(part, ""), isTurned ? [heads, k, n] : [heads, n, k]);
    const slices = Array.from({ length: heads }, (_, slice) => ({ tensor: name, slice, transpose: true }));
    return this.#g.headLinear(x, { name, shape: [heads, n, k], parts: isTurned ? slices : [{ tensor: name }] });
  }

  /** A linear of some rows of a stored matrix of `total` rows, with a bias of another name; `label` tells it from others. */
  rows(
    x: Value,
    part: keyof N["layer"] & string,
    total: number,
    rows: readonly Rows[],
    label: string,
    bias?: WeightRef,
  ): Value {
    return this.#linearRows(x, part, total, rows, label, bias);
  }

  /** A part's values in their order, whatever their shape in the file. */
  values(part: string, suffix: ".weight" | ".bias" | "", count: number): WeightRef {
    const { name } = this.#tensors.values(this.#names(part, suffix), count);
    return { name, shape: [count], parts: [{ tensor: name }] };
  }

  /** Does the file have a tensor of this part's whole name? */
  hasValues(part: keyof N["layer"] & string): boolean {
    return this.#tensors.find(this.#names(part, "")) !== undefined;
  }

  /** A part's values as one row for each head: what `headLinear` makes a sum over each head's columns of. */
  headVectors(part: keyof N["layer"] & string, heads: number, headDim: number): WeightRef {
    const { name, parts } = this.values(part, "", heads * headDim);
    return { name: `${name} (by head)`, shape: [heads, 1, headDim], parts };
  }

  /** The `index`th of `rows` runs of `count` values that a file holds in one tensor. */
  valuesRow(part: string, [rows, count]: readonly [number, number], index: number): WeightRef {
    const { name } = this.#tensors.values(this.#names(part, ""), rows * count);
    const run = { tensor: name, rowStart: index * count, rowCount: count };
    return { name: `${name} (${index})`, shape: [count], parts: [run] };
  }

  /** The same, or undefined where the file has none. */
  optionalValues(part: string, suffix: ".weight" | ".bias" | "", count: number): WeightRef | undefined {
    return this.#tensors.find(this.#names(part, suffix)) && this.values(part, suffix, count);
  }

  /** down(activation(up x)), `hidden` wide inside. */
  mlp(x: Value, hidden: number, activation: Activation, options: LinearOptions = {}): Value {
    const up = this.#linear(x, "up", hidden, options);
    return this.#linear(this.#g.activation(up, activation), "down", this.#g.width(x), options);
  }

  /**
   * down(activation(gate x) · up x), `hidden` wide inside (Shazeer 2020); gate and up may stand in one matrix, `gateUp`.
   * "shared": the parts of an expert that sees every token.
   */
  gatedMlp(x: Value, hidden: number, activation: Activation, which: "own" | "shared" = "own"): Value {
    const [gateUp, gatePart, upPart, down] =
      which === "own" ? ["gateUp", "gate", "up", "down"] : ["sharedGateUp", "sharedGate", "sharedUp", "sharedDown"];
    const [gate, up] = this.#has(gateUp)
      ? this.#split(x, gateUp, [hidden, hidden] as const, {})
      : [this.#linear(x, gatePart, hidden, {}), this.#linear(x, upPart, hidden, {})];
    return this.#linear(this.#g.gate(gate, up, activation), down, this.#g.width(x), {});
  }

  /** RMS norm over the whole width, or over each head where `headDim` is given. */
  rmsNorm(
    x: Value,
    part: keyof N["layer"] & string,
    eps: number,
    options: { weightOffset?: 0 | 1; headDim?: number } = {},
  ): Value {
    const groupSize = options.headDim ?? this.#g.width(x);
    const weight = this.#vector(this.#names(part, ".weight"), groupSize);
    return this.#g.rmsNorm(x, weight, { eps, groupSize, weightOffset: options.weightOffset ?? 0 });
  }

  /** Layer norm, with a bias where the file has one, or always. */
  layerNorm(
    x: Value,
    part: keyof N["layer"] & string,
    eps: number,
    options: Pick<LinearOptions, "bias"> & { readonly weightOffset?: 0 | 1 } = {},
  ): Value {
    const width = this.#g.width(x);
    const weight = this.#vector(this.#names(part, ".weight"), width);
    return this.#g.layerNorm(x, weight, this.#bias(part, width, options), eps, options.weightOffset);
  }

  /**
   * A mixture of experts: the parts `router` (with a bias where the file has one), `routerBias` (added to what chooses, not
   * to the shares) and those of experts. The router may read another value than the experts do.
   */
  moe(x: Value, options: MoeOptions, routed: Value = x): Value {
    const { experts, topK, hidden, normalize, activation, groups, factor = 1, scores = "softmax" } = options;
    const logits = this.#linear(routed, "router", experts, {});
    const biasNames = [...this.#names("routerBias", ""), ...this.#names("routerBias", ".bias")];
    const bias = this.#tensors.find(biasNames);
    const routes = this.#g.route(logits, {
      topK,
      scores,
      normalize,
      factor,
      ...(groups && { groups }),
      ...(bias && { bias: { name: bias.name, shape: [experts], parts: [{ tensor: bias.name }] } }),
    });
    const find = (part: string, suffix: string): string[] => this.#names(part, suffix);
    const transposed = options.transposed === true;
    const gate = options.gatesItself === true ? "expertUp" : "expertGate";
    const weights = expertWeights(this.#tensors, find, { experts, hidden, width: this.#g.width(x), transposed, gate });
    const paired = options.paired === true && this.#tensors.artifact.config.format === "hf";
    const shape = { ...weights, ...(paired && { paired: true as const }) };
    return this.#g.experts(x, routes, { ...shape, activation, weighs: options.weighs ?? "output" });
  }

  /** An expert that sees every token, times the sigmoid of a gate of one row where there is the part `sharedScale`. */
  sharedExpert(x: Value, hidden: number, activation: Activation): Value {
    const mlp = this.gatedMlp(x, hidden, activation, "shared");
    if (!this.#has("sharedScale")) return mlp;
    const inputs = this.#g.width(x);
    const gguf = this.#tensors.artifact.config.format === "gguf";
    const { name } = this.#tensors.get(this.#names("sharedScale", ".weight"), gguf ? [inputs] : [1, inputs]);
    const row = { tensor: name, rowStart: 0, rowCount: 1 };
    const gate = this.#g.linear(x, { name, shape: [1, inputs], parts: [row] });
    return this.#g.gate(gate, mlp, "sigmoid");
  }

  #has(part: string): boolean {
    const names = this.#names(part, ".weight");
    return this.#tensors.find([...names, ...names.map(lowRankName.a)]) !== undefined;
  }

  #linear(x: Value, part: string, outputs: number, options: LinearOptions): Value {
    const inputs = this.#g.width(x);
    const names = this.#names(part, options.bare === true ? "" : ".weight");
    const inner = this.#tensors.find(names.map(lowRankName.a));
    if (inner !== undefined) return this.#lowRank(x, part, outputs, options, inner.shape[0] ?? 0);
    const transposed = options.transposed === true && this.#tensors.artifact.config.format === "hf";
    const { name } = this.#tensors.get(names, transposed ? [inputs, outputs] : [outputs, inputs]);
    const source: WeightPart = transposed ? { tensor: name, transpose: true } : { tensor: name };
    const weight = { name, shape: [outputs, inputs], parts: [source] };
    return this.#g.linear(x, weight, this.#bias(part, outputs, options));
  }

  /** b (a x) for two narrow matrices in the place of one, or beside it (`compress/low-rank.ts` makes them). */
  #lowRank(x: Value, part: string, outputs: number, options: LinearOptions, rank: number): Value {
    const names = this.#names(part, ".weight");
    const inputs = this.#g.width(x);
    const through = (y: Value, which: "a" | "b", n: number, k: number, bias?: WeightRef): Value => {
      const { name } = this.#tensors.get(names.map(lowRankName[which]), [n, k]);
      return this.#g.linear(y, { name, shape: [n, k], parts: [{ tensor: name }] }, bias);
    };
    const inner = through(x, "a", rank, inputs);
    const bias = this.#bias(part, outputs, options);
    if (this.#tensors.find(names) === undefined) return through(inner, "b", outputs, rank, bias);
    const { name } = this.#tensors.get(names, [outputs, inputs]);
    const whole = this.#g.linear(x, { name, shape: [outputs, inputs], parts: [{ tensor: name }] }, bias);
    return this.#g.add(whole, through(inner, "b", outputs, rank));
  }

  #split<const W extends readonly number[]>(x: Value, part: string, widths: W, options: LinearOptions): Split<W> {
    const total = widths.reduce((sum, width) => sum + width, 0);
    const whole = this.#linear(x, part, total, options);
    let start = 0;
    const slices = widths.map((width) => {
      start += width;
      return this.#g.slice(whole, start - width, width);
    });
    return slices as unknown as Split<W>;
  }

  /** A linear of some rows of a stored matrix of `total` rows; `label` makes its name unique. */
  #linearRows(x: Value, part: string, total: number, rows: readonly Rows[], label: string, ownBias?: WeightRef): Value {
    const inputs = this.#g.width(x);
    const { name } = this.#tensors.get(this.#names(part, ".weight"), [total, inputs]);
    const bias = this.#bias(part, total, {});
    const outputs = rows.reduce((sum, { rowCount }) => sum + rowCount, 0);
    const pick = (tensor: string, shape: readonly number[]): WeightRef => ({
      name: `${tensor} (${label})`,
      shape,
      parts: rows.map((range) => ({ tensor, ...range })),
    });
    return this.#g.linear(x, pick(name, [outputs, inputs]), ownBias ?? (bias && pick(bias.name, [outputs])));
  }

  #bias(part: string, length: number, { bias }: Pick<LinearOptions, "bias">): WeightRef | undefined {
    const names = this.#names(part, ".bias");
    const wanted = bias === "required" || (bias !== "none" && this.#tensors.find(names) !== undefined);
    return wanted ? this.#vector(names, length) : undefined;
  }

  #vector(names: readonly string[], length: number): WeightRef {
    const { name } = this.#tensors.get(names, [length]);
    return { name, shape: [length], parts: [{ tensor: name }] };
  }
}
