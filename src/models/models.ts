/**
 * From a model's files to its graph: finds the family that an artifact belongs to and lets it build the network.
 * The graph is plain; `graph/passes.ts` rewrites it, a backend lowers it. A new family is a file beside this one
 * and a line in the table.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import { ArtifactError, UnsupportedError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { DTypeOf } from "../graph/passes.ts";
import { GraphError } from "../graph/graph-error.ts";
import { nearest } from "../nearest.ts";
import { ConfigReader } from "./config.ts";
import { readContextLength } from "./dimensions.ts";
import type { Family } from "./family.ts";
import { arcee } from "./arcee.ts";
import { baichuan } from "./baichuan.ts";
import { bert } from "./bert.ts";
import { bloom } from "./bloom.ts";
import { chatglm } from "./chatglm.ts";
import { cohere } from "./cohere.ts";
import { deepseek } from "./deepseek.ts";
import { ernie45moe } from "./ernie45moe.ts";
import { exaone4 } from "./exaone4.ts";
import { falcon } from "./falcon.ts";
import { gemma } from "./gemma.ts";
import { gemma2 } from "./gemma2.ts";
import { gemma3 } from "./gemma3.ts";
import { gemma3n } from "./gemma3n.ts";
import { gemma4 } from "./gemma4.ts";
import { glm } from "./glm.ts";
import { glm4moe } from "./glm4moe.ts";
import { gpt2 } from "./gpt2.ts";
import { gptj } from "./gptj.ts";
import { gptneo } from "./gptneo.ts";
import { gptneox } from "./gptneox.ts";
import { gptoss } from "./gptoss.ts";
import { granite } from "./granite.ts";
import { gla, retnet } from "./gla.ts";
import { hunyuan } from "./hunyuan.ts";
import { internlm2 } from "./internlm2.ts";
import { jamba } from "./jamba.ts";
import { kimilinear } from "./kimilinear.ts";
import { lfm2 } from "./lfm2.ts";
import { ernie45, helium, llama, seedOss } from "./llama.ts";
import { ling } from "./ling.ts";
import { llama4 } from "./llama4.ts";
import { mamba } from "./mamba.ts";
import { mamba2 } from "./mamba2.ts";
import { mixtral } from "./mixtral.ts";
import { mobilellm } from "./mobilellm.ts";
import { modernbert } from "./modernbert.ts";
import { mpnet } from "./mpnet.ts";
import { mpt } from "./mpt.ts";
import { nemotron } from "./nemotron.ts";
import { nemotronh } from "./nemotronh.ts";
import { nomicbert } from "./nomicbert.ts";
import { olmo } from "./olmo.ts";
import { olmo2 } from "./olmo2.ts";
import { olmoe } from "./olmoe.ts";
import { opt } from "./opt.ts";
import { phi } from "./phi.ts";
import { phi3 } from "./phi3.ts";
import { qwen2 } from "./qwen2.ts";
import { qwen3 } from "./qwen3.ts";
import { qwen3moe } from "./qwen3moe.ts";
import { qwen3next } from "./qwen3next.ts";
import { rwkv4 } from "./rwkv4.ts";
import { rwkv6 } from "./rwkv6.ts";
import { rwkv7 } from "./rwkv7.ts";
import { smollm3 } from "./smollm3.ts";
import { stablelm } from "./stablelm.ts";
import { starcoder } from "./starcoder.ts";
import { starcoder2 } from "./starcoder2.ts";
import { ropeVariant } from "./rope.ts";

/** By GGUF's `general.architecture` or config.json's `model_type`. */
const FAMILIES: Readonly<Record<string, Family>> = {
  arcee,
  baichuan,
  bailing_moe: ling,
  bailing_moe_v2: ling,
  bailingmoe: ling,
  bailingmoe2: ling,
  bert,
  roberta: bert,
  "xlm-roberta": bert,
  camembert: bert,
  distilbert: bert,
  bloom,
  cohere,
  "command-r": cohere,
  cohere2: cohere,
  deepseek_v2: deepseek,
  deepseek_v3: deepseek,
  kimi_k2: deepseek,
  deepseek2: deepseek,
  exaone4,
  falcon,
  gemma,
  gemma2,
  gemma3,
  gemma3_text: gemma3,
  gemma3n,
  gemma3n_text: gemma3n,
  gemma4,
  gemma4_text: gemma4,
  gla,
  glm,
  chatglm,
  glm4: glm,
  glm4_moe: glm4moe,
  glm4moe,
  gpt2,
  gpt_bigcode: starcoder,
  starcoder,
  gpt_neo: gptneo,
  gpt_neox: gptneox,
  gptneox,
  gptj,
  gpt_oss: gptoss,
  "gpt-oss": gptoss,
  granite,
  granitemoe: granite,
  granitemoeshared: granite,
  granitemoehybrid: granite,
  granitehybrid: granite,
  minicpm: granite,
  hunyuan_v1_dense: hunyuan,
  hunyuan_v1_moe: hunyuan,
  "hunyuan-dense": hunyuan,
  "hunyuan-moe": hunyuan,
  internlm2,
  jamba,
  kimi_linear: kimilinear,
  "jina-bert-v2": bert,
  "jina-bert-v3": nomicbert,
  jina_embeddings_v3: nomicbert,
  lfm2,
  llama,
  mistral: llama,
  ministral: llama,
  cwm: llama,
  seed_oss: seedOss,
  ernie4_5: ernie45,
  ernie4_5_moe: ernie45moe,
  "ernie4_5-moe": ernie45moe,
  helium,
  llama4,
  llama4_text: llama4,
  mamba,
  falcon_mamba: mamba,
  mamba2,
  mixtral,
  mobilellm,
  modernbert,
  mpnet,
  mpt,
  nemotron,
  nemotron_h: nemotronh,
  nemotron_h_moe: nemotronh,
  nomic_bert: nomicbert,
  "nomic-bert": nomicbert,
  olmo,
  flex_olmo: olmo2,
  olmo2,
  olmo3: olmo2,
  olmoe,
  opt,
  phi,
  phi2: phi,
  phi3,
  qwen2,
  qwen2_moe: qwen3moe,
  qwen2moe: qwen3moe,
  qwen3,
  qwen3moe,
  qwen3_moe: qwen3moe,
  qwen3next,
  qwen3_next: qwen3next,
  qwen3_5: qwen3next,
  qwen3_5_text: qwen3next,
  qwen3_5_moe: qwen3next,
  qwen3_5_moe_text: qwen3next,
  retnet,
  rwkv: rwkv4,
  rwkv6,
  rwkv7,
  smollm3,
  stablelm,
  starcoder2,
};

