/**
 * What families of Llama's kind read alike before their network begins: sizes, rope, windows, activation. A family's file
 * takes what it needs from here and writes down the layers; what it has of its own (other norms, experts, multipliers,
 * another order) it reads itself.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { GraphBuilder, RopeOptions } from "../graph/builder.ts";
import type { Activation, NodeOf, Value } from "../graph/graph.ts";
import type { ConfigReader } from "./config.ts";
import type { Dimensions, DimensionKeys, WindowDefaults } from "./dimensions.ts";
import { kvState, layerWindows, readActivation, readDimensions } from "./dimensions.ts";
import type { GraphOptions } from "./family.ts";
import type { TensorNames } from "./names.ts";
import { Network } from "./network.ts";
import type { RopeSettings } from "./rope.ts";
import { readRope } from "./rope.ts";

export interface DecoderSettings {
  /**
   * How a head's columns are paired. "permuted": as in Llama, whose GGUF files hold q and k so that pairs lie side by
   * side. Default "half".
   */
  readonly style?: RopeOptions["style"] | "permuted";
  readonly windows?: WindowDefaults;
  /** Keys of the config that this family calls differently. */
  readonly keys?: DimensionKeys;
  /** Hugging Face's key of the activation (null: the family has its own), and the activation without one, as in GGUF. */
  readonly activationKey?: string | null;
  readonly activation?: Activation;
  readonly rope?: Partial<RopeSettings>;
}

export interface Decoder<N extends TensorNames> extends Dimensions {
  readonly net: Network<N>;
  readonly g: GraphBuilder;
  readonly config: ConfigReader;
  readonly rope: RopeOptions;
  /** The window of each layer. */
  readonly windows: readonly (number | undefined)[];
  readonly activation: Activation;
  /** Columns of all heads' queries, and of all key/value heads' keys. */
  readonly qWidth: number;
  readonly kvWidth: number;
  /** Attention of layer `index` over its own state; `scale` is 1 / √headDim unless given. */
  attend(index: number, q: Value, k: Value, v: Value, options?: AttendOptions): Value;
}

type Attention = NodeOf<"attention">;

export interface AttendOptions extends Partial<Pick<Attention, "scale" | "sinks" | "slopes" | "chunk" | "ahead">> {
  /** Default: the layer's. */
  readonly window?: number;
  readonly softcap?: number | undefined;
  /** How keys and queries are turned by position, if at all. Default: the decoder's `rope`. */
  readonly rope?: RopeOptions | null;
}

export async function readDecoder<N extends TensorNames>(
  artifact: ModelArtifact,
  options: GraphOptions,
  names: N,
  settings: DecoderSettings = {},
): Promise<Decoder<N>> {
  const net = new Network(artifact, options.title, names);
  const { g, config } = net;
  const d = readDimensions(config, settings.keys);
  const { heads, kvHeads, headDim, contextLength } = d;
  const style = settings.style === "permuted" ? (config.format === "gguf" ? "interleaved" : "half") : settings.style;
  const rope = await readRope(artifact, config, {
    headDim,
    style: style ?? "half",
    contextLength,
    context: options.context,
    ...settings.rope,
  });
  const windows = layerWindows(config, d.layers, settings.windows);
  const { activationKey = "hidden_act", activation: ownActivation = "silu" } = settings;
  const activation = readActivation(config, activationKey, ownActivation);
  return {
    ...d,
    net,
    g,
    config,
    rope,
    windows,
    activation,
    qWidth: heads * headDim,
    kvWidth: kvHeads * headDim,
    attend(
      index,
      q,
      k,
      v,
      { scale = 1 / Math.sqrt(headDim), softcap, rope: own = rope, window = windows[index], ...more } = {},
    ) {
      const state = g.state(kvState(index, d, window));
      const [query, key] = own === null ? [q, k] : [g.rope(q, own), g.rope(k, own)];
      return g.attention(query, key, v, { state, heads, scale, ...more, ...(softcap !== undefined && { softcap }) });
    },
  };
}
