/**
 * The reference backend: the contract in plain TypeScript with float64 sums, the oracle that the others are held
 * against. It runs plain graphs and lowered ones, keeps all weights as f32 in memory, and blocks the event loop
 * while a step runs. It is meant to be read and believed, not to be fast.
 */
import type { ModelArtifact } from "../../artifact/artifact.ts";
import { invariant } from "../../errors.ts";
import type { Graph } from "../../graph/graph.ts";
import type {
  Backend,
  CompileOptions,
  KvType,
  Pool,
  Program,
  StateGroup,
  UploadOptions,
  Weights,
} from "../contract.ts";
import { groupBlockBytes, ReferencePool } from "./pool.ts";
import { ReferenceProgram } from "./program.ts";
import { ReferenceWeights, uploadWeights } from "./weights.ts";

const VERSION = 1;

export function createReferenceBackend(): Backend {
  return {
    name: "reference",
    profile: (kv: KvType) => `reference-${kv}-${VERSION}`,
    upload: (artifact: ModelArtifact, graph: Graph, options?: UploadOptions) => uploadWeights(artifact, graph, options),
    blockBytes: groupBlockBytes,
    allocate: (graph: Graph, groups: readonly StateGroup[], blocks: readonly number[], kv: KvType) =>
      new ReferencePool(graph, groups, blocks, kv),
    compile: (graph: Graph, weights: Weights, pool: Pool, options: CompileOptions): Program => {
      invariant(weights instanceof ReferenceWeights, "these weights belong to another backend");
      invariant(pool instanceof ReferencePool, "this pool belongs to another backend");
      return new ReferenceProgram(graph, weights, pool, options);
    },
    close: async () => undefined,
  };
}
