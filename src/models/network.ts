/**
 * What model files are written with: a GraphBuilder that finds its weights in the artifact by their part in the
 * network (names.ts) and checks their shapes. A missing tensor or one of another shape is an ArtifactError that
 * names it, what was found and what was expected. No values are read here, but for the lengths of an output matrix's rows.
 */
import type { ModelArtifact, Tensor } from "../artifact/artifact.ts";
import { madeVector } from "../artifact/made-tensor.ts";
import { tensorValues } from "../artifact/tensor-values.ts";
import { GraphBuilder } from "../graph/builder.ts";
import type { Graph, Value, WeightRef } from "../graph/graph.ts";
import { ConfigReader } from "./config.ts";
import { Layer } from "./layer.ts";
import type { TensorName, TensorNames } from "./names.ts";
import { TensorFinder } from "./tensors.ts";

export class Network<N extends TensorNames> {
  readonly g: GraphBuilder;
  readonly config: ConfigReader;
  readonly tensors: TensorFinder;
  readonly #names: N;
  readonly #prefix: string;

  constructor(artifact: ModelArtifact, name: string, names: N) {
    this.g = new GraphBuilder(name);
    this.config = new ConfigReader(artifact);
    this.tensors = new TensorFinder(artifact);
    this.#names = names;
    const embed = names.model["embed"]?.[1] ?? "";
    const known = names.prefixes.find((prefix) => artifact.tensors.has(`${prefix}${embed}.weight`));
    this.#prefix = known ?? names.prefixes[0] ?? "";
  }

