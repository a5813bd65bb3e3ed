/**
 * What model files are written with: a GraphBuilder that finds its weights in the artifact by their part in the
 * network (names.ts) and checks their shapes. A missing tensor or one of another shape is an ArtifactError that
 * names it, what was found and what was expected. No values are read here.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import { GraphBuilder } from "../graph/builder.ts";
import type { Activation, Graph, Value, WeightPart, WeightRef } from "../graph/graph.ts";
import { ConfigReader } from "./config.ts";
import { expertWeights } from "./experts.ts";
import type { TensorName, TensorNames } from "./names.ts";
import { TensorFinder } from "./tensors.ts";

/** What differs from one linear to another. */
export interface LinearOptions {
  /** Biases are used where the file has them; "required": the family always has them. */
  readonly bias?: "required";
  /** Hugging Face's file holds the matrix as [K, N] (GPT-2's Conv1D). */
  readonly transposed?: boolean;
}

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

  /** Embeddings of learned positions. */
  positions(part: keyof N["model"] & string, count: number, width: number): Value {
    return this.g.positionEmbed(this.#weight(this.#modelNames(part, "weight"), [count, width]));
  }

  /** The parts of layer `index`. */
  layer(index: number): Layer<N> {
    return new Layer(this.g, this.tensors, (part, suffix) => {
      const name: TensorName | undefined = this.#names.layer[part];
      const [gguf, ...hf] = name ?? [part];
      if (this.config.format === "gguf") return [`blk.${index}.${gguf}${suffix}`];
      return hf.map((rest) => `${this.#prefix}${this.#names.layers}.${index}.${rest}${suffix}`);
    });
  }

  /** x / rms(x) · weight by the model's last norm. */
  norm(x: Value, eps: number, weightOffset: 0 | 1 = 0): Value {
    const weight = this.#weight(this.#modelNames("norm", "weight"), [this.g.width(x)]);
    return this.g.rmsNorm(x, weight, { eps, weightOffset });
  }

  layerNorm(x: Value, eps: number): Value {
    const shape = [this.g.width(x)];
    const bias = this.#weight(this.#modelNames("norm", "bias"), shape);
    return this.g.layerNorm(x, this.#weight(this.#modelNames("norm", "weight"), shape), bias, eps);
  }

  /**
   * The logits: an output matrix of its own, or the embeddings again where the two are tied. GGUF leaves a tied
   * matrix out; config.json says so (`tiedByDefault` where it is silent).
   */
  head(x: Value, tiedByDefault: boolean): Value {
    const width = this.g.width(x);
    const embedding = this.#embedding(width);
    const names =
      this.config.format === "gguf" ? ["output.weight"] : ["lm_head.weight", "language_model.lm_head.weight"];
    const absent = this.tensors.find(names) === undefined;
    const gguf = this.config.format === "gguf";
    const tied = gguf ? absent : this.config.bool([null, "tie_word_embeddings"], tiedByDefault);
    return this.g.linear(x, tied ? embedding : this.#weight(names, embedding.shape));
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

/** One layer: its parts by name, as steps of the network. */
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
    return this.#tensors.find(this.#names(part, ".weight")) !== undefined;
  }

  /** x Wᵀ (+ bias): `[T, K]` → `[T, outputs]`. */
  linear(x: Value, part: keyof N["layer"] & string, outputs: number, options: LinearOptions = {}): Value {
    return this.#linear(x, part, outputs, options);
  }

  /** A linear whose output is several values side by side: q, k and v in one matrix. */
  split<const W extends readonly number[]>(
    x: Value,
    part: keyof N["layer"] & string,
    widths: W,
    options: LinearOptions = {},
  ): { readonly [I in keyof W]: Value } {
    return this.#split(x, part, widths, options);
  }

  /**
   * down(activation(gate x) · up x), `hidden` wide inside (Shazeer 2020); gate and up stand in one matrix where the
   * family calls it `gateUp`.
   */
  gatedMlp(x: Value, hidden: number, activation: Activation): Value {
    const fused = this.#tensors.find(this.#names("gateUp", ".weight")) !== undefined;
    const [gate, up] = fused
      ? this.#split(x, "gateUp", [hidden, hidden] as const, {})
      : [this.#linear(x, "gate", hidden, {}), this.#linear(x, "up", hidden, {})];
    return this.#linear(this.#g.gate(gate, up, activation), "down", this.#g.width(x), {});
  }

  #split<const W extends readonly number[]>(
    x: Value,
    part: string,
    widths: W,
    options: LinearOptions,
  ): { readonly [I in keyof W]: Value } {
    const whole = this.#linear(
      x,
      part,
      widths.reduce((sum, width) => sum + width, 0),
      options,
    );
    let start = 0;
    const slices = widths.map((width) => {
      start += width;
      return this.#g.slice(whole, start - width, width);
    });
    return slices as { readonly [I in keyof W]: Value };
  }

  #linear(x: Value, part: string, outputs: number, options: LinearOptions): Value {
    const inputs = this.#g.width(x);
    const names = this.#names(part, ".weight");
    const transposed = options.transposed === true && this.#tensors.artifact.config.format === "hf";
    const { name } = this.#tensors.get(names, transposed ? [inputs, outputs] : [outputs, inputs]);
    const source: WeightPart = transposed ? { tensor: name, transpose: true } : { tensor: name };
    const biasNames = this.#names(part, ".bias");
    const biased = options.bias === "required" || this.#tensors.find(biasNames) !== undefined;
    const bias = biased ? this.#vector(biasNames, outputs) : undefined;
    return this.#g.linear(x, { name, shape: [outputs, inputs], parts: [source] }, bias);
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

  layerNorm(x: Value, part: keyof N["layer"] & string, eps: number): Value {
    const width = this.#g.width(x);
    const bias = this.#vector(this.#names(part, ".bias"), width);
    return this.#g.layerNorm(x, this.#vector(this.#names(part, ".weight"), width), bias, eps);
  }

  /** A mixture of experts, `hidden` wide each (see the op `moe`). */
  moe(
    x: Value,
    options: { experts: number; topK: number; hidden: number; normalize: boolean; activation: Activation },
  ): Value {
    const { hidden, ...rest } = options;
    const width = this.#g.width(x);
    const { name } = this.#tensors.get(this.#names("router", ".weight"), [options.experts, width]);
    const router: WeightRef = { name, shape: [options.experts, width], parts: [{ tensor: name }] };
    const find = (part: string, suffix: string): string[] => this.#names(part, suffix);
    return this.#g.moe(x, { router, ...expertWeights(this.#tensors, find, options.experts, hidden, width), ...rest });
  }

  #vector(names: readonly string[], length: number): WeightRef {
    const { name } = this.#tensors.get(names, [length]);
    return { name, shape: [length], parts: [{ tensor: name }] };
  }
}
