/**
 * The addon's functions as TypeScript sees them (native/cpu/addon.cpp). Handles are opaque objects that own native
 * memory; the arguments of every call are checked on the native side.
 */
import type { Activation } from "../../graph/graph.ts";
import type { KvType, SamplerParams } from "../contract.ts";
import { MemoryError, NativeError, invariant } from "../../errors.ts";

declare const kind: unique symbol;
interface Handle<K extends string> {
  readonly [kind]: K;
}
export type TeamHandle = Handle<"team">;
export type WeightsHandle = Handle<"weights">;
export type PoolHandle = Handle<"pool">;
export type ProgramHandle = Handle<"program">;

/** Rows in the arena: the byte where row 0 begins, and the values (of 4 bytes) from a row to the next. */
export type Span = readonly [at: number, stride: number];
/** Int8 rows in the arena: codes, scales, sums (bytes), columns. */
export type Span8 = readonly [codes: number, scales: number, sums: number, cols: number];

/** What the executor runs; what an op reads of this stands in native/cpu/program.cpp. */
export interface Instruction {
  readonly op: string;
  /** Over the step's output rows instead of its tokens. */
  readonly outputs?: boolean;
  readonly perRow?: number;
  readonly x?: Span;
  readonly y?: Span;
  readonly z?: Span;
  readonly t?: Span;
  readonly q?: Span8;
  readonly q2?: Span8;
  readonly cols?: number;
  readonly groupSize?: number;
  readonly heads?: number;
  readonly headDim?: number;
  readonly n?: number;
  readonly topK?: number;
  readonly eps?: number;
  readonly offset?: number;
  readonly factor?: number;
  readonly residual?: boolean;
  readonly interleaved?: boolean;
  readonly normalize?: boolean;
  readonly gather?: boolean;
  /** Indices of vectors. */
  readonly weight?: number;
  readonly bias?: number;
  readonly activation?: Activation;
  readonly frequencies?: Float32Array;
  readonly group?: number;
  readonly layer?: number;
  /** Bytes in the arena: offsets, active, rowIndex, place. */
  readonly experts?: readonly [number, number, number, number];
  /** Pairs (index of a matrix, first output column or row). */
  readonly parts?: readonly (readonly [number, number])[];
}

export interface ProgramSpec {
  readonly instructions: readonly Instruction[];
  readonly arenaBytes: number;
  readonly maxTokens: number;
  readonly maxSequences: number;
  readonly maxOutputs: number;
  readonly samplerSlots: number;
  readonly outputRows: number;
  /** Columns of the logits. */
  readonly vocab: number;
  /** Rows of the embedding. */
  readonly tokenIds: number;
  /** Rows of the learned positions; 0: the model has none. */
  readonly tableRows: number;
  readonly logits: Span;
}

export interface LoadSpec {
  readonly matrix?: number;
  readonly vector?: number;
  readonly expert?: number;
  /** First row in the matrix, first value in the vector. */
  readonly row: number;
  readonly rows: number;
  /** ggml_type id. */
  readonly type: number;
  /** The file's columns, where it holds the matrix transposed, and the first one that is wanted. */
  readonly transposed?: number;
  readonly fileRow?: number;
  readonly fd?: number;
  readonly bytes?: Uint8Array;
  readonly offset: number;
}

export interface NativeAddon {
  /** Instruction sets that this processor runs, best first. */
  isas(): string[];
  cores(): number;
  /** Bytes; enormous where unknown. */
  availableMemory(): number;
  setSabotage(on: boolean): void;
  createTeam(threads: number, isa: string | undefined): TeamHandle;
  teamIsa(team: TeamHandle): string;
  /** Ends what waits, then the threads. Blocks until then. */
  stopTeam(team: TeamHandle): void;
  counters(team: TeamHandle, reset: boolean): { readonly linear: number[]; readonly attend: number[] };
  /** `bytes` are those of the packed matrix; undefined where no kernel reads the type at this width. */
  matrixLayout(
    type: number,
    rows: number,
    cols: number,
    experts: number,
  ): { readonly format: number; readonly int8: boolean; readonly bytes: number } | undefined;
  createWeights(bytes: number): WeightsHandle;
  addMatrix(weights: WeightsHandle, type: number, rows: number, cols: number, experts: number): number;
  addVector(weights: WeightsHandle, length: number): number;
  load(team: TeamHandle, weights: WeightsHandle, spec: LoadSpec): Promise<void>;
  kvBytes(team: TeamHandle, kv: KvType, kvHeads: number, keyDim: number, valueDim: number): number;
  createPool(
    team: TeamHandle,
    kv: KvType,
    groups: readonly {
      readonly kvHeads: number;
      readonly keyDim: number;
      readonly valueDim: number;
      readonly window: number;
      readonly layers: number;
      readonly blocks: number;
    }[],
  ): PoolHandle;
  moveBlock(pool: PoolHandle, group: number, block: number, bytes: Uint8Array, write: boolean): void;
  compile(
    team: TeamHandle,
    weights: WeightsHandle,
    pool: PoolHandle,
    spec: ProgramSpec,
    timings: boolean,
  ): ProgramHandle;
  openSampler(program: ProgramHandle, slot: number, params: SamplerParams, history: Int32Array): void;
  closeSampler(program: ProgramHandle, slot: number): void;
  run(
    program: ProgramHandle,
    counts: Int32Array,
    tokens: Int32Array,
    positions: Int32Array,
    queryStarts: Int32Array,
    copies: Int32Array,
    sampleRows: Int32Array,
    sampleSlots: Int32Array,
    sampleTop: Int32Array,
    logprobRows: Int32Array,
    logprobIds: Int32Array,
    logitRows: Int32Array,
    blockTables: readonly Int32Array[],
    strides: Int32Array,
  ): Promise<void>;
  results(
    program: ProgramHandle,
    sampleIds: Int32Array,
    sampleLogprobs: Float32Array,
    topIds: Int32Array,
    topLogprobs: Float32Array,
    logprobs: Float32Array,
    logits: Float32Array,
  ): void;
  timings(program: ProgramHandle): string;
  close(handle: TeamHandle | WeightsHandle | PoolHandle | ProgramHandle): void;
}

/**
 * Checks that what was loaded is this version's addon. What its functions throw, or reject with, become errors of
 * Millrace's tree: they carry its codes, and no classes.
 */
export function asNativeAddon(loaded: unknown): NativeAddon {
  invariant(typeof loaded === "object" && loaded !== null, "the addon has no exports");
  const wrapped: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(loaded)) {
    if (typeof value === "function") wrapped[name] = withOurErrors(value as (...given: unknown[]) => unknown);
  }
  for (const name of ["createTeam", "load", "createPool", "compile", "run", "results"]) {
    if (!(name in wrapped)) throw new NativeError(`The native addon has no ${name}(): it is of another version.`);
  }
  return wrapped as unknown as NativeAddon;
}

function withOurErrors(native: (...given: unknown[]) => unknown): (...given: unknown[]) => unknown {
  return (...given) => {
    try {
      const result = native(...given);
      return result instanceof Promise ? result.catch(rethrow) : result;
    } catch (error) {
      return rethrow(error);
    }
  };
}

function rethrow(error: unknown): never {
  if (!(error instanceof Error)) throw error;
  const isMemory = "code" in error && error.code === "ERR_MEMORY";
  throw isMemory ? new MemoryError(error.message) : new NativeError(error.message, { cause: error });
}
