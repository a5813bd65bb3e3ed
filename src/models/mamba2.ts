/**
 * Mamba-2 (Dao & Gu 2024): layers of nothing but a norm and a mixer: linear attention whose memory decays, a head at a time.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { readContextLength } from "./dimensions.ts";
import type { GraphOptions } from "./family.ts";
import { Network } from "./network.ts";
import { readSsd, ssd, ssdNames } from "./recurrent.ts";

const NAMES = {
  prefixes: ["backbone."],
  layers: "layers",
  model: { embed: ["token_embd", "embeddings"], norm: ["output_norm", "norm_f"] },
  layer: { norm: ["attn_norm", "norm"], ...ssdNames("mixer") },
} as const;

export async function mamba2(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const net = new Network(artifact, options.title, NAMES);
  const { g, config } = net;
  const width = config.int(["embedding_length", "hidden_size"]);
  const eps = config.float(["attention.layer_norm_rms_epsilon", "layer_norm_epsilon"], 1e-5);
  const sizes = readSsd(config, ["num_heads", "head_dim", "n_groups", "state_size", "conv_kernel"], eps);

  let x = net.embed(width);
  for (let i = 0; i < config.int(["block_count", "num_hidden_layers"]); i++) {
    const layer = net.layer(i);
    x = g.add(x, ssd(g, config, layer, i, layer.rmsNorm(x, "norm", eps), sizes));
  }
  return net.finish(net.head(net.norm(x, eps), false), readContextLength(config));
}
