/**
 * OPT (Zhang et al. 2022): GPT-2's kin with ReLU, and learned positions that begin at row 2. The 350M model has narrower
 * embeddings than layers, and its norms after each block.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";
import { kvState, readActivation, readDimensions } from "./dimensions.ts";
import type { GraphOptions } from "./family.ts";
import type { TensorNames } from "./names.ts";
import { Network } from "./network.ts";

const NAMES = {
  prefixes: ["model.decoder.", "decoder."],
  layers: "layers",
  model: {
    embed: ["", "embed_tokens"],
    positions: ["", "embed_positions"],
    projectIn: ["", "project_in"],
    projectOut: ["", "project_out"],
    norm: ["", "final_layer_norm"],
  },
  layer: {
    attnNorm: ["", "self_attn_layer_norm"],
    q: ["", "self_attn.q_proj"],
    k: ["", "self_attn.k_proj"],
    v: ["", "self_attn.v_proj"],
    o: ["", "self_attn.out_proj"],
    ffnNorm: ["", "final_layer_norm"],
    up: ["", "fc1"],
    down: ["", "fc2"],
  },
} as const satisfies TensorNames;

const EPS = 1e-5;

export async function opt(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const net = new Network(artifact, options.title, NAMES);
  const { g, config } = net;
  const d = readDimensions(config, { hidden: [null, "ffn_dim"] });
  const { layers, width, heads, headDim, hidden, contextLength } = d;
  const narrow = config.int([null, "word_embed_proj_dim"], width);
  const before = config.bool([null, "do_layer_norm_before"], true);
  const activation = readActivation(config, "activation_function", "relu");
  const scale = 1 / Math.sqrt(headDim);

  const embedded = net.embed(narrow);
  const widened = narrow === width ? embedded : net.linear(embedded, "projectIn", width);
  let x = g.add(widened, net.positions("positions", contextLength, width, 2));
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = before ? layer.layerNorm(x, "attnNorm", EPS) : x;
    const q = layer.linear(h, "q", width);
    const k = layer.linear(h, "k", width);
    const v = layer.linear(h, "v", width);
    const state = g.state(kvState(i, d));
    x = g.add(x, layer.linear(g.attention(q, k, v, { state, heads, scale }), "o", width));
    if (!before) x = layer.layerNorm(x, "attnNorm", EPS);
    x = g.add(x, layer.mlp(before ? layer.layerNorm(x, "ffnNorm", EPS) : x, hidden, activation));
    if (!before) x = layer.layerNorm(x, "ffnNorm", EPS);
  }
  const last = before ? net.layerNorm(x, EPS) : x;
  const narrowed = narrow === width ? last : net.linear(last, "projectOut", narrow);
  return net.finish(net.head(narrowed, true), contextLength);
}
