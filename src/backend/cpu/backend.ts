/**
 * The native CPU backend: the contract over the addon. What it makes (weights, pools, programs) and how a graph becomes
 * instructions stands in files of their own beside this one.
 */
import process from "node:process";

import type { ModelArtifact } from "../../artifact/artifact.ts";
import { DTYPES } from "../../artifact/dtype.ts";
import { GraphError } from "../../graph/graph-error.ts";
import { MemoryError, NativeError, invariant } from "../../errors.ts";
import type { Graph, WeightRef } from "../../graph/graph.ts";
import { optimize } from "../../graph/passes.ts";
import type { Adapter } from "../../artifact/adapter.ts";
import type {
  AdapterWeights,
  Backend,
  CompileOptions,
  KvType,
  Lowered,
  Pool,
  Program,
  StateGroup,
  UploadOptions,
  Weights,
} from "../contract.ts";
import { findState } from "../groups.ts";
import { uploadAdapter } from "./adapters.ts";
import { findAddon, loadAddon, type LoadAddonOptions, type LoadedAddon } from "./addon.ts";
import { emit } from "./emit.ts";
import { lower } from "./lowering.ts";
import { asNativeAddon, type NativeAddon, type TeamHandle } from "./native.ts";
import { NativePool, blockBytesOf } from "./pool.ts";
import { NativeProgram } from "./program.ts";
import { tensorOf, tensorOfPart } from "./weight-plans.ts";
import { CpuWeights, gib, uploadWeights } from "./weights.ts";

/** Changes whenever the kernels' arithmetic does. */
const KERNEL_VERSION = 2;

export interface CpuBackendOptions extends LoadAddonOptions {
  /** Default: the physical cores that this process may use. */
  readonly threads?: number | undefined;
  /** "avx512amx", "avx512vnni", "avxvnni", "avx2", "neon" or "scalar"; default: MILLRACE_ISA, else the best that runs here. */
  readonly isa?: string | undefined;
  /** Keep packed weights on disk, and take them from there, unless MILLRACE_PACKED_CACHE is "off". Default: no. */
  readonly packedCache?: boolean | undefined;
}

/** Rows that went through each kernel since the last reset ("gemv Q4_0", "attendRows f16"), and those adapted ("lora"). */
export type CpuCounters = Readonly<Record<string, number>>;

/** What the threads can do together, each the best of some rounds: what the kernels are held against. */
export interface CpuProbe {
  /** Of memory, beyond the caches. */
  readonly bytesPerSecond: number;
  /** Multiply-accumulates with weights of 4 bits, and of 8; 0 where the instruction set has no product of bytes. */
  readonly macsPerSecond: { readonly bits4: number; readonly bits8: number };
}

export interface CpuBackend extends Backend {
  readonly threads: number;
  readonly isa: string;
  counters(options?: { readonly reset?: boolean }): CpuCounters;
  /** Seconds in which the threads had nothing to run, since the first step ended. */
  idleSeconds(): number;
  /** Measures what all threads together can do, in about a second. Throws MemoryError. */
  probe(): Promise<CpuProbe>;
}

/** Loads (at the first use on a machine: compiles) the addon and starts the threads. Throws NativeError. */
export async function createCpuBackend(options: CpuBackendOptions = {}): Promise<CpuBackend> {
  const addon = await findAddon({ onBuild: options.onBuild, signal: options.signal });
  const native = asNativeAddon(addon.exports);
  const threads = options.threads ?? native.cores();
  if (!Number.isInteger(threads) || threads < 1 || threads > 256) {
    throw new NativeError(`The cpu backend can't run on ${threads} threads; 1 … 256 works.`);
  }
  checkIsa(options.isa, native.isas());
  const keep = options.packedCache === true && process.env["MILLRACE_PACKED_CACHE"] !== "off";
  const made = `${threads} ${threads === 1 ? "thread" : "threads"}; kernels ${ORIGINS[addon.origin]}: ${addon.path}`;
  return new NativeBackend(native, native.createTeam(threads, options.isa), { threads, keep, made });
}

/** The instruction sets that this build and processor have, best first. */
export async function cpuIsas(): Promise<string[]> {
  return asNativeAddon(await loadAddon()).isas();
}

function checkIsa(option: string | undefined, known: readonly string[]): void {
  const wanted = option ?? process.env["MILLRACE_ISA"];
  if (wanted === undefined || known.includes(wanted)) return;
  const name = option === undefined ? "MILLRACE_ISA" : "isa";
  throw new NativeError(`${name} is "${wanted}"; this processor and build have ${known.join(", ")}`);
}

class NativeBackend implements CpuBackend {
  readonly name = "cpu";
  readonly threads: number;
  readonly isa: string;
  readonly made: string;
  readonly #native: NativeAddon;
  readonly #team: TeamHandle;
  readonly #keep: boolean;
  #closed = false;

