/**
 * A compiled program of the addon. A step is one native call on the backend's own threads: the event loop only hands the
 * plan over, with the arrays of its result, which the native side fills and nobody else knows until then.
 */
import process from "node:process";

import { MemoryError, NativeError, invariant } from "../../errors.ts";
import { CpuAdapter } from "./adapters.ts";
import {
  MAX_TOP_LOGPROBS,
  NO_SAMPLE,
  type AdapterWeights,
  type CompileOptions,
  type Lowered,
  type Program,
  type StepHandle,
  type StepPlan,
  type StepResult,
} from "../contract.ts";
import type { NativeAddon, ProgramHandle } from "./native.ts";
import type { NativePool } from "./pool.ts";

export class NativeProgram implements Program {
  readonly lowered: Lowered;
  readonly pool: NativePool;
  readonly #native: NativeAddon;
  readonly #handle: ProgramHandle;
  readonly #options: CompileOptions;
  readonly #timings: boolean;
  /** Columns of each named output. */
  readonly #widths: readonly number[];
  /** Steps in flight, by id. */
  readonly #inFlight = new Map<number, Promise<unknown>>();
  #closed = false;

  constructor(
    native: NativeAddon,
    handle: ProgramHandle,
    lowered: Lowered,
    pool: NativePool,
    options: CompileOptions,
    widths: readonly number[],
    timings: boolean,
  ) {
    this.#native = native;
    this.#handle = handle;
    this.lowered = lowered;
    this.pool = pool;
    this.#options = options;
    this.#widths = widths;
    this.#timings = timings;
  }

  run(plan: StepPlan): StepHandle {
    const { id } = plan;
    const missing = new Set<number>();
    for (let i = 0; i < plan.sampleCount; i++) if (plan.sampleMasked[i] === 1) missing.add(i);
    const result = this.#submit(plan);
    return {
      result,
      mask: (sample, mask) => {
        if (!missing.delete(sample)) throw new NativeError(`Step ${id} awaits no mask for sample ${sample}.`);
        // A step that has failed wants none.
        if (!this.#inFlight.has(id)) return;
        this.#native.mask(this.#handle, id, sample, mask === "drop" ? undefined : mask);
      },
      cancel: () => {
        if (this.#inFlight.has(id)) this.#native.cancel(this.#handle, id);
      },
    };
  }

  async setAdapter(place: number, adapter: AdapterWeights | undefined): Promise<void> {
    const { maxAdapters = 0, maxRank = 0 } = this.#options;
    if (!Number.isInteger(place) || place < 0 || place >= maxAdapters)
      throw new NativeError(`There is no place ${place} for an adapter: there are ${maxAdapters}.`);
    if (adapter === undefined) {
      this.#native.setAdapter(this.#handle, place, undefined, []);
      return;
    }
    const fits = adapter instanceof CpuAdapter && adapter.lowered === this.lowered;
    invariant(fits, "an adapter of another backend or graph");
    if (adapter.rank > maxRank)
      throw new NativeError(`An adapter of rank ${adapter.rank}: the program was compiled for at most ${maxRank}.`);
    this.#native.setAdapter(this.#handle, place, adapter.handle, adapter.sites);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const id of this.#inFlight.keys()) this.#native.cancel(this.#handle, id);
    await Promise.allSettled(this.#inFlight.values());
    if (this.#timings) process.stderr.write(this.#native.timings(this.#handle));
    this.#native.close(this.#handle);
  }

  /** Runs to its first await at once: the plan is the caller's again when `run` returns. */
  async #submit(plan: StepPlan): Promise<StepResult> {
    const { id } = plan;
    if (this.#closed) throw new NativeError("the program is closed");
    const result = this.#roomFor(plan);
    const running = this.#native.run(this.#handle, plan, result);
    this.#inFlight.set(id, running);
    try {
      await running;
    } finally {
      this.#inFlight.delete(id);
    }
    return result;
  }

  #roomFor(plan: StepPlan): StepResult {
    try {
      return this.#resultOf(plan);
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause;
      throw new MemoryError(`There is no memory for the results of step ${plan.id}: ${cause.message}.`, { cause });
    }
  }

  /** Arrays for what the step gives, filled with what stands where it gives nothing. */
  #resultOf({ sampleCount, sampleTop, logprobCount, logprobTop, outputs }: StepPlan): StepResult {
    const rows = outputs.reduce((sum, { count }) => sum + count, sampleCount + logprobCount);
    const isNegative = sampleCount < 0 || logprobCount < 0 || outputs.some(({ count }) => count < 0);
    if (isNegative || rows > this.#options.maxOutputs) {
      throw new NativeError(`bad step plan: output count (${rows}, limit ${this.#options.maxOutputs})`);
    }
    const sampleTops = topsOf(sampleTop, sampleCount);
    const logprobTops = topsOf(logprobTop, logprobCount);
    return {
      sampleIds: ints(sampleCount, NO_SAMPLE),
      sampleLogprobs: floats(sampleCount, NaN),
      topIds: ints(sampleTops, -1),
      topLogprobs: floats(sampleTops, -Infinity),
      logprobs: floats(logprobCount, 0),
      logprobTopIds: ints(logprobTops, -1),
      logprobTopLogprobs: floats(logprobTops, -Infinity),
      outputs: outputs.map(({ count }, i) => {
        const width = this.#widths[i];
        if (width === undefined) throw new NativeError("bad step plan: the program has fewer named outputs");
        return floats(count * width, 0);
      }),
    };
  }
}

/** What there is nothing of: most steps have but samples. */
const NO_INTS = new Int32Array();
const NO_FLOATS = new Float32Array();

function ints(count: number, value: number): Int32Array {
  return count === 0 ? NO_INTS : new Int32Array(count).fill(value);
}

function floats(count: number, value: number): Float32Array {
  return count === 0 ? NO_FLOATS : new Float32Array(count).fill(value);
}

/** Places for alternatives: none where no row wants any. */
function topsOf(wanted: Int32Array, count: number): number {
  for (let i = 0; i < count; i++) if ((wanted[i] ?? 0) > 0) return count * MAX_TOP_LOGPROBS;
  return 0;
}