  /** The token embeddings, scaled. `width` is checked; the vocabulary is the tensor's. */
  embed(width: number, scale = 1): Value {
    return this.g.embed(this.#embedding(width), scale);
  }

  /** Does the file have this part's weight? */
  has(part: keyof N["model"] & string): boolean {
    return this.tensors.find(this.#modelNames(part, "weight")) !== undefined;
  }

  /** The token embeddings and those of the segments that ids carry, where the file has a table of more than one. */
  embedSegments(width: number, part: keyof N["model"] & string): Value {
    const table = this.#embedding(width);
    const types = this.tensors.find(this.#modelNames(part, "weight"));
    if (types === undefined) return this.g.embed(table);
    const [size = 0] = table.shape;
    const weight = { name: types.name, shape: [types.shape[0] ?? 0, width], parts: [{ tensor: types.name }] };
    this.tensors.get([types.name], weight.shape);
    const words = this.g.embed(table, 1, { size, by: "id" });
    return this.g.add(words, this.g.embed(weight, 1, { size, by: "segment" }));
  }

  /** A linear by its full name, outside of the model whose prefix others have; as wide as its tensor. */
  outer(x: Value, name: string): Value {
    const outputs = this.tensors.find([`${name}.weight`])?.shape[0] ?? 0;
    const weight = this.#weight([`${name}.weight`], [outputs, this.g.width(x)]);
    const bias = this.tensors.find([`${name}.bias`]) && this.#weight([`${name}.bias`], [outputs]);
    return this.g.linear(x, weight, bias);
  }

  outerNorm(x: Value, name: string, eps: number): Value {
    return this.g.layerNorm(x, this.#weight([`${name}.weight`], [this.g.width(x)]), undefined, eps);
  }

  hasOuter(name: string): boolean {
    return this.tensors.find([`${name}.weight`]) !== undefined;
  }

  /** Another table of the tokens' rows, scaled. */
  table(part: keyof N["model"] & string, width: number, scale = 1): Value {
    const names = this.#modelNames(part, "weight");
    const rows = this.tensors.find(names)?.shape[0] ?? 0;
    return this.g.embed(this.#weight(names, [rows, width]), scale);
  }

  /** Embeddings of `count` learned positions; Hugging Face's file may have `skip` rows before them, GGUF's has none. */
  positions(part: keyof N["model"] & string, count: number, width: number, skip = 0): Value {
    const rowStart = this.config.format === "hf" ? skip : 0;
    const { name } = this.tensors.get(this.#modelNames(part, "weight"), [rowStart + count, width]);
    const whole = { tensor: name };
    const rows = rowStart === 0 ? whole : { ...whole, rowStart, rowCount: count };
    return this.g.positionEmbed({ name, shape: [count, width], parts: [rows] });
  }

  /** x Wᵀ by a matrix that belongs to no layer, with a bias where the file has one. */
  linear(x: Value, part: keyof N["model"] & string, outputs: number): Value {
    const biasNames = this.#modelNames(part, "bias");
    const bias = this.tensors.find(biasNames) && this.#weight(biasNames, [outputs]);
    return this.g.linear(x, this.#weight(this.#modelNames(part, "weight"), [outputs, this.g.width(x)]), bias);
  }

  /** x Wᵀ by the `index`th of a list of matrices. */
  numbered(x: Value, part: keyof N["model"] & string, index: number, outputs: number): Value {
    const names = this.#modelNames(part, `${index}.weight`);
    return this.g.linear(x, this.#weight(names, [outputs, this.g.width(x)]));
  }

  /** The parts of layer `index`. */
  layer(index: number): Layer<N> {
    return new Layer(this.g, this.tensors, (part, suffix) => {
      const name: TensorName | undefined = this.#names.layer[part];
      const [gguf, ...hf] = name ?? [part];
      if (this.config.format === "gguf") return gguf === "" ? [] : [`blk.${index}.${gguf}${suffix}`];
      return hf.map((rest) => `${this.#prefix}${this.#names.layers}.${index}.${rest}${suffix}`);
    });
  }

  /** x / rms(x) · weight by the model's last norm. */
  norm(x: Value, eps: number, weightOffset: 0 | 1 = 0): Value {
    const weight = this.#weight(this.#modelNames("norm", "weight"), [this.g.width(x)]);
    return this.g.rmsNorm(x, weight, { eps, weightOffset });
  }

  /** An RMS norm of no layer, over each group of columns. */
  groupNorm(x: Value, part: keyof N["model"] & string, eps: number, groupSize: number): Value {
    return this.g.rmsNorm(x, this.#weight(this.#modelNames(part, "weight"), [groupSize]), { eps, groupSize });
  }

  /** The model's last norm, or another of no layer, as a layer norm, with a bias where the file has one. */
  layerNorm(x: Value, eps: number, weightOffset: 0 | 1 = 0, part: keyof N["model"] & string = "norm"): Value {
    const shape = [this.g.width(x)];
    const names = this.#modelNames(part, "bias");
    const bias = this.tensors.find(names) === undefined ? undefined : this.#weight(names, shape);
    return this.g.layerNorm(x, this.#weight(this.#modelNames(part, "weight"), shape), bias, eps, weightOffset);
  }

  /**
   * The logits: an output matrix of its own (by Hugging Face's name `name`; with a bias where the file has one), or the
   * embeddings again where the two are tied. GGUF leaves a tied matrix out; config.json says so (`tiedByDefault` where it
   * is silent). What the matrix reads is the output `hidden`: the model's own vector of a row.
   */
  head(x: Value, tiedByDefault: boolean, name = "lm_head"): Value {
    this.g.output("hidden", x);
    const width = this.g.width(x);
    const gguf = this.config.format === "gguf";
    const names = (suffix: string): string[] =>
      gguf ? [`output.${suffix}`] : [`${name}.${suffix}`, `language_model.${name}.${suffix}`];
    const absent = this.tensors.find(names("weight")) === undefined;
    const tied = gguf ? absent : this.config.bool([null, "tie_word_embeddings"], tiedByDefault);
    const embedding = this.#embedding(width);
    if (tied) return this.g.linear(x, embedding);
    const [vocabulary = 0] = embedding.shape;
    const bias = this.tensors.find(names("bias")) && this.#weight(names("bias"), [vocabulary]);
    return this.g.linear(x, this.#weight(names("weight"), embedding.shape), bias);
  }

  /** The logits by an output matrix of its own whose rows are made to have length 1, where `isUnit`: GGUF's have it. */
  async headOfUnitRows(x: Value, isUnit: boolean): Promise<Value> {
    const logits = this.head(x, false);
    if (!isUnit || this.config.format === "gguf") return logits;
    const tensor = this.tensors.get(["lm_head.weight"], [this.g.width(logits), this.g.width(x)]);
    const made = madeVector(`1 / |${tensor.name}|`, await inverseRowNorms(tensor));
    return this.g.columnScale(logits, { name: made.name, shape: made.shape, parts: [{ tensor: made.name, made }] });
  }

  finish(logits: Value, contextLength: number): Graph {
    return this.g.finish(logits, { contextLength });
  }

  #embedding(width: number): WeightRef {
    const names = this.#modelNames("embed", "weight");
    const vocabulary = this.tensors.find(names)?.shape[0] ?? 0;
    return this.#weight(names, [vocabulary, width]);
  }

  #modelNames(part: string, suffix: string): string[] {
    const [gguf, ...hf] = this.#names.model[part] ?? [part];
    const names = this.config.format === "gguf" ? [gguf] : hf.map((name) => this.#prefix + name);
    return names.map((name) => `${name}.${suffix}`);
  }

  #weight(names: readonly string[], shape: readonly number[]): WeightRef {
    const { name } = this.tensors.get(names, shape);
    return { name, shape, parts: [{ tensor: name }] };
  }
}

/** Rows of a matrix that are read at a time. */
const ROWS_AT_ONCE = 1024;

/** 1 / √(Σ w²) of each row. */
async function inverseRowNorms(tensor: Tensor): Promise<Float64Array> {
  const [rows = 0, columns = 0] = tensor.shape;
  const out = new Float64Array(rows);
  for (let first = 0; first < rows; first += ROWS_AT_ONCE) {
    const count = Math.min(ROWS_AT_ONCE, rows - first);
    const values = await tensorValues(tensor, first * columns, count * columns);
    for (let row = 0; row < count; row++) {
      let sum = 0;
      for (let i = 0; i < columns; i++) sum += (values[row * columns + i] ?? 0) ** 2;
      out[first + row] = 1 / Math.sqrt(Math.max(sum, Number.MIN_VALUE));
    }
  }
  return out;
}