  constructor(
    native: NativeAddon,
    team: TeamHandle,
    { threads, keep, made }: { readonly threads: number; readonly keep: boolean; readonly made: string },
  ) {
    this.#keep = keep;
    this.made = made;
    this.#native = native;
    this.#team = team;
    this.threads = threads;
    this.isa = native.teamIsa(team);
  }

  profile(kv: KvType): string {
    return `cpu-${this.isa}-${kv}-k${KERNEL_VERSION}`;
  }

  lower(plain: Graph, source: ModelArtifact, groups: readonly StateGroup[]): Lowered {
    for (const { name } of plain.states) findState(groups, name);
    const graph = lower(
      optimize(plain, (tensor) => tensorOf(source, tensor).dtype),
      (weight) => this.#readsInt8(source, weight),
    );
    return { plain, graph, source, groups };
  }

  upload(lowered: readonly Lowered[], options: UploadOptions = {}): Promise<Weights> {
    return uploadWeights(this.#native, this.#team, lowered, { ...options, keep: this.#keep });
  }

  uploadAdapter(lowered: Lowered, adapter: Adapter): Promise<AdapterWeights> {
    return uploadAdapter(this.#native, this.#team, lowered, adapter);
  }

  blockBytes(group: StateGroup): number {
    return blockBytesOf(this.#native, this.#team, group);
  }

  async allocate(groups: readonly StateGroup[], blocks: readonly number[]): Promise<Pool> {
    return new NativePool(this.#native, this.#team, groups, blocks);
  }

  async compile(lowered: Lowered, weights: Weights, pool: Pool, options: CompileOptions): Promise<Program> {
    invariant(weights instanceof CpuWeights && pool instanceof NativePool, "weights or pool of another backend");
    const { graph } = lowered;
    const widths = options.outputs.map((name) => {
      const value = graph.outputs.get(name);
      if (value === undefined) throw new GraphError(`${graph.name}: there is no output "${name}"`);
      const width = graph.widths[value];
      invariant(width !== undefined, `no width of the output "${name}"`);
      return width;
    });
    const spec = emit(lowered, weights, pool.groups, options);
    const available = this.#native.availableMemory();
    if (spec.arenaBytes > available) {
      throw new MemoryError(
        `The buffers of a step of ${options.stepTokens} tokens need ${gib(spec.arenaBytes)}, ` +
          `${gib(available)} of memory is free.`,
      );
    }
    // For developers: closing the program prints where the time of its steps went.
    const timings = process.env["MILLRACE_TIMINGS"] !== undefined;
    const handle = this.#native.compile(this.#team, weights.handles, pool.handle, spec, timings);
    return new NativeProgram(this.#native, handle, lowered, pool, options, widths, timings);
  }

  /** Does the weight, as its file has it, multiply int8 rows? Mixed formats are refused when it is uploaded. */
  #readsInt8(source: ModelArtifact, weight: WeightRef): boolean {
    const [part] = weight.parts;
    invariant(part, `${weight.name} has no parts`);
    const cols = weight.shape.at(-1);
    invariant(cols !== undefined, `${weight.name} has no shape`);
    const { dtype } = tensorOfPart(source, part);
    return this.#native.matrixLayout(DTYPES[dtype].ggml, 1, cols, 1)?.int8 === true;
  }

  async probe(): Promise<CpuProbe> {
    const out = new Float32Array(3);
    await this.#native.probe(this.#team, PROBED_BYTES, out);
    const [bytesPerSecond = 0, bits4 = 0, bits8 = 0] = out;
    return { bytesPerSecond, macsPerSecond: { bits4, bits8 } };
  }

  idleSeconds(): number {
    return this.#native.idleSeconds(this.#team);
  }

  counters(options: { readonly reset?: boolean } = {}): CpuCounters {
    const { linear, attend, lora } = this.#native.counters(this.#team, options.reset === true);
    const names = [
      ...KERNELS.flatMap((kernel) => this.#native.formats().map((format) => `${kernel} ${format}`)),
      ...["attendRows", "attendTile"].flatMap((kernel) => ["f16", "f32", "q8"].map((type) => `${kernel} ${type}`)),
    ];
    const result: Record<string, number> = { lora };
    for (const [i, count] of [...linear, ...attend].entries()) {
      const name = names[i];
      invariant(name !== undefined, "the addon counts a kernel that has no name");
      result[name] = count;
    }
    return result;
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

const ORIGINS: Readonly<Record<LoadedAddon["origin"], string>> = {
  prebuilt: "of an installed package",
  checkout: "built in this source tree",
  compiled: "compiled on this machine",
};

/** More than the last cache of a large server holds. */
const PROBED_BYTES = 2 ** 29;

/** Linear kernels: 1 row, 2 … 16 rows, more. */
const KERNELS = ["gemv", "flat", "gemm"] as const;
