/**
 * Jamba (Lieber et al. 2024): of eight layers seven have Mamba's mixer, whose dt, B and C are normalised, and one attention
 * without positions; behind every second layer a mixture of experts stands in the MLP's place.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { mambaNames, selective } from "./mamba.ts";
import { readMixture } from "./mixture.ts";
import { LLAMA_NAMES } from "./names.ts";
import { hybridSizes } from "./recurrent.ts";

const NAMES = {
  ...LLAMA_NAMES,
  model: { ...LLAMA_NAMES.model, norm: ["output_norm", "final_layernorm"] },
  layer: {
    ...LLAMA_NAMES.layer,
    ffnNorm: ["ffn_norm", "pre_ff_layernorm"],
    gate: ["ffn_gate", "feed_forward.gate_proj"],
    up: ["ffn_up", "feed_forward.up_proj"],
    down: ["ffn_down", "feed_forward.down_proj"],
    router: ["ffn_gate_inp", "feed_forward.router"],
    expertGate: ["ffn_gate.*", "feed_forward.experts.*.gate_proj"],
    expertUp: ["ffn_up.*", "feed_forward.experts.*.up_proj"],
    expertDown: ["ffn_down.*", "feed_forward.experts.*.down_proj"],
    dtNorm: ["ssm_dt_norm", "mamba.dt_layernorm"],
    bNorm: ["ssm_b_norm", "mamba.b_layernorm"],
    cNorm: ["ssm_c_norm", "mamba.c_layernorm"],
    ...mambaNames("mamba"),
  },
} as const;

export async function jamba(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, NAMES, { keys: hybridSizes(artifact) });
  const { net, g, config, layers, width, qWidth, kvWidth, hidden, eps, activation } = decoder;
  const mixture = readMixture(decoder);
  const inner =
    config.format === "gguf" ? config.int(["ssm.inner_size", null]) : config.int([null, "mamba_expand"], 2) * width;
  const rank = config.get([null, "mamba_dt_rank"]) === "auto" ? Math.ceil(width / 16) : undefined;
  const sizes = {
    inner,
    size: config.int(["ssm.state_size", "mamba_d_state"], 16),
    rank: rank ?? config.int(["ssm.time_step_rank", "mamba_dt_rank"]),
    taps: config.int(["ssm.conv_kernel", "mamba_d_conv"], 4),
  };

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    if (layer.has("q")) {
      const [q, k] = [layer.linear(h, "q", qWidth), layer.linear(h, "k", kvWidth)];
      const attended = decoder.attend(i, q, k, layer.linear(h, "v", kvWidth), { rope: null });
      x = g.add(x, layer.linear(attended, "o", width));
    } else {
      const mixed = selective(g, config, layer, i, h, sizes, (y, which) => layer.rmsNorm(y, `${which}Norm`, eps));
      x = g.add(x, mixed);
    }
    const m = layer.rmsNorm(x, "ffnNorm", eps);
    const isMixed = mixture !== undefined && layer.has("router");
    x = g.add(x, isMixed ? layer.moe(m, mixture) : layer.gatedMlp(m, hidden, activation));
  }
  return net.finish(net.head(net.norm(x, eps), false), decoder.contextLength);
}
