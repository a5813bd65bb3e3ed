/**
 * The reference backend: the contract in plain TypeScript with float64 sums, the oracle that the others are held
 * against. It rounds nothing of its own, runs what others lowered too, keeps all weights as f32 in memory, and blocks
 * the event loop while a step runs. It is meant to be read and believed, not to be fast.
 */
import type { ModelArtifact } from "../../artifact/artifact.ts";
import { invariant } from "../../errors.ts";
import type { Graph } from "../../graph/graph.ts";
import { optimize, withAdapters } from "../../graph/passes.ts";
import type {
  Backend,
  CompileOptions,
  Lowered,
  Pool,
  Program,
  StateGroup,
  UploadOptions,
  Weights,
} from "../contract.ts";
import { findState } from "../groups.ts";
import { ReferenceAdapter } from "./lora.ts";
import { groupBlockBytes, ReferencePool } from "./pool.ts";
import { ReferenceProgram } from "./program.ts";
import { ReferenceWeights, tensorOf, uploadWeights } from "./weights.ts";

const VERSION = 2;

export function createReferenceBackend(): Backend {
  return {
    name: "reference",
    profile: (kv) => `reference-${kv}-${VERSION}`,
    lower: (plain: Graph, source: ModelArtifact, groups: readonly StateGroup[]): Lowered => {
      for (const { name } of plain.states) findState(groups, name);
      return { plain, graph: optimize(plain, (tensor) => tensorOf(source, tensor).dtype), source, groups };
    },
    upload: async (lowered: readonly Lowered[], options: UploadOptions = {}) => {
      const { base } = options;
      invariant(base === undefined || base instanceof ReferenceWeights, "the base's weights belong to another backend");
      return uploadWeights(lowered, base, options);
    },
    uploadAdapter: (lowered, adapter) => ReferenceAdapter.load(lowered, withAdapters(lowered.graph), adapter),
    blockBytes: groupBlockBytes,
    allocate: async (groups: readonly StateGroup[], blocks: readonly number[]) => new ReferencePool(groups, blocks),
    compile: async (lowered: Lowered, weights: Weights, pool: Pool, options: CompileOptions): Promise<Program> => {
      invariant(weights instanceof ReferenceWeights, "these weights belong to another backend");
      invariant(pool instanceof ReferencePool, "this pool belongs to another backend");
      return new ReferenceProgram(lowered, weights, pool, options);
    },
    close: async () => undefined,
  };
}
