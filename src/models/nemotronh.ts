/**
 * Nemotron-H and Nemotron 3 (NVIDIA 2025): layers of a norm and one block each: mostly Mamba-2's mixer, a plain MLP whose
 * activation is the square of ReLU (So et al. 2021), or a mixture of such, and now and then attention without positions. Which
 * one a layer is follows from the tensors that it has.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph, Value } from "../graph/graph.ts";
import { ConfigReader } from "./config.ts";
import { readDecoder } from "./decoder.ts";
import type { GraphOptions } from "./family.ts";
import { readSharedMixture } from "./mixture.ts";
import { hybridSizes, readSsd, ssd, ssdNames } from "./recurrent.ts";

const NAMES = {
  prefixes: ["backbone.", "model."],
  layers: "layers",
  model: { embed: ["token_embd", "embeddings", "embed_tokens"], norm: ["output_norm", "norm_f", "norm"] },
  layer: {
    norm: ["attn_norm", "norm"],
    q: ["attn_q", "mixer.q_proj"],
    k: ["attn_k", "mixer.k_proj"],
    v: ["attn_v", "mixer.v_proj"],
    o: ["attn_output", "mixer.o_proj"],
    up: ["ffn_up", "mixer.up_proj"],
    down: ["ffn_down", "mixer.down_proj"],
    router: ["ffn_gate_inp", "mixer.gate"],
    routerBias: ["exp_probs_b", "mixer.gate.e_score_correction_bias"],
    expertUp: ["ffn_up.*", "mixer.experts.*.up_proj"],
    expertDown: ["ffn_down.*", "mixer.experts.*.down_proj"],
    sharedUp: ["ffn_up_shexp", "mixer.shared_experts.up_proj"],
    sharedDown: ["ffn_down_shexp", "mixer.shared_experts.down_proj"],
    ...ssdNames("mixer"),
  },
} as const;

export async function nemotronh(artifact: ModelArtifact, options: GraphOptions): Promise<Graph> {
  const { known = {} } = hybridSizes(artifact);
  const list = new ConfigReader(artifact).get([null, "layers_block_type"]);
  const count = Array.isArray(list) ? { layers: list.length } : {};
  const decoder = await readDecoder(artifact, options, NAMES, {
    keys: { known: { ...known, ...count }, eps: ["attention.layer_norm_rms_epsilon", "layer_norm_epsilon"] },
    activationKey: null,
    activation: "relu",
  });
  const { net, g, config, layers, width, qWidth, kvWidth, hidden, eps, activation } = decoder;
  const sizes = readSsd(config, SSD_KEYS, eps);
  const isMixed = config.optional(["expert_count", "n_routed_experts"]) !== undefined;
  const mixture = isMixed ? readSharedMixture(decoder) : undefined;
  const sharedHidden = config.int(
    ["expert_shared_feed_forward_length", "moe_shared_expert_intermediate_size"],
    mixture?.sharedHidden ?? 1,
  );
  /** down(relu(up x)²). */
  const mlp = (m: Value, layer: ReturnType<typeof net.layer>, which: "" | "shared", inner: number): Value => {
    const up = layer.linear(m, which === "" ? "up" : "sharedUp", inner);
    return layer.linear(g.gate(up, up, activation), which === "" ? "down" : "sharedDown", width);
  };

  let x = net.embed(width);
  for (let i = 0; i < layers; i++) {
    const layer = net.layer(i);
    const h = layer.rmsNorm(x, "norm", eps);
    let added: Value;
    if (layer.has("ssmIn")) added = ssd(g, config, layer, i, h, { ...sizes, groupedNorm: true });
    else if (layer.has("q")) {
      const [q, k] = [layer.linear(h, "q", qWidth), layer.linear(h, "k", kvWidth)];
      const attended = decoder.attend(i, q, k, layer.linear(h, "v", kvWidth), { rope: null });
      added = layer.linear(attended, "o", width);
    } else if (mixture !== undefined && layer.has("router")) {
      const routed = layer.moe(h, { ...mixture, gatesItself: true });
      added = g.add(routed, mlp(h, layer, "shared", sharedHidden));
    } else added = mlp(h, layer, "", hidden);
    x = g.add(x, added);
  }
  return net.finish(net.head(net.norm(x, eps), false), decoder.contextLength);
}

/** config.json's names for readSsd. */
const SSD_KEYS = ["mamba_num_heads", "mamba_head_dim", "n_groups", "ssm_state_size", "conv_kernel"] as const;
