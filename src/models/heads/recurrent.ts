/**
 * Heads that go on from their own vectors: a row takes the embedding of the token ahead and a vector, the target's or the
 * head's own, and gives the next vector.
 *   EAGLE (Li et al. 2024): x = fc [e; f], one layer without a first norm; f is what goes into the target's output matrix.
 *   EAGLE-3 (Li et al. 2025): f = fc of three layers' vectors; the layer's attention reads [norm e; norm f].
 *   Multi-token prediction (DeepSeek-AI 2024): x = fc [norm e; norm f], one whole layer.
 * Names are those of the public files: SafeAILab's EAGLE, speculators, DeepSeek's and GGUF's `nextn`.
 */
import type { Tensor } from "../../artifact/artifact.ts";
import { ArtifactError } from "../../errors.ts";
import { GraphBuilder } from "../../graph/builder.ts";
import type { Value, WeightRef } from "../../graph/graph.ts";
import { ConfigReader, numberList } from "../config.ts";
import { kvState, readActivation, readDimensions } from "../dimensions.ts";
import { LLAMA_NAMES } from "../names.ts";
import { readRope } from "../rope.ts";
import { TensorFinder } from "../tensors.ts";
import type { DraftHead, HeadKind, HeadParts } from "./head.ts";
import { embedAsTarget, featureState, hiddenWidth, logitsAsTarget } from "./target.ts";

export type RecurrentKind = "eagle" | "eagle3" | "mtp";

/** A part of the one layer, by Llama's names: GGUF's, SafeAILab's, then the others'. */
function inLayer(part: "attnNorm" | "q" | "k" | "v" | "o" | "qNorm" | "kNorm" | "ffnNorm" | "gate" | "up" | "down") {
  const [gguf, name] = LLAMA_NAMES.layer[part];
  return [`blk.0.${gguf}`, `midlayer.${name}`, `layers.0.${name}`] as const;
}

/** By part: GGUF's name, then those of the other layouts. */
const NAMES = {
  embed: ["token_embd", "embed_tokens"],
  fc: ["fc", "blk.0.nextn.eh_proj", "eh_proj", "layers.0.eh_proj"],
  tokenNorm: inLayer("attnNorm"),
  hiddenNorm: ["blk.0.hidden_norm", "midlayer.hidden_norm", "layers.0.hidden_norm"],
  enorm: ["blk.0.nextn.enorm", "enorm", "layers.0.enorm"],
  hnorm: ["blk.0.nextn.hnorm", "hnorm", "layers.0.hnorm"],
  q: inLayer("q"),
  k: inLayer("k"),
  v: inLayer("v"),
  o: inLayer("o"),
  qNorm: inLayer("qNorm"),
  kNorm: inLayer("kNorm"),
  ffnNorm: inLayer("ffnNorm"),
  gate: inLayer("gate"),
  up: inLayer("up"),
  down: inLayer("down"),
  outNorm: ["output_norm", "blk.0.nextn.shared_head_norm", "norm", "shared_head.norm", "layers.0.shared_head.norm"],
  output: ["output", "lm_head"],
} as const;
type Part = keyof typeof NAMES;

/** The parts of a head, found in the artifact of both. */
class HeadWeights {
  readonly #g: GraphBuilder;
  readonly #tensors: TensorFinder;
  readonly #prefix: string;

  constructor(g: GraphBuilder, { both, prefix }: HeadParts) {
    this.#g = g;
    this.#tensors = new TensorFinder(both);
    this.#prefix = prefix;
  }

  find(part: Part, suffix = "weight"): Tensor | undefined {
    return this.#tensors.find(this.#names(part, suffix));
  }

  weight(part: Part, shape: readonly number[], suffix = "weight"): WeightRef {
    const { name } = this.#tensors.get(this.#names(part, suffix), shape);
    return { name, shape, parts: [{ tensor: name }] };
  }

  linear(x: Value, part: Part, outputs: number): Value {
    const bias = this.find(part, "bias") && this.weight(part, [outputs], "bias");
    return this.#g.linear(x, this.weight(part, [outputs, this.#g.width(x)]), bias);
  }

  norm(x: Value, part: Part, eps: number, groupSize = this.#g.width(x)): Value {
    return this.#g.rmsNorm(x, this.weight(part, [groupSize]), { eps, groupSize });
  }

