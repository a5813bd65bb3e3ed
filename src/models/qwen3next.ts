/**
 * Qwen3-Next (Qwen Team 2025): of four layers three are gated delta nets (Yang et al. 2024), the fourth is attention with an
 * RMS norm on each head and a gate on its output; all MLPs are mixtures with an expert more that sees every token. Qwen3.5
 * (2026), text, is built alike, with plain MLPs in its dense models.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph, Value } from "../graph/graph.ts";
import type { ConfigReader } from "./config.ts";
import { readDecoder } from "./decoder.ts";
import { gatedDelta, readDelta } from "./delta.ts";
import type { GraphOptions } from "./family.ts";
import { readMixture } from "./mixture.ts";
import { LLAMA_NAMES } from "./names.ts";

const NAMES = {
  ...LLAMA_NAMES,
  prefixes: ["model.", "model.language_model."],
  layer: {
    ...LLAMA_NAMES.layer,
    ffnNorm: ["post_attention_norm", "post_attention_layernorm"],
    qkvz: ["ssm_in", "linear_attn.in_proj_qkvz"],
    qkv: ["attn_qkv", "linear_attn.in_proj_qkv"],
    z: ["attn_gate", "linear_attn.in_proj_z"],
    beta: ["", "linear_attn.in_proj_b"],
    alpha: ["", "linear_attn.in_proj_a"],
    betaAlpha: ["ssm_ba", "linear_attn.in_proj_ba"],
    conv: ["ssm_conv1d", "linear_attn.conv1d"],
    dtBias: ["ssm_dt.bias", "linear_attn.dt_bias"],
    A: ["ssm_a", "linear_attn.A_log"],
    deltaNorm: ["ssm_norm", "linear_attn.norm"],
    deltaOut: ["ssm_out", "linear_attn.out_proj"],
  },
} as const;

export async function qwen3next(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, NAMES);
  const { net, g, config, layers, width, heads, headDim, kvWidth, eps, activation } = decoder;
  // The norms multiply by 1 + weight; GGUF's converter has added the 1.
  const weightOffset = config.format === "hf" ? 1 : 0;
  const delta = readDelta(config, eps);
  const mixture = readMixture(decoder, true);
  const sharedHidden = config.int(["expert_shared_feed_forward_length", "shared_expert_intermediate_size"], 512);
  const isDelta = deltaLayers(config);

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps, { weightOffset });
    if (isDelta(i)) x = g.add(x, gatedDelta(g, config, layer, i, h, delta));
    else {
      const norm = { headDim, weightOffset } as const;
      const half = (first: number): Value =>
        layer.linearRuns(h, "q", { heads, stride: 2 * headDim, first, count: headDim });
      const q = layer.rmsNorm(half(0), "qNorm", eps, norm);
      const k = layer.rmsNorm(layer.linear(h, "k", kvWidth), "kNorm", eps, norm);
      const attended = decoder.attend(i, q, k, layer.linear(h, "v", kvWidth));
      x = g.add(x, layer.linear(g.gate(half(headDim), attended, "sigmoid"), "o", width));
    }
    const m = layer.rmsNorm(x, "ffnNorm", eps, { weightOffset });
    if (mixture === undefined) x = g.add(x, layer.gatedMlp(m, decoder.hidden, activation));
    else x = g.add(x, g.add(layer.moe(m, mixture), layer.sharedExpert(m, sharedHidden, activation)));
  }
  return net.finish(net.head(net.norm(x, eps, weightOffset), false), decoder.contextLength);
}

/** GGUF gives the distance from one attention layer to the next. */
function deltaLayers(config: ConfigReader): (layer: number) => boolean {
  const types = config.get([null, "layer_types"]);
  if (Array.isArray(types)) return (layer) => types[layer] === "linear_attention";
  const every = config.int(["full_attention_interval", "full_attention_interval"], 4);
  return (layer) => (layer + 1) % every !== 0;
}
