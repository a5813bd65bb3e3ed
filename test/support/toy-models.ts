/**
 * Transformers of a few layers with random weights, for cases about steps rather than about ops: trees, moves, encoders,
 * programs that share states. Layers are named by number, so that two graphs of one seed share weights and states.
 */
import { GraphBuilder, type RopeOptions } from "../../src/graph/builder.ts";
import type { Graph, Value, WeightRef } from "../../src/graph/graph.ts";
import { wkvStateWidth } from "../../src/graph/shapes.ts";
import type { TensorMaker } from "./memory-artifact.ts";

export interface ToyOptions {
  /** Window of every layer with an odd number. */
  readonly window?: number;
  readonly softcap?: number;
  readonly heads?: number;
  readonly kvHeads?: number;
  /** Layers attend over a latent that all heads share. */
  readonly latent?: boolean;
  /** Attention has sinks and slopes. */
  readonly biased?: boolean;
  /** The MLP is a mixture of 4 experts, of which each row takes 2. */
  readonly experts?: boolean;
  readonly dtype?: "F32" | "Q8_0";
  /** Plans may give rows in place of the tokens' embeddings (the input "embeddings"). */
  readonly soft?: boolean;
  /**
   * In place of attention, layers with an odd number have a convolution and a scan, plain or by the delta rule; or a
   * recurrence.
   */
  readonly recurrent?: "plain" | "delta" | "selective" | "wkv" | "matrix" | "bonus";
  /** Layer 1's output is kept in the state "features". */
  readonly features?: boolean;
}

export const TOY_VOCAB = 48;
const WIDTH = 64;
const HEAD = 32;
const HIDDEN = 96;

const FEATURES = { name: "features", kind: "rows", width: WIDTH } as const;

/** The weights of all layers; graphs over them name what they need. */
export class ToyModel {
  readonly tensors: TensorMaker;
  readonly #options: ToyOptions;
  readonly #made = new Map<string, WeightRef>();

  constructor(tensors: TensorMaker, options: ToyOptions = {}) {
    this.tensors = tensors;
    this.#options = options;
  }

