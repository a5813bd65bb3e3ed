/**
 * ModernBERT (Warner et al. 2024): an encoder with rope, norms before each block, a GELU gate, and a window of near tokens, to
 * both sides, on two of three layers. Outputs as of BERT: `hidden`, and `scores` of a classifier.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { kvState, layerWindows, readActivation, readDimensions } from "./dimensions.ts";
import type { GraphOptions } from "./family.ts";
import type { TensorNames } from "./names.ts";
import { Network } from "./network.ts";
import { readRope } from "./rope.ts";

const NAMES = {
  prefixes: ["", "model."],
  layers: "layers",
  model: {
    embed: ["token_embd", "embeddings.tok_embeddings"],
    embedNorm: ["token_embd_norm", "embeddings.norm"],
    norm: ["output_norm", "final_norm"],
  },
  layer: {
    attnNorm: ["attn_norm", "attn_norm"],
    qkv: ["attn_qkv", "attn.Wqkv"],
    o: ["attn_output", "attn.Wo"],
    ffnNorm: ["ffn_norm", "mlp_norm"],
    gateUp: ["ffn_up", "mlp.Wi"],
    down: ["ffn_down", "mlp.Wo"],
  },
} as const satisfies TensorNames;

export async function modernbert(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const net = new Network(artifact, options.title, NAMES);
  const { g, config } = net;
  const d = readDimensions(config, { eps: ["attention.layer_norm_epsilon", "norm_eps"] });
  const { layers, width, heads, headDim, hidden, eps, contextLength } = d;
  const activation = readActivation(config, "hidden_activation", "gelu");
  /** Tokens that a near layer sees to either side. */
  const reach = Math.floor(config.int(["attention.sliding_window", "local_attention"]) / 2);
  const every = config.int([null, "global_attn_every_n_layers"], 3);
  const near = layerWindows(config, layers, { size: reach + 1 });
  const typed = config.get([null, "layer_types"]) !== undefined;
  const shape = { headDim, style: "half", contextLength, context: options.context } as const;
  const [wide, local] = [
    await readRope(artifact, config, {
      ...shape,
      layerType: "full_attention",
      hfBase: "global_rope_theta",
      defaultBase: 160_000,
    }),
    await readRope(artifact, config, {
      ...shape,
      layerType: "sliding_attention",
      hfBase: "local_rope_theta",
      ggufBase: "rope.freq_base_swa",
    }),
  ];

  let x = net.layerNorm(net.embed(width), eps, 0, "embedNorm");
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const isNear = typed ? near[i] !== undefined : i % every !== 0;
    const rope = isNear ? local : wide;
    const h = layer.has("attnNorm") ? layer.layerNorm(x, "attnNorm", eps) : x;
    const [q, k, v] = layer.split(h, "qkv", [width, width, width]);
    const state = g.state(kvState(i, d, isNear ? reach + 1 : undefined));
    const attended = g.attention(g.rope(q, rope), g.rope(k, rope), v, {
      state,
      heads,
      scale: 1 / Math.sqrt(headDim),
      ...(isNear && { ahead: reach }),
    });
    x = g.add(x, layer.linear(attended, "o", width));
    x = g.add(x, layer.gatedMlp(layer.layerNorm(x, "ffnNorm", eps), hidden, activation));
  }
  const last = net.layerNorm(x, eps);
  g.output("hidden", last);
  if (net.hasOuter("head.dense") && net.hasOuter("classifier")) {
    const dense = g.activation(net.outer(last, "head.dense"), readActivation(config, "classifier_activation", "gelu"));
    g.output("scores", net.outer(net.outerNorm(dense, "head.norm", eps), "classifier"));
  }
  return g.build({ contextLength });
}
