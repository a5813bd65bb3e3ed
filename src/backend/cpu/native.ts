/**
 * The addon's functions as TypeScript sees them (native/cpu/addon.cpp). Handles are opaque objects that own native
 * memory; the arguments of every call are checked on the native side.
 */
import { MemoryError, NativeError, StepError, UnsupportedError, invariant } from "../../errors.ts";
import type { CompileOptions, KvType, StepPlan, StepResult } from "../contract.ts";
import type { Span, Stage } from "./instructions.ts";

declare const kind: unique symbol;
interface Handle<K extends string> {
  readonly [kind]: K;
}
export type TeamHandle = Handle<"team">;
export type WeightsHandle = Handle<"weights">;
export type PoolHandle = Handle<"pool">;
export type ProgramHandle = Handle<"program">;

/** What is computed for the rows that are wanted of one output; `output`: its index in CompileOptions, −1: none. */
export interface Section {
  readonly stages: readonly Stage[];
  /** Rows that the arena holds. */
  readonly rows: number;
  readonly place: Span;
  readonly width: number;
  readonly output: number;
}

export interface ProgramSpec extends Omit<CompileOptions, "outputs" | "inputs" | "maxRank"> {
  /** Over the step's tokens. */
  readonly tokens: readonly Stage[];
  /** Then these, one after another. */
  readonly sections: readonly Section[];
  /** The section whose rows are sampled from; −1: none. */
  readonly logits: number;
  /** Named outputs that plans may ask for. */
  readonly outputs: number;
  /** Columns of the named inputs that plans may give rows for. */
  readonly inputs: readonly number[];
  readonly maxInputRows: number;
  readonly maxAdapters: number;
  readonly arenaBytes: number;
  /** Columns of the logits. */
  readonly vocab: number;
  /** Rows of the embedding. */
  readonly tokenIds: number;
  /** Rows of the learned positions; 0: the model has none. */
  readonly tableRows: number;
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

/** What an adapter adds to a linear: matrices of its weights, and where they come. */
export interface AdapterSpec {
  /** The program's `lora` node. */
  readonly site: number;
  readonly a: number;
  /** Values of A x that are multiplied by a factor. */
  readonly scales: readonly (readonly [begin: number, end: number, factor: number])[];
  /** The first output column, the first value of A x, a matrix B, and a vector of gains (−1: none). */
  readonly runs: readonly (readonly [first: number, inner: number, matrix: number, gain: number])[];
}

/** A rounding with error feedback; the arrays belong to the call until its end. */
export interface SolveSpec {
  /** A ggml type, or plain groups of `bits`. */
  readonly type?: number;
  readonly bits?: number;
  readonly group?: number;
  readonly symmetric?: boolean;
  readonly rows: number;
  readonly cols: number;
  readonly values: Float32Array;
  /** Without them nothing is fed back. */
  readonly unit?: Float32Array;
  readonly pivots?: Float32Array;
  readonly importance?: Float32Array;
  readonly order?: Int32Array;
  readonly codes: Uint8Array;
  readonly scales: Float32Array;
  readonly mins: Float32Array;
  readonly blocks?: Uint8Array;
  readonly out: Float32Array;
  readonly errors: Float32Array;
}

export interface NativeAddon {
  /** Instruction sets that this processor runs, best first. */
  isas(): string[];
  cores(): number;
  /** Bytes; enormous where unknown. */
  availableMemory(): number;
  createTeam(threads: number, isa: string | undefined): TeamHandle;
  teamIsa(team: TeamHandle): string;
  /** Cancels what is in flight, and ends the threads. */
  stopTeam(team: TeamHandle): void;
  /** Seconds without anything to run, since the first step or pool transfer ended. */
  idleSeconds(team: TeamHandle): number;
  counters(
    team: TeamHandle,
    reset: boolean,
  ): {
    readonly linear: number[];
    readonly attend: number[];
    readonly lora: number;
  };
  /** Names of the packed formats, in the order in which counters have them. */
  formats(): string[];
  /**
   * What all threads can do together, over `bytes` of memory: bytes read per second, multiply-accumulates per second
   * with codes of 4 bits and of 8. `out` belongs to the call until it has ended.
   */
  probe(team: TeamHandle, bytes: number, out: Float32Array): Promise<void>;
  /** Rows as blocks of a format; `errors`: each row's sum of squared errors. The arrays belong to the call until its end. */
  quantizeRows(
    team: TeamHandle,
    type: number,
    cols: number,
    values: Float32Array,
    importance: Float32Array | undefined,
    out: Uint8Array,
    errors: Float32Array,
  ): Promise<void>;
  /** c[rows, cols] += a · b, row-major; flags: 1 a is stored transposed, 2 b is, 4 only what the upper triangle needs. */
  addProduct(
    team: TeamHandle,
    a: Float32Array,
    b: Float32Array,
    c: Float32Array,
    rows: number,
    cols: number,
    terms: number,
    flags: number,
  ): Promise<void>;
  /** The upper triangle of h `[n, n]` becomes U with h = U Uᵀ. Rejects where h is not positive definite. */
  factor(team: TeamHandle, h: Float32Array, n: number): Promise<void>;
  /** The inverse of a unit upper triangular matrix `[n, n]`. */
  invertUnit(team: TeamHandle, matrix: Float32Array, n: number, out: Float32Array): Promise<void>;
  /** Rows rounded with error feedback (addon-solve.cpp). */
  solveRows(team: TeamHandle, spec: SolveSpec): Promise<void>;
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
  /** Changes with the bytes that any type is packed to. */
  packFingerprint(): bigint;
  /** Weights as a file has them, to which matrices and vectors are added in the order in which they were then. */
  mapWeights(fd: number, offset: number, bytes: number): WeightsHandle;
  /** Rejects where the checksum of a piece of 4 MiB isn't the one in `sums`, eight bytes each. */
  checkWeights(team: TeamHandle, weights: WeightsHandle, sums: Uint8Array): Promise<void>;
  /** Writes a piece and gives its checksum; undefined after the last. */
  saveWeights(weights: WeightsHandle, piece: number, fd: number, offset: number): Promise<bigint> | undefined;
  kvBytes(team: TeamHandle, kv: KvType, kvHeads: number, keyDim: number, valueDim: number, latent: boolean): number;
  createPool(
    team: TeamHandle,
    groups: readonly {
      readonly type: KvType;
      readonly kvHeads: number;
      readonly keyDim: number;
      readonly valueDim: number;
      readonly latent: boolean;
      readonly window: number;
      readonly granules: boolean;
      readonly layers: number;
      readonly blocks: number;
    }[],
  ): PoolHandle;
  /** Between the pool and `bytes`, which nobody may touch meanwhile. */
  moveBlocks(pool: PoolHandle, group: number, blocks: Int32Array, bytes: Uint8Array, write: boolean): Promise<void>;
  /** `weights`: those that were compiled for, their base, its base … */
  compile(
    team: TeamHandle,
    weights: readonly WeightsHandle[],
    pool: PoolHandle,
    spec: ProgramSpec,
    timings: boolean,
  ): ProgramHandle;
  /** For the steps that are submitted from now on. */
  setAdapter(
    program: ProgramHandle,
    place: number,
    weights: WeightsHandle | undefined,
    sites: readonly AdapterSpec[],
  ): void;
  /** Copies the plan, and writes into the result's arrays until the promise is settled. */
  run(program: ProgramHandle, plan: StepPlan, result: StepResult): Promise<void>;
  /** Undefined: dropped. Nothing happens where the step has ended. */
  mask(program: ProgramHandle, step: number, sample: number, mask: Uint32Array | undefined): void;
  cancel(program: ProgramHandle, step: number): void;
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
  for (const name of ["createTeam", "load", "createPool", "compile", "run", "mask", "cancel"]) {
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
  const { message } = error;
  switch ("code" in error ? error.code : undefined) {
    case "ERR_MEMORY":
      throw new MemoryError(message);
    case "ERR_UNSUPPORTED":
      throw new UnsupportedError(message);
    case "ERR_STEP_FAILED":
      throw new StepError("failed", message);
    case "ERR_STEP_CANCELLED":
      throw new StepError("cancelled", message);
    case "ERR_STEP_UNRUN":
      throw new StepError("unrun", message);
    default:
      throw new NativeError(message, { cause: error });
  }
}
