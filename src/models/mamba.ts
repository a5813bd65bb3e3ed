/**
 * Mamba (Gu & Dao 2023): layers of a norm and a mixer: a gated selective scan behind a short convolution, whose dt, B and C
 * are made of its input. Falcon Mamba (Zuo et al. 2024) normalises the three.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph, Value } from "../graph/graph.ts";
import { readContextLength } from "./dimensions.ts";
import type { GraphOptions } from "./family.ts";
import { Network } from "./network.ts";
import { decayFactor, scanStates, shortConv } from "./recurrent.ts";

const NAMES = {
  prefixes: ["backbone."],
  layers: "layers",
  model: { embed: ["token_embd", "embeddings"], norm: ["output_norm", "norm_f"] },
  layer: {
    norm: ["attn_norm", "norm"],
    in: ["ssm_in", "mixer.in_proj"],
    conv: ["ssm_conv1d", "mixer.conv1d"],
    x: ["ssm_x", "mixer.x_proj"],
    dt: ["ssm_dt", "mixer.dt_proj"],
    A: ["ssm_a", "mixer.A_log"],
    D: ["ssm_d", "mixer.D"],
    out: ["ssm_out", "mixer.out_proj"],
  },
} as const;

export async function mamba(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const net = new Network(artifact, options.title, NAMES);
  const { g, config } = net;
  const width = config.int(["embedding_length", "hidden_size"]);
  const inner = config.int(["ssm.inner_size", "intermediate_size"]);
  const size = config.int(["ssm.state_size", "state_size"]);
  const rank = config.int(["ssm.time_step_rank", "time_step_rank"]);
  const taps = config.int(["ssm.conv_kernel", "conv_kernel"]);
  const eps = config.float(["attention.layer_norm_rms_epsilon", "layer_norm_epsilon"], 1e-5);
  const isNormed = config.bool(["ssm.dt_b_c_rms", null], options.title === "falcon_mamba");
  const mixerEps = config.float([null, "mixer_rms_eps"], eps);
  const normed = (x: Value): Value => (isNormed ? g.rmsNorm(x, undefined, { eps: mixerEps }) : x);

  let x = net.embed(width);
  for (let i = 0; i < config.int(["block_count", "num_hidden_layers"]); i++) {
    const layer = net.layer(i);
    const [u, z] = layer.split(layer.rmsNorm(x, "norm", eps), "in", [inner, inner]);
    const c = g.activation(shortConv(g, layer, i, u, taps), "silu");
    const [low, B, C] = layer.split(c, "x", [rank, size, size]);
    const dt = g.activation(layer.linear(normed(low), "dt", inner), "softplus");
    const scanned = g.selectiveScan([dt, c, normed(B), normed(C)], {
      weight: layer.values("A", "", inner * size),
      factor: decayFactor(config),
      ...scanStates(g, i, { state: inner * size, history: 2 * inner + size }),
    });
    const y = g.add(scanned, g.columnScale(c, layer.values("D", "", inner)));
    x = g.add(x, layer.linear(g.gate(z, y, "silu"), "out", width));
  }
  return net.finish(net.head(net.norm(x, eps), true), readContextLength(config));
}
