/**
 * Gemma 3n, text (Gemma Team 2025): several streams of which each layer predicts all, computes one and corrects all (AltUp,
 * Baykal et al. 2023); a second residual of low rank beside attention (LAuReL, Menghani et al. 2024); MLPs that keep their
 * largest gates alone; last layers that read the keys and values of an earlier one; and for each layer a small embedding of
 * the token, as in Gemma 4. GGUF's files are not read.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import { UnsupportedError } from "../errors.ts";
import type { Graph, Value } from "../graph/graph.ts";
import { largest, matched, streamAt, times } from "./altup.ts";
import type { ConfigReader } from "./config.ts";
import { numberList } from "./config.ts";
import { readDecoder } from "./decoder.ts";
import { kvState } from "./dimensions.ts";
import type { GraphOptions } from "./family.ts";
import { GEMMA_NAMES } from "./gemma2.ts";
import { readRope } from "./rope.ts";

const NAMES = {
  ...GEMMA_NAMES,
  model: {
    ...GEMMA_NAMES.model,
    layerEmbed: ["", "embed_tokens_per_layer"],
    layerProjection: ["", "per_layer_model_projection"],
    layerNorm: ["", "per_layer_projection_norm"],
    streamIn: ["", "altup_projections"],
    streamOut: ["", "altup_unembed_projections"],
  },
  layer: {
    ...GEMMA_NAMES.layer,
    routerNorm: ["", "altup.router_norm"],
    streamRouter: ["", "altup.modality_router"],
    predict: ["", "altup.prediction_coefs"],
    correct: ["", "altup.correction_coefs"],
    outputScale: ["", "altup.correct_output_scale"],
    laurelDown: ["", "laurel.linear_left"],
    laurelUp: ["", "laurel.linear_right"],
    laurelNorm: ["", "laurel.post_laurel_norm"],
    inputGate: ["", "per_layer_input_gate"],
    inputProjection: ["", "per_layer_projection"],
    inputNorm: ["", "post_per_layer_input_norm"],
  },
} as const;

export async function gemma3n(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  if (artifact.config.format === "gguf") throw new UnsupportedError(`${artifact.name}: Gemma 3n from GGUF`);
  const decoder = await readDecoder(artifact, options, NAMES, {
    windows: { fullEvery: 5, size: 512 },
    keys: { known: { hidden: 1 } },
    activationKey: "hidden_activation",
    activation: "geluTanh",
    rope: { layerType: "sliding_attention", hfBase: "rope_local_base_freq", unscaled: true },
  });
  const { net, g, config, layers, width, heads, headDim, qWidth, kvWidth, eps, activation, windows } = decoder;
  const fullRope = await readRope(artifact, config, {
    headDim,
    style: "half",
    contextLength: decoder.contextLength,
    context: options.context,
    layerType: "full_attention",
    defaultBase: 1e6,
  });
  const hidden = perLayer(config, "intermediate_size", layers);
  const sparsity = perLayer(config, "activation_sparsity_pattern", layers);
  const streams = config.int([null, "altup_num_inputs"], 4);
  const active = Number(config.get([null, "altup_active_idx"]) ?? 0);
  const shared = config.optional([null, "num_kv_shared_layers"]) ?? 0;
  const each = config.int([null, "hidden_size_per_layer_input"], 256);
  const logitCap = config.optional([null, "final_logit_softcapping"]);

  const embedded = net.embed(width, Math.sqrt(width));
  const context = g.scale(net.linear(embedded, "layerProjection", layers * each), width ** -0.5);
  const table = net.table("layerEmbed", layers * each, Math.sqrt(each));
  const inputs = g.scale(g.add(net.groupNorm(context, "layerNorm", eps, each), table), Math.SQRT1_2);
  let all = Array.from({ length: streams }, (_, i) =>
    i === 0 ? embedded : matched(g, net.numbered(embedded, "streamIn", i - 1, width), embedded),
  );
  const states: { near?: number; all?: number } = {};
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const route = (x: Value): Value =>
      g.softcap(layer.linear(g.scale(layer.rmsNorm(x, "routerNorm", eps), 1 / width), "streamRouter", streams), 1);
    const coefficients = layer.linear(route(streamAt(all, active)), "predict", streams * streams);
    const predicted = all.map((stream, to) =>
      all.reduce((sum, from, at) => g.add(sum, times(g, coefficients, to * streams + at, from)), stream),
    );
    const x = streamAt(predicted, active);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    const low = layer.linear(h, "laurelDown", layer.outputs("laurelDown"));
    const laurel = g.add(h, layer.rmsNorm(layer.linear(low, "laurelUp", width), "laurelNorm", eps));

    const rope = windows[i] === undefined ? fullRope : decoder.rope;
    const kind = windows[i] === undefined ? "all" : "near";
    const q = g.rope(layer.rmsNorm(layer.linear(h, "q", qWidth), "qNorm", eps, { headDim }), rope);
    const own = i < layers - shared;
    if (own) states[kind] = g.state(kvState(i, decoder, windows[i]));
    const state = states[kind];
    if (state === undefined)
      throw new UnsupportedError(`${artifact.name}: layer ${i} shares keys with no layer before it`);
    let attended: Value;
    if (own) {
      const k = g.rope(layer.rmsNorm(layer.linear(h, "k", kvWidth), "kNorm", eps, { headDim }), rope);
      const v = g.rmsNorm(layer.linear(h, "v", kvWidth), undefined, { eps, groupSize: headDim });
      attended = g.attention(q, k, v, { state, heads, scale: 1 });
    } else attended = g.attendState(q, { state, heads, scale: 1 });
    const mixed = g.add(x, layer.rmsNorm(layer.linear(attended, "o", width), "attnPostNorm", eps));
    const both = g.scale(g.add(mixed, laurel), Math.SQRT1_2);

    const m = layer.rmsNorm(both, "ffnNorm", eps);
    const inner = hidden[i] ?? 0;
    const gate = largest(g, layer.linear(m, "gate", inner), sparsity[i] ?? 0);
    const mlp = layer.linear(g.gate(gate, layer.linear(m, "up", inner), activation), "down", width);
    const activated = g.add(both, layer.rmsNorm(mlp, "ffnPostNorm", eps));

    const shares = layer.linear(route(activated), "correct", streams);
    const news = g.add(activated, g.scale(x, -1));
    const corrected = predicted.map((stream, at) => g.add(stream, g.add(news, times(g, shares, at, news))));
    const scaled = g.columnScale(streamAt(corrected, active), layer.vector("outputScale", width));
    const gated = g.gate(layer.linear(scaled, "inputGate", each), g.slice(inputs, i * each, each), activation);
    const added = layer.rmsNorm(layer.linear(gated, "inputProjection", width), "inputNorm", eps);
    all = corrected.map((stream, at) => (at === 0 ? stream : g.add(stream, added)));
  }
  const first = streamAt(all, 0);
  const sum = all
    .slice(1)
    .reduce((total, x, i) => g.add(total, matched(g, net.numbered(x, "streamOut", i, width), first)), first);
  const logits = net.head(net.norm(g.scale(sum, 1 / streams), eps), true);
  return net.finish(logitCap === undefined ? logits : g.softcap(logits, logitCap), decoder.contextLength);
}

/** A number for each layer, or one for all. */
function perLayer(config: ConfigReader, name: string, layers: number): number[] {
  const value = config.get([null, name]);
  const list = typeof value === "number" ? Array.from({ length: layers }, () => value) : (numberList(value) ?? []);
  if (list.length > 0 && list.length < layers)
    throw config.wrong([null, name], `a number for each of ${layers} layers`);
  return list;
}
