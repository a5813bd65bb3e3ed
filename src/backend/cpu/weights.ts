/**
 * Upload: streams the tensors that lowered graphs name into the kernels' packed layout. Weights are known by their source
 * and the tensors' rows that they consist of, never by the name that a graph gives them: equal ones are held once, and
 * taken from a base where it has them. Where the source has a file descriptor, native threads read it, else its bytes
 * pass through memory once, as bytes. Progress, abortion and failures are looked at between tasks.
 */
import type { ModelArtifact } from "../../artifact/artifact.ts";
import { ArtifactError, MemoryError, NativeError, invariant } from "../../errors.ts";
import type { WeightRef } from "../../graph/graph.ts";
import { graphWeights } from "../../graph/shapes.ts";
import type { Lowered, UploadOptions, Weights } from "../contract.ts";
import type { MatrixPart, VectorId } from "./instructions.ts";
import type { LoadSpec, NativeAddon, TeamHandle, WeightsHandle } from "./native.ts";
import { planWeight, type Stored, type Task } from "./weight-plans.ts";

type Table = Map<ModelArtifact, Map<string, Stored>>;

export class CpuWeights implements Weights {
  readonly handle: WeightsHandle;
  readonly bytes: number;
  readonly #base: CpuWeights | undefined;
  readonly #stored: Table;
  readonly #close: () => void;

  constructor(handle: WeightsHandle, bytes: number, base: CpuWeights | undefined, stored: Table, close: () => void) {
    this.handle = handle;
    this.bytes = bytes;
    this.#base = base;
    this.#stored = stored;
    this.#close = close;
  }

  /** These, their base, its base …: what instructions name by its place in this list. */
  get handles(): WeightsHandle[] {
    return [this.handle, ...(this.#base?.handles ?? [])];
  }

  has(source: ModelArtifact, weight: WeightRef): boolean {
    return this.#find(source, weight, 0) !== undefined;
  }

  /** The packed matrices of a weight, one after another. */
  parts(source: ModelArtifact, weight: WeightRef): MatrixPart[] {
    const [stored, holder] = this.#get(source, weight);
    invariant(stored.kind === "matrix", `${weight.name} is no matrix`);
    return stored.segments.map(({ matrix, row }) => [holder, matrix, row] as const);
  }

  vector(source: ModelArtifact, weight: WeightRef): VectorId {
    const [stored, holder] = this.#get(source, weight);
    invariant(stored.kind === "vector", `${weight.name} is no vector`);
    return [holder, stored.vector];
  }

  close(): void {
    this.#close();
  }

  #get(source: ModelArtifact, weight: WeightRef): readonly [Stored, number] {
    const found = this.#find(source, weight, 0);
    if (found === undefined) throw new ArtifactError(`${source.name}: the weight ${weight.name} was not uploaded.`);
    return found;
  }

  #find(source: ModelArtifact, weight: WeightRef, holder: number): readonly [Stored, number] | undefined {
    const stored = this.#stored.get(source)?.get(identityOf(weight));
    if (stored !== undefined) return [stored, holder];
    return this.#base === undefined ? undefined : this.#base.#find(source, weight, holder + 1);
  }
}

/** What a weight is made of, whatever a graph calls it. */
function identityOf({ shape, parts }: WeightRef): string {
  const runs = parts.map((part) => [part.tensor, part.slice, part.rowStart, part.rowCount, part.transpose]);
  return JSON.stringify([shape, runs]);
}

export async function uploadWeights(
  native: NativeAddon,
  team: TeamHandle,
  lowered: readonly Lowered[],
  options: UploadOptions,
): Promise<CpuWeights> {
  const { base } = options;
  invariant(base === undefined || base instanceof CpuWeights, "the base's weights belong to another backend");
  const wanted = new Map<ModelArtifact, Map<string, WeightRef>>();
  for (const { graph, source } of lowered) {
    const refs = wanted.get(source) ?? new Map<string, WeightRef>();
    wanted.set(source, refs);
    for (const weight of graphWeights(graph).values()) {
      if (base?.has(source, weight) !== true) refs.set(identityOf(weight), weight);
    }
  }
  const plans = [...wanted].flatMap(([source, refs]) =>
    [...refs].map(([identity, weight]) => ({ source, identity, plan: planWeight(native, source, weight) })),
  );
  const needed = plans.reduce((sum, { plan }) => sum + plan.bytes, 0);
  const available = native.availableMemory();
  if (needed > available) {
    throw new MemoryError(`The weights need ${gib(needed)}, ${gib(available)} of memory is free.`);
  }
  const handle = native.createWeights(needed);
  try {
    const stored: Table = new Map();
    const tasks: Task[] = [];
    for (const { source, identity, plan } of plans) {
      const { store, specs } = plan.create(handle);
      const own = stored.get(source) ?? new Map<string, Stored>();
      stored.set(source, own.set(identity, store));
      tasks.push(...specs);
    }
    await load(native, team, handle, tasks, options);
    return new CpuWeights(handle, needed, base, stored, () => native.close(handle));
  } catch (error) {
    native.close(handle);
    throw error;
  }
}

async function load(
  native: NativeAddon,
  team: TeamHandle,
  handle: WeightsHandle,
  tasks: readonly Task[],
  { onProgress, signal }: UploadOptions,
): Promise<void> {
  const totalBytes = tasks.reduce((sum, task) => sum + task.bytes, 0);
  let loadedBytes = 0;
  let failed = false;
  onProgress?.({ loadedBytes, totalBytes });
  // Two tasks at a time: one's completion overlaps the next one's work. After a failure no further one begins.
  const waiting = tasks.values();
  const worker = async (): Promise<void> => {
    try {
      for (const task of waiting) {
        if (failed) return;
        signal?.throwIfAborted();
        await loadTask(native, team, handle, task);
        loadedBytes += task.bytes;
        onProgress?.({ loadedBytes, totalBytes });
      }
    } catch (error) {
      failed = true;
      throw error;
    }
  };
  const results = await Promise.allSettled([worker(), worker()]);
  for (const result of results) if (result.status === "rejected") throw result.reason;
}

async function loadTask(native: NativeAddon, team: TeamHandle, handle: WeightsHandle, task: Task): Promise<void> {
  const { source, name } = task.tensor;
  const spec: LoadSpec =
    source.fd === undefined
      ? { ...task.spec, offset: 0, bytes: await source.read(task.offset, task.bytes) }
      : { ...task.spec, offset: task.offset, fd: source.fd };
  try {
    await native.load(team, handle, spec);
  } catch (error) {
    await source.checkUnchanged?.();
    const why = error instanceof Error ? error.message : String(error);
    throw new NativeError(`${source.name}, tensor ${name}: ${why}`, { cause: error });
  }
}

export function gib(bytes: number): string {
  return bytes >= 1 << 30 ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
