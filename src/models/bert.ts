/**
 * BERT (Devlin et al. 2019), RoBERTa (Liu et al. 2019), XLM-RoBERTa (Conneau et al. 2020) and DistilBERT (Sanh et al. 2019), the
 * encoders that most embedding models and rerankers are (bge, e5, gte, MiniLM): all tokens see each other, learned positions,
 * norms after each block. The outputs are the rows of the last layer (`hidden`), those through the pooler where the file
 * has one (`pooled`, meant for the first row), and the scores of a classifier (`scores`, of the first row too). In
 * jina-embeddings-v2 (Günther et al. 2023) distance takes from the scores instead of positions (ALiBi), and MLPs are gated.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Activation, AttendOptions, Graph, Value } from "../graph/graph.ts";
import { alibiSlopes } from "./alibi.ts";
import { ConfigReader } from "./config.ts";
import { type Dimensions, kvState, readActivation, readDimensions, skippedPositions } from "./dimensions.ts";
import type { GraphOptions } from "./family.ts";
import type { TensorNames } from "./names.ts";
import { Network } from "./network.ts";

const BERT_NAMES = {
  prefixes: ["", "bert.", "roberta."],
  layers: "encoder.layer",
  model: {
    embed: ["token_embd", "embeddings.word_embeddings"],
    positions: ["position_embd", "embeddings.position_embeddings"],
    types: ["token_types", "embeddings.token_type_embeddings"],
    embedNorm: ["token_embd_norm", "embeddings.LayerNorm"],
    pooler: ["", "pooler.dense"],
  },
  layer: {
    q: ["attn_q", "attention.self.query"],
    k: ["attn_k", "attention.self.key"],
    v: ["attn_v", "attention.self.value"],
    o: ["attn_output", "attention.output.dense"],
    attnNorm: ["attn_output_norm", "attention.output.LayerNorm"],
    up: ["ffn_up", "intermediate.dense"],
    down: ["ffn_down", "output.dense"],
    ffnNorm: ["layer_output_norm", "output.LayerNorm"],
  },
} as const satisfies TensorNames;

const JINA_NAMES = {
  ...BERT_NAMES,
  layer: {
    ...BERT_NAMES.layer,
    gateUp: ["", "mlp.gated_layers"],
    gate: ["ffn_gate"],
    up: ["ffn_up"],
    down: ["ffn_down", "mlp.wo"],
    ffnNorm: ["layer_output_norm", "mlp.layernorm"],
  },
} as const satisfies TensorNames;

const DISTILBERT_NAMES = {
  ...BERT_NAMES,
  prefixes: ["", "distilbert."],
  layers: "transformer.layer",
  layer: {
    q: ["attn_q", "attention.q_lin"],
    k: ["attn_k", "attention.k_lin"],
    v: ["attn_v", "attention.v_lin"],
    o: ["attn_output", "attention.out_lin"],
    attnNorm: ["attn_output_norm", "sa_layer_norm"],
    up: ["ffn_up", "ffn.lin1"],
    down: ["ffn_down", "ffn.lin2"],
    ffnNorm: ["layer_output_norm", "output_layer_norm"],
  },
} as const satisfies TensorNames;

const DISTILBERT_KEYS = {
  width: ["embedding_length", "dim"],
  heads: ["attention.head_count", "n_heads"],
  layers: ["block_count", "n_layers"],
  hidden: ["feed_forward_length", "hidden_dim"],
} as const;

const EPS = 1e-12;

export async function bert(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const distilled = options.title === "distilbert";
  const isJina =
    options.title === "jina-bert-v2" || new ConfigReader(artifact).get([null, "position_embedding_type"]) === "alibi";
  const names = isJina ? JINA_NAMES : distilled ? DISTILBERT_NAMES : BERT_NAMES;
  const net = new Network<TensorNames>(artifact, options.title, names);
  const { g, config } = net;
  const eps = config.float(["attention.layer_norm_epsilon", "layer_norm_eps"], EPS);
  const d = readDimensions(config, distilled ? DISTILBERT_KEYS : {});
  const { layers, width, contextLength } = d;
  const activation = readActivation(config, distilled ? "activation" : "hidden_act", "gelu");

  const words = net.embedSegments(width, "types");
  const slopes = isJina ? { slopes: alibiSlopes(d.heads) } : {};
  const placed = isJina
    ? words
    : g.add(words, net.positions("positions", contextLength, width, skippedPositions(config)));
  let x = net.layerNorm(placed, eps, 0, "embedNorm");
  for (let i = 0; i < layers; i++) x = bertLayer(net, i, x, { ...d, eps, activation, gated: isJina, moved: slopes });
  g.output("hidden", x);
  const pooled = net.has("pooler") ? tanh(net, net.linear(x, "pooler", width)) : undefined;
  if (pooled !== undefined) g.output("pooled", pooled);
  const scores = classify(net, x, pooled ?? x);
  if (scores !== undefined) g.output("scores", scores);
  return g.build({ contextLength });
}

const BIASED = { bias: "required" } as const;

/** Attention over all tokens, then an MLP, a norm behind each. `moved`: what moves the scores (ALiBi, learned distances). */
export function bertLayer(
  net: Network<TensorNames>,
  index: number,
  x: Value,
  {
    activation,
    gated = false,
    moved = {},
    ...d
  }: Dimensions & {
    readonly activation: Activation;
    readonly gated?: boolean;
    readonly moved?: Pick<AttendOptions, "slopes" | "distances">;
  },
): Value {
  const { g } = net;
  const { width, heads, headDim, hidden, eps } = d;
  const layer = net.layer(index);
  const [q, k, v] = [
    layer.linear(x, "q", width, BIASED),
    layer.linear(x, "k", width, BIASED),
    layer.linear(x, "v", width, BIASED),
  ];
  const state = g.state(kvState(index, d));
  const attended = g.attention(q, k, v, { state, heads, scale: 1 / Math.sqrt(headDim), ...moved });
  const seen = layer.layerNorm(g.add(x, layer.linear(attended, "o", width, BIASED)), "attnNorm", eps, BIASED);
  const mlp = gated ? layer.gatedMlp(seen, hidden, activation) : layer.mlp(seen, hidden, activation, BIASED);
  return layer.layerNorm(g.add(seen, mlp), "ffnNorm", eps, BIASED);
}

function tanh({ g }: Network<TensorNames>, x: Value): Value {
  return g.softcap(x, 1);
}

/** A classifier of one matrix on what the pooler gives, or RoBERTa's of two. */
function classify(net: Network<TensorNames>, x: Value, pooled: Value): Value | undefined {
  if (net.hasOuter("classifier.out_proj"))
    return net.outer(tanh(net, net.outer(x, "classifier.dense")), "classifier.out_proj");
  if (net.hasOuter("pre_classifier"))
    return net.outer(net.g.activation(net.outer(x, "pre_classifier"), "relu"), "classifier");
  return net.hasOuter("classifier") ? net.outer(pooled, "classifier") : undefined;
}
