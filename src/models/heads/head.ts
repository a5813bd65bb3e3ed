/**
 * A drafting head: a small network behind a model's own vectors. The row of place i has the token of place i + 1 and the
 * target's vector of place i, which the target has left in a state (target.ts), or further ahead the head's own: its
 * output `feature` is given back as its input `feature`. Each kind of head is a file, entered in heads.ts.
 */
import type { ModelArtifact } from "../../artifact/artifact.ts";
import type { Graph } from "../../graph/graph.ts";

export interface DraftHead {
  readonly graph: Graph;
  /** The target's values that it reads: `withFeatures` makes the target keep them. */
  readonly features: readonly string[];
  /** Ids of the target for those of the head, where it has fewer. */
  readonly ids?: Int32Array | undefined;
}

export interface HeadParts {
  /** The target's graph, as its family made it. */
  readonly target: Graph;
  /** The head's own files, for its config. */
  readonly head: ModelArtifact;
  /** The tensors of both: the target's under their names, the head's behind a prefix. */
  readonly both: ModelArtifact;
  readonly prefix: string;
  readonly context: number;
}

export type HeadKind = (parts: HeadParts) => Promise<DraftHead>;
