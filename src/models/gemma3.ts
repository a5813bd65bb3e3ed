/**
 * Gemma 3, text (Gemma Team 2025): most layers see a window and have a rope base of their own, every sixth sees
 * everything; norms before and after each block (sandwich), QK norm, scaled embeddings, perhaps soft caps.
 * Hugging Face's norm weights are offsets from 1; GGUF's converter has added the 1 already.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import { UnsupportedError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { ConfigReader } from "./config.ts";
import { kvState, readActivation, readDimensions } from "./dimensions.ts";
import type { GraphOptions } from "./family.ts";
import { LLAMA_NAMES } from "./names.ts";
import { Network } from "./network.ts";
import { readRope } from "./rope.ts";

const NAMES = {
  ...LLAMA_NAMES,
  prefixes: ["model.", "language_model.model.", "model.language_model."],
  layer: {
    ...LLAMA_NAMES.layer,
    attnPostNorm: ["post_attention_norm", "post_attention_layernorm"],
    ffnNorm: ["ffn_norm", "pre_feedforward_layernorm"],
    ffnPostNorm: ["post_ffw_norm", "post_feedforward_layernorm"],
  },
} as const;

export async function gemma3(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const net = new Network(artifact, options.title, NAMES);
  const { g, config } = net;
  const d = readDimensions(config);
  const { layers, width, heads, kvHeads, headDim, hidden, eps, contextLength } = d;
  const weightOffset = config.format === "hf" ? 1 : 0;
  const style = "half";
  const common = { headDim, style, contextLength, context: options.context } as const;
  const globalRope = await readRope(artifact, config, { ...common, layerType: "full_attention", defaultBase: 1e6 });
  const localRope = await readRope(artifact, config, {
    ...common,
    layerType: "sliding_attention",
    ggufBase: "rope.freq_base_swa",
    hfBase: "rope_local_base_freq",
    unscaled: true,
  });
  if (config.bool([null, "use_bidirectional_attention"], false)) {
    throw new UnsupportedError(`${artifact.name}: Gemma 3 with attention in both directions (an embedding model)`);
  }
  const window = config.int(["attention.sliding_window", "sliding_window"], 4096);
  const isGlobal = globalLayers(config, layers);
  const activation = readActivation(config, "hidden_activation", "geluTanh");
  const scale = queryScale(config, layers, width, heads, headDim);
  const scoreCap = config.optional(["attn_logit_softcapping", "attn_logit_softcapping"]);
  const logitCap = config.optional(["final_logit_softcapping", "final_logit_softcapping"]);

  let x = net.embed(width, Math.sqrt(width));
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const everything = isGlobal(i);
    const rope = everything ? globalRope : localRope;
    const h = layer.rmsNorm(x, "attnNorm", eps, { weightOffset });
    const q = layer.rmsNorm(layer.linear(h, "q", heads * headDim), "qNorm", eps, { headDim, weightOffset });
    const k = layer.rmsNorm(layer.linear(h, "k", kvHeads * headDim), "kNorm", eps, { headDim, weightOffset });
    const v = layer.linear(h, "v", kvHeads * headDim);
    const state = g.state(kvState(i, d, everything ? undefined : window));
    const softcap = scoreCap === undefined ? {} : { softcap: scoreCap };
    const attended = g.attention(g.rope(q, rope), g.rope(k, rope), v, { state, heads, scale, ...softcap });
    x = g.add(x, layer.rmsNorm(layer.linear(attended, "o", width), "attnPostNorm", eps, { weightOffset }));

    const m = layer.rmsNorm(x, "ffnNorm", eps, { weightOffset });
    x = g.add(x, layer.rmsNorm(layer.gatedMlp(m, hidden, activation), "ffnPostNorm", eps, { weightOffset }));
  }
  const logits = net.head(net.norm(g.rows(x), eps, weightOffset), true);
  return net.finish(logitCap === undefined ? logits : g.softcap(logits, logitCap), contextLength);
}

/** Which layers see all positions: as `layer_types` says, else the last of every six (or of the pattern's length). */
function globalLayers(config: ConfigReader, layers: number): (layer: number) => boolean {
  const types = config.get([null, "layer_types"]);
  if (Array.isArray(types)) {
    if (types.length < layers) throw config.wrong([null, "layer_types"], `${layers} entries`);
    return (layer) => types[layer] === "full_attention";
  }
  const pattern = config.get(["attention.sliding_window_pattern", "sliding_window_pattern"]);
  if (Array.isArray(pattern) || ArrayBuffer.isView(pattern)) {
    // A flag for each layer: does it slide?
    const slides: readonly unknown[] = Array.from(pattern as ArrayLike<unknown>);
    return (layer) => slides[layer] === false || slides[layer] === 0;
  }
  const every = config.int(["attention.sliding_window_pattern", "sliding_window_pattern"], 6);
  return (layer) => (layer + 1) % every === 0;
}

/** 1 / √(query_pre_attn_scalar), which GGUF leaves out: it is the head's width, but in the 27B model of 62 layers. */
function queryScale(config: ConfigReader, layers: number, width: number, heads: number, headDim: number): number {
  const known = config.format === "gguf" && layers === 62 ? width / heads : config.format === "gguf" ? headDim : 256;
  return 1 / Math.sqrt(config.float([null, "query_pre_attn_scalar"], known));
}
