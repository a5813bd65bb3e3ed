/**
 * What Gemma 3n does with a row's own size and spread: streams that are made as large as one another (AltUp, Baykal et al.
 * 2023), and gates of which only the largest stay.
 */
import { madeVector } from "../artifact/made-tensor.ts";
import { UnsupportedError } from "../errors.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Value } from "../graph/graph.ts";

export function streamAt(streams: readonly Value[], index: number): Value {
  const stream = streams[index];
  if (stream === undefined) throw new UnsupportedError(`there is no stream ${index} of ${streams.length}`);
  return stream;
}

/** Least mean square that a stream is divided by the root of. */
const LEAST_SQUARE = 1e-5;

/** x, as large as `like` by root mean square. */
export function matched(g: GraphBuilder, x: Value, like: Value): Value {
  const size = rowMean(g, like, g.rmsNorm(like, undefined, { eps: 1e-12 }));
  return g.gate(size, g.rmsNorm(x, undefined, { eps: LEAST_SQUARE }), "identity");
}

/** x times one column of `factors`. */
export function times(g: GraphBuilder, factors: Value, column: number, x: Value): Value {
  return g.gate(g.slice(factors, column, 1), x, "identity");
}

/**
 * The mean of x · y over the columns, as one column. With y the RMS norm of x it is x's root mean square, with y its layer
 * norm x's standard deviation.
 */
function rowMean(g: GraphBuilder, x: Value, y: Value): Value {
  const columns = g.width(x);
  const made = madeVector(`mean of ${columns}`, new Float64Array(columns).fill(1 / columns), true);
  return g.linear(g.multiply(x, y), { name: made.name, shape: made.shape, parts: [{ tensor: made.name, made }] });
}

/** What lies above mean + z · deviation, less that: about the share 1 − sparsity of normally distributed columns. */
export function largest(g: GraphBuilder, x: Value, sparsity: number): Value {
  if (sparsity <= 0) return x;
  const columns = g.width(x);
  const normal = g.layerNorm(x, undefined, undefined, 1e-12);
  const made = madeVector(
    `${-normalQuantile(sparsity)} × ${columns}`,
    new Float64Array(columns).fill(-normalQuantile(sparsity)),
  );
  const above = g.bias(normal, { name: made.name, shape: made.shape, parts: [{ tensor: made.name, made }] });
  return g.gate(rowMean(g, x, normal), g.activation(above, "relu"), "identity");
}

/** z with P(x ≤ z) = p of a normal distribution: Newton's steps on the integral of its density. */
function normalQuantile(p: number): number {
  const density = (x: number): number => Math.exp(-(x * x) / 2) / Math.sqrt(2 * Math.PI);
  let z = 0;
  for (let step = 0; step < 60; step++) {
    // Φ(z) = ½ + φ(z) (z + z³/3 + z⁵/(3·5) + …), which converges everywhere.
    let [term, series] = [z, z];
    for (let k = 3; k < 400; k += 2) series += term *= (z * z) / k;
    z -= (0.5 + density(z) * series - p) / density(z);
  }
  return z;
}
