/**
 * Models that draft for another one: opened beside it, their states under names of their own, so that they share its pool;
 * their tokens must be the target's. And heads, which read what the target leaves of its rows and share its weights.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { ModelMethod } from "../decode/speculative/methods.ts";
import { invariant, RequestError, UnsupportedError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { HeadParts } from "../models/heads/head.ts";
import { type HeadMethod, HEADS } from "../models/heads/heads.ts";
import { modelGraph } from "../models/models.ts";
import { skippedByDefault, withoutLayers } from "../models/skipped.ts";
import { createTokenizer, type Tokenizer } from "../tokenizer/tokenizer.ts";
import { ModelDraft, type SequenceDraft } from "./work/draft.ts";
import { HeadDraft, type TreeShape } from "./work/head-draft.ts";

export interface DraftingOptions {
  /** Closed with the model that it drafts for. Absent with "skip", which has no files of its own. */
  readonly artifact?: ModelArtifact | undefined;
  /** "draft": a model; "skip": the model itself, without some layers; else the kind of head that the files are of. Default "draft". */
  readonly method?: ModelMethod | undefined;
  /** Tokens of a draft, at most. Default 4. */
  readonly depth?: number | undefined;
  /** A draft ends where the drafting model gives its sample less, or in a head's tree the path to it. Default 0.4; heads 0.3, or 0.05 with trees. */
  readonly minProbability?: number | undefined;
  /** Layers that "skip" leaves out. */
  readonly skip?: readonly number[] | undefined;
  /** Rows of a head's step, and children of a node. Default 1, a chain; 3 with "eagle" and "eagle2", whose drafts are trees. */
  readonly beam?: number | undefined;
}

export interface DraftingGraph {
  /** Of the files that the graph's weights lie in. */
  readonly artifact: ModelArtifact;
  readonly method: ModelMethod;
  readonly graph: Graph;
  readonly depth: number;
  readonly minProbability: number;
  /** Of a head: rows of a step; 0: no head. */
  readonly beam: number;
  /** What the target must keep of its rows. */
  readonly features: readonly string[];
  makeDraft(): SequenceDraft;
}

/** What a drafting graph is made for. */
export interface DraftedModel {
  readonly graph: Graph;
  readonly tokenizer: Tokenizer;
  readonly context: number;
  /** Its tensors, and those of all heads. */
  readonly artifact: ModelArtifact;
}

/** Before the names of the tensors of the head `index`. */
export function headPrefix(index: number): string {
  return `head ${index}:`;
}

/** A model and its heads as one artifact, so that their graphs share the model's weights. */
export function withHeads(target: ModelArtifact, drafting: readonly DraftingOptions[]): ModelArtifact {
  const tensors = new Map(target.tensors);
  for (const [index, { artifact, method = "draft" }] of drafting.entries()) {
    if (method === "draft" || artifact === undefined) continue;
    for (const [name, tensor] of artifact.tensors) {
      const own = headPrefix(index) + name;
      tensors.set(own, { ...tensor, name: own });
    }
  }
  return tensors.size === target.tensors.size ? target : { ...target, tensors };
}

/** The graph of a drafting model or head, checked against the model that it drafts for. */
export async function draftingGraph(
  options: DraftingOptions,
  index: number,
  target: DraftedModel,
): Promise<DraftingGraph> {
  const { artifact, method = "draft", depth = 4, minProbability = 0.4 } = options;
  if (method === "skip") {
    const graph = withoutLayers(target.graph, options.skip ?? skippedByDefault(target.graph));
    const own = { method, depth, minProbability, beam: 0, features: [], makeDraft: () => new ModelDraft(false) };
    return { ...own, artifact: target.artifact, graph };
  }
  invariant(artifact !== undefined, `"${method}" drafts without a file`);
  if (method !== "draft") return headGraph(options, artifact, method, index, target);
  const { graph } = await modelGraph(artifact, { context: target.context });
  if (graph.vocabSize > target.graph.vocabSize) {
    throw new RequestError(
      `${artifact.name} can't draft: its ${graph.vocabSize} tokens are more than the model's ${target.graph.vocabSize}`,
    );
  }
  checkTokens(artifact.name, createTokenizer(artifact.tokenizer), target.tokenizer);
  const other = graph.states.find(({ kind }) => kind !== "kv");
  if (other !== undefined) {
    // A drafting model lags behind; what a window has passed by then could not be computed any more.
    throw new UnsupportedError(`${artifact.name} can't draft: its state ${other.name} is of the kind ${other.kind}`);
  }
  const own = { method, depth, minProbability, beam: 0, features: [], makeDraft: () => new ModelDraft() };
  return { ...own, artifact, graph: withOwnStates(graph, index) };
}

async function headGraph(
  options: DraftingOptions,
  head: ModelArtifact,
  method: HeadMethod,
  index: number,
  { graph: target, context, artifact: both }: DraftedModel,
): Promise<DraftingGraph> {
  const { depth = 4, beam = method === "eagle" || method === "eagle2" ? 3 : 1 } = options;
  const { minProbability = beam === 1 ? 0.3 : 0.05 } = options;
  const parts: HeadParts = { target, head, both, prefix: headPrefix(index), context };
  const { graph, features, ids } = await HEADS[method](parts);
  const feature = graph.outputs.get("feature") ?? -1;
  const shape: TreeShape = {
    growth: method === "eagle" ? "static" : "dynamic",
    beam,
    width: graph.widths[feature] ?? 0,
  };
  const makeDraft = (): SequenceDraft => new HeadDraft(shape, ids);
  return {
    artifact: both,
    method,
    graph: withOwnStates(graph, index),
    depth,
    minProbability,
    beam,
    features,
    makeDraft,
  };
}

/** States under names of its own, but for those that the target writes. */
function withOwnStates(graph: Graph, index: number): Graph {
  const states = graph.states.map((state) =>
    state.name.startsWith("feature ") ? state : { ...state, name: `draft ${index} ${state.name}` },
  );
  return { ...graph, states };
}

/** A drafted id means what the target's id means. */
function checkTokens(name: string, drafting: Tokenizer, target: Tokenizer): void {
  for (let id = 0; id < drafting.vocabSize; id++) {
    if (id < target.vocabSize && drafting.tokenText(id) === target.tokenText(id)) continue;
    throw new RequestError(
      `${name} can't draft: its token ${id} is ${JSON.stringify(drafting.tokenText(id))}, ` +
        (id < target.vocabSize ? `the model's is ${JSON.stringify(target.tokenText(id))}` : "the model has none"),
    );
  }
}
