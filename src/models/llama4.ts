/**
 * Llama 4, text (Meta 2025): three of four layers see chunks of the context and know positions, with keys and queries
 * normalised after they are turned; the others see everything, know no positions, and sharpen their attention with length.
 * Mixtures of experts that choose one, whose share multiplies what it reads, and one more that sees every token.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import type { ConfigReader } from "./config.ts";
import { numberList } from "./config.ts";
import { readDecoder } from "./decoder.ts";
import { kvState } from "./dimensions.ts";
import type { GraphOptions } from "./family.ts";
import { LLAMA_NAMES } from "./names.ts";

const NAMES = {
  ...LLAMA_NAMES,
  prefixes: ["model.", "language_model.model."],
  layer: {
    ...LLAMA_NAMES.layer,
    gate: ["ffn_gate", "feed_forward.gate_proj"],
    up: ["ffn_up", "feed_forward.up_proj"],
    down: ["ffn_down", "feed_forward.down_proj"],
    router: ["ffn_gate_inp", "feed_forward.router"],
    expertsGateUp: ["", "feed_forward.experts.gate_up_proj"],
    expertsDown: ["", "feed_forward.experts.down_proj"],
    sharedGate: ["ffn_gate_shexp", "feed_forward.shared_expert.gate_proj"],
    sharedUp: ["ffn_up_shexp", "feed_forward.shared_expert.up_proj"],
    sharedDown: ["ffn_down_shexp", "feed_forward.shared_expert.down_proj"],
  },
} as const;

/** What GGUF doesn't say: the chunk, the place of layers without positions, and how attention sharpens. */
const DEFAULTS = { chunk: 8192, every: 4, floor: 8192, sharpen: 0.1 };
/** Experts of Maverick, which alone normalises no keys and queries. */
const MAVERICK_EXPERTS = 128;

export async function llama4(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, NAMES, {
    style: "interleaved",
    keys: { hidden: ["feed_forward_length", "intermediate_size_mlp"] },
  });
  const { net, g, config, layers, width, heads, headDim, qWidth, kvWidth, hidden, eps, activation } = decoder;
  const experts = config.int(["expert_count", "num_local_experts"]);
  const expertHidden = config.int(["expert_feed_forward_length", "intermediate_size"]);
  const mixture = {
    experts,
    topK: config.int(["expert_used_count", "num_experts_per_tok"]),
    hidden: expertHidden,
    normalize: false,
    activation,
    scores: "sigmoid",
    weighs: "input",
    transposed: true,
  } as const;
  const every = config.int(["interleave_moe_layer_step", "interleave_moe_layer_step"], 1);
  const chunk = config.int([null, "attention_chunk_size"], DEFAULTS.chunk);
  const normalizes = config.bool([null, "use_qk_norm"], experts !== MAVERICK_EXPERTS);
  const turns = turningLayers(config);
  const sharpening = readSharpening(config, options.context);
  const scale = 1 / Math.sqrt(headDim);

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    let [q, k] = [layer.linear(h, "q", qWidth), layer.linear(h, "k", kvWidth)];
    const v = layer.linear(h, "v", kvWidth);
    if (turns(i)) {
      [q, k] = [g.rope(q, decoder.rope), g.rope(k, decoder.rope)];
      if (normalizes)
        [q, k] = [q, k].map((each) => g.rmsNorm(each, undefined, { eps, groupSize: headDim })) as [number, number];
    } else if (sharpening !== undefined) q = g.positionScale(q, sharpening);
    const state = g.state(kvState(i, decoder, turns(i) ? chunk : undefined));
    const attended = g.attention(q, k, v, { state, heads, scale, ...(turns(i) && { chunk }) });
    x = g.add(x, layer.linear(attended, "o", width));

    const m = layer.rmsNorm(x, "ffnNorm", eps);
    if ((i + 1) % every !== 0) x = g.add(x, layer.gatedMlp(m, hidden, activation));
    else x = g.add(x, g.add(layer.moe(m, mixture), layer.sharedExpert(m, expertHidden, activation)));
  }
  return net.finish(net.head(net.norm(x, eps), false), decoder.contextLength);
}

/** As `no_rope_layers` says (1: the layer turns, in spite of the name), else all but every fourth. */
function turningLayers(config: ConfigReader): (layer: number) => boolean {
  const flags = numberList(config.get([null, "no_rope_layers"]));
  if (flags !== undefined && flags.length > 0) return (layer) => flags[layer] === 1;
  const interval = config.int([null, "no_rope_layer_interval"], DEFAULTS.every);
  return (layer) => (layer + 1) % interval !== 0;
}

/** 1 + s · ln(1 + ⌊(position + 1) / floor⌋), which is 1 in contexts below the floor. */
function readSharpening(
  config: ConfigReader,
  context: number,
): { every: number; offset: number; factors: Float32Array } | undefined {
  if (!config.bool([null, "attn_temperature_tuning"], true)) return undefined;
  const every = config.int([null, "floor_scale"], DEFAULTS.floor);
  const sharpen = config.float([null, "attn_scale"], DEFAULTS.sharpen);
  const steps = Math.floor(context / every) + 1;
  if (steps === 1) return undefined;
  return { every, offset: 1, factors: Float32Array.from({ length: steps }, (_, i) => 1 + sharpen * Math.log1p(i)) };
}