  /**
   * A drafter that reads what the model's layer 1 gave at the place before (the state "features", which `graph` writes
   * where `features` is on), or is given it as the input "features".
   */
  drafter(from: "state" | "input"): Graph {
    const g = new GraphBuilder(`drafter, features by ${from}`);
    const x = g.embed(this.#weight("table", "F32", [TOY_VOCAB, WIDTH], 1));
    const before = from === "input" ? g.input(x, "features") : g.readRows(g.state(FEATURES), 1);
    const y = this.#layer(g, g.add(x, g.linear(before, this.#matrix("draft.in", WIDTH, WIDTH))), 7);
    return g.finish(g.linear(y, this.#weight("head", "F32", [TOY_VOCAB, WIDTH], 0.3)), { contextLength: 512 });
  }

  /** Outputs: `logits`, and after each layer `hidden:N`. */
  graph(layers: readonly number[] = [0, 1]): Graph {
    const g = new GraphBuilder(`toy, layers ${layers.join(" ")}`);
    let x = g.embed(this.#weight("table", "F32", [TOY_VOCAB, WIDTH], 1));
    if (this.#options.soft === true) x = g.input(x, "embeddings");
    for (const layer of layers) {
      x = this.#layer(g, x, layer);
      g.output(`hidden:${layer}`, x);
      if (layer === 1 && this.#options.features === true) g.writeRows(x, g.state(FEATURES));
    }
    const last = g.rmsNorm(x, this.#norm("norm"), { eps: 1e-5 });
    return g.finish(g.linear(last, this.#weight("head", "F32", [TOY_VOCAB, WIDTH], 0.3)), { contextLength: 512 });
  }

  #layer(g: GraphBuilder, x: Value, layer: number): Value {
    const { experts = false, recurrent } = this.#options;
    const name = (part: string): string => `${layer}.${part}`;
    const h = g.rmsNorm(x, this.#norm(name("norm1")), { eps: 1e-5 });
    const mixed = this.#mix(g, h, layer % 2 === 0 ? undefined : recurrent, layer);
    const y = g.add(x, mixed);
    const m = g.rmsNorm(y, this.#norm(name("norm2")), { eps: 1e-5 });
    return g.add(y, experts ? this.#experts(g, m, name) : this.#mlp(g, m, name));
  }

  #mix(g: GraphBuilder, h: Value, recurrent: ToyOptions["recurrent"], layer: number): Value {
    if (recurrent === undefined) return this.#attend(g, h, layer);
    if (recurrent === "plain" || recurrent === "delta") return this.#scan(g, h, layer);
    return recurrent === "matrix" || recurrent === "bonus" ? this.#matrices(g, h, layer) : this.#recur(g, h, layer);
  }

  /** A layer as in Mamba (Gu & Dao 2023) or RWKV-4 (Peng et al. 2023), reduced likewise. */
  #recur(g: GraphBuilder, h: Value, layer: number): Value {
    const name = (part: string): string => `${layer}.${part}`;
    const [columns, size] = [40, 12];
    const linear = (part: string, outputs: number): Value => g.linear(h, this.#matrix(name(part), outputs, WIDTH));
    const weight = (part: string, count: number): WeightRef => this.#weight(name(part), "F32", [count], 0.5, -1);
    const recurrent = (width: number): number => g.state({ name: name("state"), kind: "recurrent", width });
    const history = (width: number): number => g.state({ name: name("history"), kind: "rows", width, window: 128 });
    const out = (y: Value): Value => g.linear(y, this.#weight(name("out"), "F32", [WIDTH, columns], 0.2));
    if (this.#options.recurrent === "wkv") {
      return out(
        g.wkv(linear("k", columns), linear("v", columns), {
          decay: weight("decay", columns),
          factor: "negativeExp",
          bonus: weight("bonus", columns),
          state: recurrent(wkvStateWidth(columns)),
          history: history(2 * columns),
        }),
      );
    }
    const dt = g.activation(linear("dt", columns), "softplus");
    return out(
      g.selectiveScan([dt, linear("x", columns), linear("b", size), linear("c", size)], {
        weight: weight("A", columns * size),
        factor: "negativeExp",
        state: recurrent(columns * size),
        history: history(2 * columns + size),
      }),
    );
  }

  /** A layer as in Mamba-2 (Dao & Gu 2024) or a gated delta net (Yang et al. 2024), reduced to what a state sees. */
  #scan(g: GraphBuilder, h: Value, layer: number): Value {
    const name = (part: string): string => `${layer}.${part}`;
    const [heads, keyHeads, keyDim, valueDim] = [4, 2, 24, 32];
    const [keys, values] = [keyHeads * keyDim, heads * valueDim];
    const inner = 2 * keys + values;
    const recent = g.state({ name: name("recent"), kind: "rows", width: inner, window: 4 });
    const weight = this.#weight(name("conv"), "F32", [inner * 4], 0.4);
    const projected = g.linear(h, this.#matrix(name("in"), inner, WIDTH));
    const c = g.activation(g.conv(projected, { weight, state: recent }), "silu");
    const delta = this.#options.recurrent === "delta";
    const unit = this.#weight(name("unit"), "F32", [keyDim], 0, delta ? 0.3 / Math.sqrt(keyDim) : 0.2);
    const key = (start: number): Value => g.rmsNorm(g.slice(c, start, keys), unit, { eps: 1e-6, groupSize: keyDim });
    const rate = (part: string): Value =>
      g.activation(g.linear(h, this.#weight(name(part), "F32", [heads, WIDTH], 0.3)), "softplus");
    const decay = g.columnScale(rate("dt"), this.#weight(name("A"), "F32", [heads], 0.7, -2), "negativeExp");
    const y = g.scan([key(0), key(keys), g.slice(c, 2 * keys, values), decay, rate("beta")], {
      heads,
      keyHeads,
      delta,
      state: g.state({ name: name("state"), kind: "recurrent", width: heads * keyDim * valueDim }),
      history: g.state({ name: name("history"), kind: "rows", width: keys + values + heads, window: 128 }),
    });
    return g.linear(g.gate(y, y, "silu"), this.#matrix(name("out"), WIDTH, values));
  }

  /** A layer as in RWKV-7 (Peng et al. 2025), or with a bonus as in RWKV-6 (2024), reduced likewise. */
  #matrices(g: GraphBuilder, h: Value, layer: number): Value {
    const name = (part: string): string => `${layer}.${part}`;
    const [heads, keyDim, valueDim] = [3, 20, 40];
    const [keys, values] = [heads * keyDim, heads * valueDim];
    const linear = (part: string, outputs: number, scale = 0.2): Value =>
      g.linear(h, this.#weight(name(part), "F32", [outputs, WIDTH], scale));
    const kept = g.activation(g.scale(g.activation(linear("w", keys), "softplus"), -0.2), "exp");
    const k = g.rmsNorm(linear("k", keys), undefined, { eps: 1e-6, groupSize: keyDim });
    const unit = g.scale(k, 1 / Math.sqrt(keyDim));
    const taken = [g.scale(unit, -1), g.multiply(unit, g.activation(linear("a", keys), "sigmoid"))] as const;
    const has = this.#options.recurrent === "matrix";
    const given = [linear("r", keys), kept, unit, linear("v", values)] as const;
    const y = g.matrixScan(has ? [...given, ...taken] : given, {
      heads,
      ...(!has && { bonus: this.#weight(name("bonus"), "F32", [keys], 0.5) }),
      state: g.state({ name: name("state"), kind: "recurrent", width: keyDim * values }),
      history: g.state({ name: name("history"), kind: "rows", width: (has ? 4 : 2) * keys + values, window: 128 }),
    });
    const normed = g.layerNorm(y, undefined, undefined, 1e-5, 0, valueDim);
    return g.linear(normed, this.#weight(name("out"), "F32", [WIDTH, values], 0.2));
  }

  /** A layer as in DeepSeek V2 (2024): queries and outputs absorbed, one latent key for all heads. */
  #attendLatent(g: GraphBuilder, h: Value, layer: number): Value {
    const { heads = 4, dtype = "F32" } = this.#options;
    const name = (part: string): string => `${layer}.${part}`;
    const [rank, turned] = [64, HEAD];
    const linear = (part: string, outputs: number): Value => g.linear(h, this.#matrix(name(part), outputs, WIDTH));
    const queries = g.headLinear(
      linear("qNope", heads * HEAD),
      this.#weight(name("kB"), dtype, [heads, rank, HEAD], 0.2),
    );
    const q = g.concat(queries, g.rope(linear("qTurned", heads * turned), ROPE), heads);
    const latent = g.rmsNorm(linear("latent", rank), this.#weight(name("latentNorm"), "F32", [rank], 0.1, 1), {
      eps: 1e-5,
    });
    const key = g.concat(latent, g.rope(linear("kTurned", turned), ROPE));
    const shape = { kvHeads: 1, keyDim: rank + turned, valueDim: rank } as const;
    const state = g.state({ name: `layer ${layer}`, kind: "latent-kv", ...shape });
    const attended = g.latentAttention(q, key, { state, heads, scale: 0.15 });
    const values = g.headLinear(attended, this.#weight(name("vB"), dtype, [heads, HEAD, rank], 0.2));
    return g.linear(values, this.#matrix(name("o"), WIDTH, heads * HEAD));
  }

  #attend(g: GraphBuilder, h: Value, layer: number): Value {
    const { heads = 4, kvHeads = 2, window, softcap, latent = false, biased = false } = this.#options;
    const name = (part: string): string => `${layer}.${part}`;
    if (latent) return this.#attendLatent(g, h, layer);
    const shape = { name: `layer ${layer}`, kvHeads, keyDim: HEAD, valueDim: HEAD };
    const windowed = window !== undefined && layer % 2 === 1;
    const state = g.state(windowed ? { ...shape, kind: "window-kv", window } : { ...shape, kind: "kv" });
    const q = g.rope(g.linear(h, this.#matrix(name("q"), heads * HEAD, WIDTH)), ROPE);
    const k = g.rope(g.linear(h, this.#matrix(name("k"), kvHeads * HEAD, WIDTH)), ROPE);
    const v = g.linear(h, this.#matrix(name("v"), kvHeads * HEAD, WIDTH));
    const cap = softcap === undefined ? {} : { softcap };
    const slopes = Float32Array.from({ length: heads }, (_, head) => 0.5 ** (head + 2));
    const biases = biased ? { sinks: this.#weight(name("sinks"), "F32", [heads], 1), slopes } : {};
    const attended = g.attention(q, k, v, { state, heads, scale: 1 / Math.sqrt(HEAD), ...cap, ...biases });
    return g.linear(attended, this.#matrix(name("o"), WIDTH, heads * HEAD));
  }

  #mlp(g: GraphBuilder, x: Value, name: (part: string) => string): Value {
    const gate = g.linear(x, this.#matrix(name("gate"), HIDDEN, WIDTH));
    const up = g.linear(x, this.#matrix(name("up"), HIDDEN, WIDTH));
    return g.linear(g.gate(gate, up, "silu"), this.#matrix(name("down"), WIDTH, HIDDEN));
  }

  #experts(g: GraphBuilder, x: Value, name: (part: string) => string): Value {
    const { dtype = "F32" } = this.#options;
    const logits = g.linear(x, this.#weight(name("router"), "F32", [4, WIDTH], 0.3));
    const routes = g.route(logits, { topK: 2, scores: "softmax", normalize: true, factor: 1 });
    return g.experts(x, routes, {
      gateUp: this.#weight(name("gateUp"), dtype, [4, 2 * HIDDEN, WIDTH], 0.2),
      down: this.#weight(name("downs"), dtype, [4, WIDTH, HIDDEN], 0.2),
      activation: "silu",
      weighs: "output",
    });
  }

  #matrix(name: string, n: number, k: number): WeightRef {
    return this.#weight(name, this.#options.dtype ?? "F32", [n, k], 0.2);
  }

  #norm(name: string): WeightRef {
    return this.#weight(name, "F32", [WIDTH], 0.1, 1);
  }

  #weight(name: string, dtype: "F32" | "Q8_0", shape: readonly number[], scale: number, offset = 0): WeightRef {
    let weight = this.#made.get(name);
    if (weight === undefined) {
      const { tensors } = this;
      weight = dtype === "Q8_0" ? tensors.q8(name, shape, scale) : tensors.tensor(name, dtype, shape, scale, offset);
      this.#made.set(name, weight);
    }
    return weight;
  }
}

const ROPE: RopeOptions = {
  headDim: HEAD,
  style: "half",
  frequencies: Float32Array.from({ length: HEAD / 2 }, (_, i) => 10_000 ** ((-2 * i) / HEAD)),
  magnitude: 1,
};
