/**
 * Mamba (Gu & Dao 2023): layers of a norm and a mixer: a gated selective scan behind a short convolution, whose dt, B and C
 * are made of its input. Falcon Mamba (Zuo et al. 2024) normalises the three.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Graph, Value } from "../graph/graph.ts";
import type { ConfigReader } from "./config.ts";
import { readContextLength } from "./dimensions.ts";
import type { GraphOptions } from "./family.ts";
import type { Layer } from "./layer.ts";
import type { TensorNames } from "./names.ts";
import { Network } from "./network.ts";
import { decayFactor, scanStates, shortConv } from "./recurrent.ts";

/** Names of the mixer's parts, after its own in Hugging Face's files. */
export function mambaNames<const P extends string>(mixer: P) {
  return {
    in: ["ssm_in", `${mixer}.in_proj`],
    conv: ["ssm_conv1d", `${mixer}.conv1d`],
    x: ["ssm_x", `${mixer}.x_proj`],
    dt: ["ssm_dt", `${mixer}.dt_proj`],
    A: ["ssm_a", `${mixer}.A_log`],
    D: ["ssm_d", `${mixer}.D`],
    out: ["ssm_out", `${mixer}.out_proj`],
  } as const;
}

const NAMES = {
  prefixes: ["backbone."],
  layers: "layers",
  model: { embed: ["token_embd", "embeddings"], norm: ["output_norm", "norm_f"] },
  layer: { norm: ["attn_norm", "norm"], ...mambaNames("mixer") },
} as const;

export async function mamba(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const net = new Network(artifact, options.title, NAMES);
  const { g, config } = net;
  const width = config.int(["embedding_length", "hidden_size"]);
  const sizes: SelectiveSizes = {
    inner: config.int(["ssm.inner_size", "intermediate_size"]),
    size: config.int(["ssm.state_size", "state_size"]),
    rank: config.int(["ssm.time_step_rank", "time_step_rank"]),
    taps: config.int(["ssm.conv_kernel", "conv_kernel"]),
  };
  const eps = config.float(["attention.layer_norm_rms_epsilon", "layer_norm_epsilon"], 1e-5);
  const isNormed = config.bool(["ssm.dt_b_c_rms", null], options.title === "falcon_mamba");
  const mixerEps = config.float([null, "mixer_rms_eps"], eps);
  const norm = (x: Value): Value => (isNormed ? g.rmsNorm(x, undefined, { eps: mixerEps }) : x);

  let x = net.embed(width);
  for (let i = 0; i < config.int(["block_count", "num_hidden_layers"]); i++) {
    const layer = net.layer(i);
    x = g.add(x, selective(g, config, layer, i, layer.rmsNorm(x, "norm", eps), sizes, norm));
  }
  return net.finish(net.head(net.norm(x, eps), true), readContextLength(config));
}

export interface SelectiveSizes {
  /** Columns that are scanned, values of each one's state, rank of dt. */
  readonly inner: number;
  readonly size: number;
  readonly rank: number;
  readonly taps: number;
}

/** Mamba's mixer; `norm` is put on what dt, B and C are made of. */
export function selective<N extends TensorNames>(
  g: GraphBuilder,
  config: ConfigReader,
  layer: Layer<N>,
  index: number,
  h: Value,
  { inner, size, rank, taps }: SelectiveSizes,
  norm: (x: Value, which: "dt" | "b" | "c") => Value,
): Value {
  const [u, z] = layer.split(h, "in", [inner, inner]);
  const c = g.activation(shortConv(g, layer, index, u, taps), "silu");
  const [low, B, C] = layer.split(c, "x", [rank, size, size]);
  const dt = g.activation(layer.linear(norm(low, "dt"), "dt", inner), "softplus");
  const scanned = g.selectiveScan([dt, c, norm(B, "b"), norm(C, "c")], {
    weight: layer.values("A", "", inner * size),
    factor: decayFactor(config),
    ...scanStates(g, index, { state: inner * size, history: 2 * inner + size }),
  });
  const y = g.add(scanned, g.columnScale(c, layer.values("D", "", inner)));
  return layer.linear(g.gate(z, y, "silu"), "out", g.width(h));
}