  #names(part: Part, suffix: string): string[] {
    return NAMES[part].map((name) => `${this.#prefix}${name}.${suffix}`);
  }
}

export function recurrent(kind: RecurrentKind): HeadKind {
  return (parts) => build(kind, parts);
}

async function build(kind: RecurrentKind, parts: HeadParts): Promise<DraftHead> {
  const { target, head, context } = parts;
  const config = new ConfigReader(head);
  if (config.format === "gguf" && config.architecture !== kind)
    throw new ArtifactError(`${head.name} is a head of the kind "${config.architecture}", not "${kind}"`);
  const d = readDimensions(config);
  const { heads, kvHeads, headDim, hidden, eps, width } = d;
  const style = config.format === "gguf" ? "interleaved" : "half";
  const rope = await readRope(head, config, { headDim, style, contextLength: d.contextLength, context });
  const activation = readActivation(config, "hidden_act", "silu");
  if (width !== hiddenWidth(target))
    throw new ArtifactError(`${head.name}: a head ${width} wide for a model ${hiddenWidth(target)} wide`);

  const g = new GraphBuilder(`${kind} head, ${width} wide`);
  const own = new HeadWeights(g, parts);
  const features = kind === "eagle3" ? layersOf(config, target) : ["hidden"];
  const e =
    own.find("embed") === undefined
      ? embedAsTarget(g, target)
      : g.embed(own.weight("embed", [vocabularyOf(own), width]));
  const read = features.map((name) => g.readRows(g.state(featureState(name, width)), 0));
  const side = (a: Value, b: Value): Value => g.concat(a, b);
  const given = (x: Value): Value => g.input(x, "feature");
  const vectors = read.reduce(side);

  let x = given(kind === "eagle3" ? own.linear(vectors, "fc", width) : vectors);
  let h: Value;
  if (kind === "eagle3") h = side(own.norm(e, "tokenNorm", eps), own.norm(x, "hiddenNorm", eps));
  else if (kind === "eagle") h = x = own.linear(side(e, x), "fc", width);
  else {
    x = own.linear(side(own.norm(e, "enorm", eps), own.norm(x, "hnorm", eps)), "fc", width);
    h = own.norm(x, "tokenNorm", eps);
  }
  const normed = (v: Value, part: Part): Value => (own.find(part) === undefined ? v : own.norm(v, part, eps, headDim));
  const q = normed(own.linear(h, "q", heads * headDim), "qNorm");
  const k = normed(own.linear(h, "k", kvHeads * headDim), "kNorm");
  const v = own.linear(h, "v", kvHeads * headDim);
  const state = g.state({ ...kvState(0, d), name: `${kind} head` });
  const scale = 1 / Math.sqrt(headDim);
  x = g.add(x, own.linear(g.attention(g.rope(q, rope), g.rope(k, rope), v, { state, heads, scale }), "o", width));
  const m = own.norm(x, "ffnNorm", eps);
  x = g.add(
    x,
    own.linear(g.gate(own.linear(m, "gate", hidden), own.linear(m, "up", hidden), activation), "down", width),
  );
  g.output("feature", x);

  const last = kind === "eagle" ? x : own.norm(x, "outNorm", eps);
  const few = config.optional(["draft_vocab_size", null]);
  const output = own.find("output");
  const logits =
    output === undefined ? logitsAsTarget(g, target, last, few) : own.linear(last, "output", output.shape[0] ?? 0);
  return { graph: g.finish(logits, { contextLength: d.contextLength }), features };
}

function vocabularyOf(own: HeadWeights): number {
  return own.find("embed")?.shape[0] ?? 0;
}

/** The layers whose vectors EAGLE-3 reads; without a word of the config those of its authors: low, middle, high. */
function layersOf(config: ConfigReader, target: HeadParts["target"]): string[] {
  const listed =
    numberList(config.get(["extract_layers", "eagle_aux_hidden_state_layer_ids"])) ??
    numberList(config.get([null, "aux_hidden_state_layer_ids"]));
  if (listed !== undefined) return listed.map((layer) => `hidden:${layer}`);
  const layers = target.states.filter(({ name }) => /^layer \d+$/.test(name)).length;
  return [2, Math.floor(layers / 2), layers - 3].map((layer) => `hidden:${layer}`);
}