/** No architecture has a longer name; a hostile file's is not compared with all that are known. */
const LONGEST_NAME = 64;

export interface ModelGraph {
  /** The plain graph. */
  readonly graph: Graph;
  /** The architecture as the file names it. */
  readonly architecture: string;
  /** The storage format of each tensor, as the passes want it. */
  readonly dtypeOf: DTypeOf;
  /** What the context decided about the numbers ("rope-long"), for the numeric profile; undefined where nothing. */
  readonly variant: string | undefined;
}

/**
 * How two texts become one row of tokens for a classifier: the second begins behind so many separators, and its ids carry
 * the segment 1 of `segment` ids, where the model knows segments.
 */
export interface PairForm {
  readonly separators: 1 | 2;
  readonly segment: number | undefined;
}

/** RoBERTa's kin puts two separators between two texts. */
const TWO_SEPARATORS = /roberta|camembert|mpnet/;

export function pairForm(architecture: string, graph: Graph): PairForm {
  const segment = graph.nodes.find((node) => node.op === "embed" && node.segments?.by === "segment");
  return {
    separators: TWO_SEPARATORS.test(architecture) ? 2 : 1,
    segment: segment?.op === "embed" && (segment.weight.shape[0] ?? 0) > 1 ? segment.segments?.size : undefined,
  };
}

export interface ModelGraphOptions {
  /** Positions that the model is loaded for: decides factors that depend on length (LongRoPE). */
  readonly context: number;
}

/**
 * Positions that the model was made for, as its graph will say too: a caller chooses the context from it.
 * Throws like modelGraph.
 */
export function modelContext(artifact: ModelArtifact): number {
  familyOf(artifact);
  return readContextLength(new ConfigReader(artifact));
}

/**
 * The network of an artifact. Throws UnsupportedError for a family that nobody wrote yet, and ArtifactError where
 * the config or a tensor is missing or contradicts the rest.
 */
export async function modelGraph(artifact: ModelArtifact, options: ModelGraphOptions): Promise<ModelGraph> {
  const { architecture } = artifact.config;
  const { name, family } = familyOf(artifact);
  try {
    const graph = await family(artifact, { title: name, context: options.context });
    const dtypeOf: DTypeOf = (tensor) => dtypeOfTensor(artifact, tensor);
    const variant = ropeVariant(artifact, new ConfigReader(artifact), options.context);
    return { graph: { ...graph, name: describe(name, graph) }, architecture, dtypeOf, variant };
  } catch (error) {
    // Each tensor had the shape that the config asked for: it is the config that contradicts itself.
    if (!(error instanceof GraphError)) throw error;
    throw new ArtifactError(`${artifact.name}: the config doesn't fit together: ${error.message}`, { cause: error });
  }
}

function familyOf(artifact: ModelArtifact): { readonly name: string; readonly family: Family } {
  const { architecture, format, values } = artifact.config;
  const mixture = format === "gguf" && architecture === "llama" && Number(values["llama.expert_count"] ?? 0) > 0;
  const name = mixture ? "mixtral" : architecture;
  const family = Object.hasOwn(FAMILIES, name) ? FAMILIES[name] : undefined;
  if (family === undefined) {
    const known = Object.keys(FAMILIES).toSorted();
    const near = architecture.length <= LONGEST_NAME ? nearest(architecture, known) : undefined;
    const hint = near === undefined ? "" : `; the nearest is "${near}"`;
    const list = `supported: ${known.join(", ")}; CONTRIBUTING.md tells how to add one`;
    throw new UnsupportedError(
      `${artifact.name}: the architecture "${architecture}" is not supported${hint} (${list})`,
    );
  }
  return { name, family };
}

function dtypeOfTensor(artifact: ModelArtifact, name: string): ReturnType<DTypeOf> {
  const tensor = artifact.tensors.get(name);
  if (tensor === undefined) throw new ArtifactError(`${artifact.name}: there is no tensor "${name}"`);
  return tensor.dtype;
}

function describe(name: string, graph: Graph): string {
  // A recurrent layer has several states: "layer 3", "layer 3 history".
  const layers = new Set(graph.states.map((state) => /^layer \d+/.exec(state.name)?.[0] ?? state.name));
  return `${name}, ${layers.size} layers, ${graph.widths[0] ?? 0} wide`;
}
