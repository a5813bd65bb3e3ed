/**
 * The mixer of a gated delta net (Yang et al. 2024) as Qwen3-Next and Qwen3.5 have it: a matrix of memory a head that forgets, and into
 * which a value is written as far as its key doesn't give it already.
 */
import type { GraphBuilder } from "../graph/builder.ts";
import type { Value } from "../graph/graph.ts";
import type { ConfigReader } from "./config.ts";
import type { Layer, Rows } from "./layer.ts";
import type { TensorNames } from "./names.ts";
import { decayFactor, scanStates, shortConv } from "./recurrent.ts";

export interface DeltaSizes {
  readonly heads: number;
  readonly keyHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  readonly taps: number;
  readonly eps: number;
}

export function readDelta(config: ConfigReader, eps: number): DeltaSizes {
  const heads = config.int(["ssm.time_step_rank", "linear_num_value_heads"]);
  const inner = config.format === "gguf" ? config.int(["ssm.inner_size", null]) : 0;
  return {
    heads,
    keyHeads: config.int(["ssm.group_count", "linear_num_key_heads"]),
    keyDim: config.int(["ssm.state_size", "linear_key_head_dim"]),
    valueDim: config.format === "gguf" ? inner / heads : config.int([null, "linear_value_head_dim"]),
    taps: config.int(["ssm.conv_kernel", "linear_conv_kernel_dim"]),
    eps,
  };
}

/** `count` runs of rows, `stride` apart: of each `length` from `first` on. */
function runs(count: number, stride: number, first: number, length: number): Rows[] {
  return Array.from({ length: count }, (_, i) => ({ rowStart: i * stride + first, rowCount: length }));
}

/**
 * q, k, v and z of one matrix (which has for each key head its q, its k, then its value heads' v and z), or of two (all q, k
 * and v; z), q, k and v convolved, q and k of length 1; b and a of another, or of two; the delta rule with β = σ(b) and decay −e^A softplus(a + dt); each
 * head normalised, times silu(z); a matrix.
 */
export function gatedDelta<N extends TensorNames>(
  g: GraphBuilder,
  config: ConfigReader,
  layer: Layer<N>,
  index: number,
  h: Value,
  { heads, keyHeads, keyDim, valueDim, taps, eps }: DeltaSizes,
): Value {
  const shared = heads / keyHeads;
  const [keys, values] = [keyHeads * keyDim, heads * valueDim];
  const stride = 2 * keyDim + 2 * shared * valueDim;
  const of = (first: number, length: number): Rows[] => runs(keyHeads, stride, first, length);
  const [qkv, z] = layer.has("qkv")
    ? [layer.linear(h, "qkv", 2 * keys + values), layer.linear(h, "z", values)]
    : [
        layer.rows(
          h,
          "qkvz",
          keyHeads * stride,
          [...of(0, keyDim), ...of(keyDim, keyDim), ...of(2 * keyDim, shared * valueDim)],
          "q k v",
        ),
        layer.rows(h, "qkvz", keyHeads * stride, of(2 * keyDim + shared * valueDim, shared * valueDim), "z"),
      ];
  const c = g.activation(shortConv(g, layer, index, qkv, taps), "silu");
  // x / √(Σ x² + ε) as an RMS norm: √n times as much.
  const unit = (start: number, scale: number): Value =>
    g.scale(g.rmsNorm(g.slice(c, start, keys), undefined, { eps: 1e-6 / keyDim, groupSize: keyDim }), scale);
  const [b, a] = betaAndAlpha(g, layer, h, heads, shared);
  const dt = g.activation(g.bias(a, layer.values("dtBias", "", heads)), "softplus");
  const decay = g.columnScale(dt, layer.values("A", "", heads), decayFactor(config));
  const y = g.scan(
    [
      unit(0, 1 / keyDim),
      unit(keys, 1 / Math.sqrt(keyDim)),
      g.slice(c, 2 * keys, values),
      decay,
      g.activation(b, "sigmoid"),
    ],
    {
      heads,
      keyHeads,
      delta: true,
      ...scanStates(g, index, { state: values * keyDim, history: keys + values + heads }),
    },
  );
  const normed = g.rmsNorm(y, layer.values("deltaNorm", ".weight", valueDim), { eps, groupSize: valueDim });
  return layer.linear(g.gate(z, normed, "silu"), "deltaOut", g.width(h));
}

/** b and a of each head: matrices of their own, or one that has for each key head its value heads' b, then their a. */
function betaAndAlpha<N extends TensorNames>(
  g: GraphBuilder,
  layer: Layer<N>,
  h: Value,
  heads: number,
  shared: number,
): readonly [b: Value, a: Value] {
  if (layer.has("beta")) return [layer.linear(h, "beta", heads), layer.linear(h, "alpha", heads)];
  const both = layer.linear(h, "betaAlpha", 2 * heads);
  const column = (head: number): number => 2 * shared * Math.floor(head / shared) + (head % shared);
  const pick = (first: number): Value =>
    g.pick(
      both,
      Int32Array.from({ length: heads }, (_, i) => column(i) + first),
    );
  return [pick(0), pick(shared)];
}
