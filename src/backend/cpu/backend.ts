/**
 * The native CPU backend: the contract over the addon. A step is one native call on the backend's own threads; the
 * event loop only hands over the plan and copies out the results. Lowering, fusion and upload stand in files of their
 * own beside this one.
 */
import process from "node:process";

import type { ModelArtifact } from "../../artifact/artifact.ts";
import { DTYPES } from "../../artifact/dtype.ts";
import { MemoryError, NativeError, invariant } from "../../errors.ts";
import type { Graph } from "../../graph/graph.ts";
import { optimize, type DTypeOf } from "../../graph/passes.ts";
import {
  MAX_TOP_LOGPROBS,
  type Backend,
  type CompileOptions,
  type KvType,
  type Pool,
  type Program,
  type SamplerParams,
  type StateGroup,
  type StepPlan,
  type StepResult,
  type UploadOptions,
  type Weights,
} from "../contract.ts";
import { loadAddon, type LoadAddonOptions } from "./addon.ts";
import { emit } from "./emit.ts";
import { lower } from "./lowering.ts";
import { asNativeAddon, type NativeAddon, type PoolHandle, type ProgramHandle, type TeamHandle } from "./native.ts";
import { CpuWeights, gib, uploadWeights } from "./weights.ts";

/** Changes whenever the kernels' arithmetic does. */
const KERNEL_VERSION = 1;

export interface CpuBackendOptions extends LoadAddonOptions {
  /** Default: the physical cores that this process may use. */
  readonly threads?: number | undefined;
  /** "avx512vnni", "avx2", "neon" or "scalar"; default: MILLRACE_ISA, else the best that runs here. */
  readonly isa?: string | undefined;
}

/** Rows that went through each kernel since the last reset ("gemv Q4_0", "attendRows f16"), in order of first name. */
export type CpuCounters = Readonly<Record<string, number>>;

export interface CpuBackend extends Backend {
  readonly threads: number;
  readonly isa: string;
  counters(options?: { readonly reset?: boolean }): CpuCounters;
  /** The lowered graph that a program of this graph would run, without its weights (`inspect --graph`). */
  lower(graph: Graph, dtypeOf: DTypeOf): Graph;
  /** Plants a fault in one kernel, so that a check can show that it finds one. */
  setSabotage(on: boolean): void;
}

/** Loads (at the first use on a machine: compiles) the addon and starts the threads. Throws NativeError. */
export async function createCpuBackend(options: CpuBackendOptions = {}): Promise<CpuBackend> {
  const native = asNativeAddon(await loadAddon({ onBuild: options.onBuild, signal: options.signal }));
  const threads = options.threads ?? native.cores();
  if (!Number.isInteger(threads) || threads < 1 || threads > 256) {
    throw new NativeError(`The cpu backend can't run on ${threads} threads; 1 … 256 works.`);
  }
  return new NativeBackend(native, native.createTeam(threads, options.isa), threads);
}

/** The instruction sets that this build and processor have, best first. */
export async function cpuIsas(): Promise<string[]> {
  return asNativeAddon(await loadAddon()).isas();
}

class NativeBackend implements CpuBackend {
  readonly name = "cpu";
  readonly threads: number;
  readonly isa: string;
  readonly #native: NativeAddon;
  readonly #team: TeamHandle;
  #closed = false;

  constructor(native: NativeAddon, team: TeamHandle, threads: number) {
    this.#native = native;
    this.#team = team;
    this.threads = threads;
    this.isa = native.teamIsa(team);
  }

  profile(kv: KvType): string {
    return `cpu-${this.isa}-${kv}-k${KERNEL_VERSION}`;
  }

