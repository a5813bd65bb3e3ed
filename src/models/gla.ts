/**
 * Gated linear attention (GLA, Yang et al. 2023) and RetNet (Sun et al. 2023), as flash-linear-attention stores them: Llama
 * with a memory of keys and values in the place of attention, each head normalised and gated. GLA forgets each key column as
 * a matrix of low rank tells of the input, RetNet at a constant rate a head, and turns keys and queries.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import { madeVector } from "../artifact/made-tensor.ts";
import { UnsupportedError } from "../errors.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Graph, Value } from "../graph/graph.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import type { Layer } from "./layer.ts";
import { LLAMA_NAMES } from "./names.ts";
import { scanStates } from "./recurrent.ts";

const NAMES = {
  ...LLAMA_NAMES,
  model: { ...LLAMA_NAMES.model, embed: ["", "embeddings"] },
  layer: {
    ...LLAMA_NAMES.layer,
    attnNorm: ["", "attn_norm"],
    q: ["", "attn.q_proj"],
    k: ["", "attn.k_proj"],
    v: ["", "attn.v_proj"],
    outGate: ["", "attn.g_proj"],
    rateDown: ["", "attn.gk_proj.0"],
    rateUp: ["", "attn.gk_proj.1"],
    headNorm: ["", "attn.g_norm_swish_gate", "attn.g_norm"],
    o: ["", "attn.o_proj"],
    ffnNorm: ["", "mlp_norm"],
  },
} as const;

interface Memory {
  readonly g: GraphBuilder;
  readonly layer: Layer<typeof NAMES>;
  readonly index: number;
  readonly h: Value;
  readonly heads: number;
  readonly q: Value;
  readonly k: Value;
  readonly v: Value;
}

/** Of low rank's logits, in GLA's layers. */
const GATE_NORMALIZER = 16;

export function gla(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  return linearModel(artifact, options, [0.5, 1], ({ g, layer, index, h, heads, q, k, v }) => {
    const [keys, values] = [g.width(k), g.width(v)];
    const gate = layer.linear(layer.linear(h, "rateDown", layer.outputs("rateDown")), "rateUp", keys);
    // σ(x)^(1/16), the logarithm of which is −softplus(−x) / 16.
    const rate = g.scale(g.activation(g.scale(gate, -1), "softplus"), -1 / GATE_NORMALIZER);
    return g.matrixScan([q, g.activation(rate, "exp"), k, v], {
      heads,
      ...scanStates(g, index, { state: (keys / heads) * values, history: 2 * keys + values }),
    });
  });
}

export function retnet(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  return linearModel(artifact, options, [1, 2], ({ g, index, heads, q, k, v }, decoder) => {
    const [keys, values] = [g.width(k), g.width(v)];
    const rope = { ...decoder.rope, headDim: keys / heads };
    // γ = 1 − 2^(−5 − head), as its logarithm, and β = 1: the same in every row.
    const rates = Array.from({ length: heads }, (_, head) => Math.log1p(-(2 ** (-5 - head))));
    const constant = (name: string, list: readonly number[]): Value => {
      const made = madeVector(name, list);
      const weight = { name, shape: [heads], parts: [{ tensor: name, made }] };
      return g.bias(g.scale(g.slice(q, 0, heads), 0), weight);
    };
    const ones = constant(
      "retention: 1",
      rates.map(() => 1),
    );
    return g.scan([g.rope(q, rope), g.rope(k, rope), v, constant("retention: log γ", rates), ones], {
      heads,
      keyHeads: heads,
      delta: false,
      ...scanStates(g, index, { state: (keys / heads) * values, history: keys + values + heads }),
    });
  });
}

type Decoder = Awaited<ReturnType<typeof readDecoder<typeof NAMES>>>;

async function linearModel(
  artifact: ModelArtifact,
  options: GraphOptions,
  [expandK, expandV]: readonly [number, number],
  remember: (memory: Memory, decoder: Decoder) => Value,
): Promise<Graph> {
  const decoder = await readDecoder(artifact, options, NAMES, {
    keys: { heads: [null, "num_heads"], eps: [null, "norm_eps"] },
    ...(options.title === "retnet" && { rope: { headDim: headDimOf(artifact, expandK) } }),
  });
  const { net, g, config, layers, width, heads, hidden, eps, activation } = decoder;
  if (config.bool([null, "use_short_conv"], false) || !config.bool([null, "use_output_gate"], true))
    throw new UnsupportedError(`${artifact.name}: linear attention with convolutions, or without a gate`);
  const keys = config.float([null, "expand_k"], expandK) * width;
  const values = config.float([null, "expand_v"], expandV) * width;
  const scale = 1 / Math.sqrt(keys / heads);

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "attnNorm", eps);
    const q = g.scale(layer.linear(h, "q", keys), scale);
    const [k, v] = [layer.linear(h, "k", keys), layer.linear(h, "v", values)];
    const y = remember({ g, layer, index: i, h, heads, q, k, v }, decoder);
    const normed = layer.rmsNorm(y, "headNorm", eps, { headDim: values / heads });
    x = g.add(x, layer.linear(g.gate(layer.linear(h, "outGate", values), normed, activation), "o", width));
    x = g.add(x, layer.gatedMlp(layer.rmsNorm(x, "ffnNorm", eps), hidden, activation));
  }
  return net.finish(net.head(net.norm(x, eps), false), decoder.contextLength);
}

/** Columns of a head's keys, which rope turns. */
function headDimOf({ config: { values } }: ModelArtifact, expandK: number): number {
  return (Number(values["hidden_size"]) * Number(values["expand_k"] ?? expandK)) / Number(values["num_heads"]);
}
