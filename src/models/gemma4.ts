/**
 * Gemma 4, text (Gemma Team 2026): Gemma 3 with wider heads, and rope on a quarter of them, in the layers that see everything;
 * values normalised as keys are; last layers that read the keys and values of an earlier one; and for each layer a small
 * embedding of the token, which gates what the layer adds at its end. The models with experts are not read.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import { UnsupportedError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { isObject } from "./config.ts";
import type { ConfigReader } from "./config.ts";
import { readDecoder } from "./decoder.ts";
import { kvState } from "./dimensions.ts";
import type { GraphOptions } from "./family.ts";
import { GEMMA_NAMES } from "./gemma2.ts";
import { readRope } from "./rope.ts";

const NAMES = {
  ...GEMMA_NAMES,
  model: {
    ...GEMMA_NAMES.model,
    layerEmbed: ["per_layer_token_embd", "embed_tokens_per_layer"],
    layerProjection: ["per_layer_model_proj", "per_layer_model_projection"],
    layerNorm: ["per_layer_proj_norm", "per_layer_projection_norm"],
  },
  layer: {
    ...GEMMA_NAMES.layer,
    inputGate: ["inp_gate", "per_layer_input_gate"],
    inputProjection: ["proj", "per_layer_projection"],
    inputNorm: ["post_norm", "post_per_layer_input_norm"],
    scalar: ["layer_output_scale", "layer_scalar"],
  },
} as const;

export async function gemma4(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, NAMES, {
    windows: { fullEvery: 6, size: 512 },
    keys: { headDim: ["attention.key_length_swa", "head_dim"] },
    activationKey: "hidden_activation",
    activation: "geluTanh",
    rope: { layerType: "sliding_attention", ggufBase: "rope.freq_base_swa", unscaled: true },
  });
  const { net, g, config, layers, width, heads, hidden, eps, activation, contextLength, windows } = decoder;
  if (config.bool([null, "enable_moe_block"], false) || config.optional(["expert_count", null]) !== undefined)
    throw new UnsupportedError(`${artifact.name}: Gemma 4 with experts`);
  const wide = readWideHeads(config, decoder, windows.indexOf(undefined));
  const wideRope = await readRope(artifact, config, {
    headDim: wide.headDim,
    style: "half",
    contextLength,
    context: options.context,
    layerType: "full_attention",
    defaultBase: 1e6,
  });
  const shared = config.optional(["attention.shared_kv_layers", "num_kv_shared_layers"]) ?? 0;
  const doubled = config.bool([null, "use_double_wide_mlp"], false) ? 2 : 1;
  const logitCap = config.optional(["final_logit_softcapping", "final_logit_softcapping"]);

  let x = net.embed(width, Math.sqrt(width));
  const each = config.optional(["embedding_length_per_layer_input", "hidden_size_per_layer_input"]) ?? 0;
  const context = each === 0 ? undefined : g.scale(net.linear(x, "layerProjection", layers * each), width ** -0.5);
  const inputs =
    context === undefined
      ? undefined
      : g.scale(
          g.add(
            net.groupNorm(context, "layerNorm", eps, each),
            net.table("layerEmbed", layers * each, Math.sqrt(each)),
          ),
          Math.SQRT1_2,
        );
  /** The states of the last layers of either kind that have their own. */
  const states: { near?: number; all?: number } = {};
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const window = windows[i];
    const kind = window === undefined ? "all" : "near";
    const { headDim, kvHeads } = window === undefined ? wide : decoder;
    const rope = window === undefined ? wideRope : decoder.rope;
    const own = i < layers - shared;
    const h = layer.rmsNorm(x, "attnNorm", eps);
    const q = g.rope(layer.rmsNorm(layer.linear(h, "q", heads * headDim), "qNorm", eps, { headDim }), rope);
    if (own) states[kind] = g.state(kvState(i, { kvHeads, headDim, contextLength }, window));
    const state = states[kind];
    if (state === undefined)
      throw new UnsupportedError(`${artifact.name}: layer ${i} shares keys with no layer before it`);
    let attended;
    if (own) {
      const raw = layer.linear(h, "k", kvHeads * headDim);
      const k = g.rope(layer.rmsNorm(raw, "kNorm", eps, { headDim }), rope);
      const v = layer.has("v") ? layer.linear(h, "v", kvHeads * headDim) : raw;
      const values = g.rmsNorm(v, undefined, { eps, groupSize: headDim });
      attended = g.attention(q, k, values, { state, heads, scale: 1 });
    } else attended = g.attendState(q, { state, heads, scale: 1 });
    x = g.add(x, layer.rmsNorm(layer.linear(attended, "o", width), "attnPostNorm", eps));
    const inner = own ? hidden : hidden * doubled;
    const gated = layer.gatedMlp(layer.rmsNorm(x, "ffnNorm", eps), inner, activation);
    x = g.add(x, layer.rmsNorm(gated, "ffnPostNorm", eps));
    if (inputs !== undefined) {
      const gate = layer.linear(x, "inputGate", each);
      const added = layer.linear(g.gate(gate, g.slice(inputs, i * each, each), activation), "inputProjection", width);
      x = g.add(x, layer.rmsNorm(added, "inputNorm", eps));
    }
    x = g.columnScale(x, layer.vector("scalar", 1));
  }
  const logits = net.head(net.norm(x, eps), true);
  return net.finish(logitCap === undefined ? logits : g.softcap(logits, logitCap), contextLength);
}

/** Heads of the layers that see everything, of which `index` is one. */
function readWideHeads(
  config: ConfigReader,
  { headDim, kvHeads }: { readonly headDim: number; readonly kvHeads: number },
  index: number,
): { readonly headDim: number; readonly kvHeads: number } {
  const layer = config.object([null, "per_layer_config"])?.[String(index)];
  const number = (key: string): number | undefined => {
    const value = isObject(layer) ? layer[key] : undefined;
    return typeof value === "number" && Number.isInteger(value) && value > 0 ? value : undefined;
  };
  return {
    headDim: number("head_dim") ?? config.int(["attention.key_length", "global_head_dim"], headDim),
    kvHeads: number("num_key_value_heads") ?? config.int([null, "num_global_key_value_heads"], kvHeads),
  };
}