  upload(artifact: ModelArtifact, graph: Graph, options: UploadOptions = {}): Promise<Weights> {
    return uploadWeights(this.#native, this.#team, artifact, graph, options);
  }

  blockBytes(graph: Graph, group: StateGroup, kv: KvType): number {
    const { kvHeads, keyDim, valueDim } = shapeOf(graph, group);
    return this.#native.kvBytes(this.#team, kv, kvHeads, keyDim, valueDim) * group.states.length;
  }

  allocate(graph: Graph, groups: readonly StateGroup[], blocks: readonly number[], kv: KvType): Pool {
    const blockBytes = groups.map((group) => this.blockBytes(graph, group, kv));
    const bytes = blockBytes.reduce((sum, size, g) => sum + size * (blocks[g] ?? 0), 0);
    const available = this.#native.availableMemory();
    if (bytes > available) {
      throw new MemoryError(`The KV pool needs ${gib(bytes)}, ${gib(available)} of memory is free; lower the context.`);
    }
    const specs = groups.map((group, g) => ({
      ...shapeOf(graph, group),
      window: group.kind === "window-kv" ? (group.window ?? 0) : 0,
      layers: group.states.length,
      blocks: blocks[g] ?? 0,
    }));
    const handle = this.#native.createPool(this.#team, kv, specs);
    return new NativePool(this.#native, handle, { kv, groups, blocks, blockBytes, bytes });
  }

  compile(graph: Graph, weights: Weights, pool: Pool, options: CompileOptions): Program {
    invariant(weights instanceof CpuWeights && pool instanceof NativePool, "weights or pool of another backend");
    const lowered = lower(optimize(graph, weights.dtypeOf), (weight) => {
      const stored = weights.get(weight);
      return stored.kind === "matrix" && stored.int8;
    });
    const spec = emit(lowered, weights, pool.groups, options);
    const available = this.#native.availableMemory();
    if (spec.arenaBytes > available) {
      throw new MemoryError(
        `The buffers of a step of ${options.maxTokens} tokens need ${gib(spec.arenaBytes)}, ` +
          `${gib(available)} of memory is free.`,
      );
    }
    // For developers: closing the program prints where the time of its steps went.
    const timings = process.env["MILLRACE_TIMINGS"] !== undefined;
    const handle = this.#native.compile(this.#team, weights.handle, pool.handle, spec, timings);
    return new NativeProgram(this.#native, handle, graph, lowered, options, pool.groups.length, timings);
  }

  lower(graph: Graph, dtypeOf: DTypeOf): Graph {
    return lower(optimize(graph, dtypeOf), (weight) => {
      const dtype = dtypeOf(weight.parts[0]?.tensor ?? "");
      return this.#native.matrixLayout(DTYPES[dtype].ggml, 1, weight.shape.at(-1) ?? 1, 1)?.int8 === true;
    });
  }

  counters(options: { readonly reset?: boolean } = {}): CpuCounters {
    const { linear, attend } = this.#native.counters(this.#team, options.reset === true);
    const result: Record<string, number> = {};
    for (const [k, kernel] of KERNELS.entries()) {
      for (const [f, format] of FORMATS.entries()) result[`${kernel} ${format}`] = linear[k * FORMATS.length + f] ?? 0;
    }
    for (const [k, kernel] of ["attendRows", "attendTile"].entries()) {
      for (const [t, type] of ["f16", "f32", "q8"].entries()) result[`${kernel} ${type}`] = attend[k * 3 + t] ?? 0;
    }
    return result;
  }

  setSabotage(on: boolean): void {
    this.#native.setSabotage(on);
  }

  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      this.#native.stopTeam(this.#team);
      this.#native.close(this.#team);
    }
    return Promise.resolve();
  }
}

/** Linear kernels: 1 row, 2 … 16 rows, more. */
const KERNELS = ["gemv", "flat", "gemm"] as const;
/** In the order of `Format` in native/cpu/formats.h. */
const FORMATS = [
  "F32",
  "F16",
  "BF16",
  "Q4_0",
  "Q4_1",
  "Q8_0",
  "Q4_K",
  "Q5_K",
  "Q6_K",
  "General16",
  "General16Min",
  "General32",
  "General32Min",
] as const;

function shapeOf(graph: Graph, group: StateGroup): { kvHeads: number; keyDim: number; valueDim: number } {
  const state = graph.states[group.states[0] ?? -1];
  invariant(state, "a state group without states");
  const { kvHeads, keyDim, valueDim } = state;
  return { kvHeads, keyDim, valueDim };
}

interface PoolFacts {
  readonly kv: KvType;
  readonly groups: readonly StateGroup[];
  readonly blocks: readonly number[];
  readonly blockBytes: readonly number[];
  readonly bytes: number;
}

class NativePool implements Pool {
  readonly kv: KvType;
  readonly groups: readonly StateGroup[];
  readonly blocks: readonly number[];
  readonly bytes: number;
  readonly handle: PoolHandle;
  readonly #native: NativeAddon;
  readonly #blockBytes: readonly number[];

