/** What every file of a family exports: a function from a model's files to its graph. */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Graph } from "../graph/graph.ts";

export interface GraphOptions {
  /** The graph's name. */
  readonly title: string;
  /** Positions that the model is loaded for. */
  readonly context: number;
}

export type Family = (artifact: ModelArtifact, options: GraphOptions) => Promise<Graph>;
