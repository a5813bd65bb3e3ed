/**
 * Models that draft for another one: opened beside it, their states under names of their own, so that they share its pool
 * and nothing else. Their tokens must be the target's.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import { RequestError, UnsupportedError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { modelGraph } from "../models/models.ts";
import { createTokenizer, type Tokenizer } from "../tokenizer/tokenizer.ts";

export interface DraftingOptions {
  /** Closed with the model that it drafts for. */
  readonly artifact: ModelArtifact;
  /** Tokens of a draft, at most. Default 4. */
  readonly depth?: number | undefined;
  /** A draft ends where the drafting model gives its sample less. Default 0.4. */
  readonly minProbability?: number | undefined;
}

export interface DraftingGraph {
  readonly artifact: ModelArtifact;
  readonly graph: Graph;
  readonly depth: number;
  readonly minProbability: number;
}

/** The graph of a drafting model, checked against the model that it drafts for. */
export async function draftingGraph(
  { artifact, depth = 4, minProbability = 0.4 }: DraftingOptions,
  index: number,
  target: { readonly graph: Graph; readonly tokenizer: Tokenizer; readonly context: number },
): Promise<DraftingGraph> {
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
  const states = graph.states.map((state) => ({ ...state, name: `draft ${index} ${state.name}` }));
  return { artifact, depth, minProbability, graph: { ...graph, states } };
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