  constructor(native: NativeAddon, handle: PoolHandle, facts: PoolFacts) {
    this.#native = native;
    this.handle = handle;
    this.kv = facts.kv;
    this.groups = facts.groups;
    this.blocks = facts.blocks;
    this.bytes = facts.bytes;
    this.#blockBytes = facts.blockBytes;
  }

  read(group: number, block: number): Uint8Array {
    const bytes = new Uint8Array(this.#blockBytes[group] ?? 0);
    this.#native.moveBlock(this.handle, group, block, bytes, false);
    return bytes;
  }

  write(group: number, block: number, bytes: Uint8Array): void {
    this.#native.moveBlock(this.handle, group, block, bytes, true);
  }

  close(): void {
    this.#native.close(this.handle);
  }
}

class NativeProgram implements Program {
  readonly graph: Graph;
  readonly lowered: Graph;
  readonly #native: NativeAddon;
  readonly #handle: ProgramHandle;
  readonly #timings: boolean;
  readonly #counts = new Int32Array(6);
  readonly #strides: Int32Array;
  readonly #tables: Int32Array[];
  readonly #sampleIds: Int32Array;
  readonly #sampleLogprobs: Float32Array;
  readonly #topIds: Int32Array;
  readonly #topLogprobs: Float32Array;
  readonly #logprobs: Float32Array;
  #logits = new Float32Array(0);

  constructor(
    native: NativeAddon,
    handle: ProgramHandle,
    graph: Graph,
    lowered: Graph,
    options: CompileOptions,
    groups: number,
    timings: boolean,
  ) {
    this.#native = native;
    this.#handle = handle;
    this.graph = graph;
    this.lowered = lowered;
    this.#timings = timings;
    const outputs = options.maxOutputs;
    this.#strides = new Int32Array(groups);
    this.#tables = [];
    this.#sampleIds = new Int32Array(outputs);
    this.#sampleLogprobs = new Float32Array(outputs);
    this.#topIds = new Int32Array(outputs * MAX_TOP_LOGPROBS);
    this.#topLogprobs = new Float32Array(outputs * MAX_TOP_LOGPROBS);
    this.#logprobs = new Float32Array(outputs);
  }

  openSampler(slot: number, params: SamplerParams, history: Int32Array): void {
    this.#native.openSampler(this.#handle, slot, params, history);
  }

  closeSampler(slot: number): void {
    this.#native.closeSampler(this.#handle, slot);
  }

  async run(plan: StepPlan): Promise<StepResult> {
    const counts = this.#counts;
    // The caller may fill the plan anew while the step runs.
    const wanted = plan.logitCount * this.graph.vocabSize;
    counts[0] = plan.tokenCount;
    counts[1] = plan.sequenceCount;
    counts[2] = plan.copyCount;
    counts[3] = plan.sampleCount;
    counts[4] = plan.logprobCount;
    counts[5] = plan.logitCount;
    for (const [g, table] of plan.blockTables.entries()) {
      this.#tables[g] = table.ids;
      this.#strides[g] = table.stride;
    }
    this.#tables.length = plan.blockTables.length;
    await this.#native.run(
      this.#handle,
      counts,
      plan.tokens,
      plan.positions,
      plan.queryStarts,
      plan.copies,
      plan.sampleRows,
      plan.sampleSlots,
      plan.sampleTop,
      plan.logprobRows,
      plan.logprobIds,
      plan.logitRows,
      this.#tables,
      this.#strides,
    );
    if (this.#logits.length < wanted) this.#logits = new Float32Array(wanted);
    const result: StepResult = {
      sampleIds: this.#sampleIds,
      sampleLogprobs: this.#sampleLogprobs,
      topIds: this.#topIds,
      topLogprobs: this.#topLogprobs,
      logprobs: this.#logprobs,
      logits: this.#logits,
    };
    const { sampleIds, sampleLogprobs, topIds, topLogprobs, logprobs, logits } = result;
    this.#native.results(this.#handle, sampleIds, sampleLogprobs, topIds, topLogprobs, logprobs, logits);
    return result;
  }

  close(): void {
    if (this.#timings) process.stderr.write(this.#native.timings(this.#handle));
    this.#native.close(this.#handle);
  }
}
