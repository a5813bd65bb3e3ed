/** Whether a model that a pass has given other tensors or sizes is still one that its family can build. */
import type { ModelArtifact } from "../artifact/artifact.ts";
import { ArtifactError, UnsupportedError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { modelGraph } from "../models/models.ts";

/**
 * @param what the family would have to be able to do ("have fewer heads"), for the message
 * @throws UnsupportedError where it can't
 */
export async function checkGraph(artifact: ModelArtifact, what: string): Promise<Graph> {
  try {
    return (await modelGraph(artifact, { context: 1024 })).graph;
  } catch (error) {
    if (!(error instanceof ArtifactError)) throw error;
    throw new UnsupportedError(`${artifact.name}: this family can't ${what}: ${error.message}`, { cause: error });
  }
}
