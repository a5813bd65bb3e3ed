/**
 * MPNet (Song et al. 2020), as in all-mpnet-base-v2: BERT without segments, whose scores are also moved by a learned value for
 * each head and bucket of distances (Raffel et al. 2020), the same in all layers. Outputs as of BERT: `hidden`, `pooled`.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import { tensorValues } from "../artifact/tensor-values.ts";
import type { Graph } from "../graph/graph.ts";
import { bertLayer } from "./bert.ts";
import { readActivation, readDimensions } from "./dimensions.ts";
import type { GraphOptions } from "./family.ts";
import type { TensorNames } from "./names.ts";
import { Network } from "./network.ts";

const NAMES = {
  prefixes: ["", "mpnet."],
  layers: "encoder.layer",
  model: {
    embed: ["", "embeddings.word_embeddings"],
    positions: ["", "embeddings.position_embeddings"],
    embedNorm: ["", "embeddings.LayerNorm"],
    pooler: ["", "pooler.dense"],
  },
  layer: {
    q: ["", "attention.attn.q"],
    k: ["", "attention.attn.k"],
    v: ["", "attention.attn.v"],
    o: ["", "attention.attn.o"],
    attnNorm: ["", "attention.LayerNorm"],
    up: ["", "intermediate.dense"],
    down: ["", "output.dense"],
    ffnNorm: ["", "output.LayerNorm"],
  },
} as const satisfies TensorNames;

/** Positions begin behind the padding token's id. */
const SKIPPED = 2;
/** Distances beyond this share a bucket. */
const REACH = 128;

export async function mpnet(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const net = new Network<TensorNames>(artifact, options.title, NAMES);
  const { g, config } = net;
  const eps = config.float([null, "layer_norm_eps"], 1e-12);
  const d = readDimensions(config);
  const { layers, width, heads } = d;
  const contextLength = d.contextLength - SKIPPED;
  const activation = readActivation(config, "hidden_act", "gelu");
  const buckets = config.int([null, "relative_attention_num_buckets"], 32);
  const names = ["encoder.relative_attention_bias.weight", "mpnet.encoder.relative_attention_bias.weight"];
  const learned = await tensorValues(net.tensors.get(names, [buckets, heads]));
  const distances = Float32Array.from({ length: heads * (2 * REACH + 1) }, (_, i) => {
    const [head, distance] = [Math.floor(i / (2 * REACH + 1)), (i % (2 * REACH + 1)) - REACH];
    return learned[bucketOf(distance, buckets) * heads + head] ?? 0;
  });

  let x = g.add(net.embed(width), net.positions("positions", contextLength, width, SKIPPED));
  x = net.layerNorm(x, eps, 0, "embedNorm");
  const how = { ...d, contextLength, eps, activation, moved: { distances } };
  for (let i = 0; i < layers; i++) x = bertLayer(net, i, x, how);
  g.output("hidden", x);
  if (net.has("pooler")) g.output("pooled", g.softcap(net.linear(x, "pooler", width), 1));
  return g.build({ contextLength });
}

/** Half of the buckets for keys behind a row; the near half of each for single distances, the others grow with it. */
function bucketOf(distance: number, buckets: number): number {
  const half = buckets / 2;
  const first = distance > 0 ? half : 0;
  const exact = Math.floor(half / 2);
  const away = Math.abs(distance);
  if (away < exact) return first + away;
  const grown = exact + Math.floor((Math.log(away / exact) / Math.log(REACH / exact)) * (half - exact));
  return first + Math.min(half - 1, grown);
}
