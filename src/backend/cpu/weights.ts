/**
 * Upload: streams the tensors that lowered graphs name into the kernels' packed layout. Weights are known by their source
 * and the tensors' rows that they consist of, never by the name that a graph gives them: equal ones are held once, and
 * taken from a base where it has them. Where the source has a file descriptor, native threads read it, else its bytes
 * pass through memory once, as bytes. Progress, abortion and failures are looked at between tasks. With `keep`, what was
 * packed is written to the packed cache, and found there the next time.
 */
import { createHash } from "node:crypto";
import { endianness } from "node:os";

import type { ModelArtifact } from "../../artifact/artifact.ts";
import { ArtifactError, MemoryError, NativeError, invariant } from "../../errors.ts";
import type { WeightRef } from "../../graph/graph.ts";
import { graphWeights } from "../../graph/interface.ts";
import type { Lowered, UploadOptions, Weights } from "../contract.ts";
import type { MatrixPart, VectorId } from "./instructions.ts";
import type { LoadSpec, NativeAddon, TeamHandle, WeightsHandle } from "./native.ts";
import { LEAST_PACKED, openPacked, removePacked, writePacked } from "./packed-cache.ts";
import { planWeight, type Stored, type Task, tensorOfPart, type WeightPlan } from "./weight-plans.ts";

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
  options: UploadOptions & { readonly keep?: boolean },
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
    [...refs].map(([identity, weight]) => ({ source, identity, weight, plan: planWeight(native, source, weight) })),
  );
  const needed = plans.reduce((sum, { plan }) => sum + plan.bytes, 0);
  const available = native.availableMemory();
  if (needed > available) {
    throw new MemoryError(`The weights need ${gib(needed)}, ${gib(available)} of memory is free.`);
  }
  const key = options.keep === true && needed >= LEAST_PACKED ? packedKey(native, plans) : undefined;
  const mapped = key === undefined ? undefined : await mapPacked(native, team, key, needed);
  const handle = mapped ?? native.createWeights(needed);
  try {
    const stored: Table = new Map();
    const tasks: Task[] = [];
    for (const { source, identity, plan } of plans) {
      const { store, specs } = plan.create(handle);
      const own = stored.get(source) ?? new Map<string, Stored>();
      stored.set(source, own.set(identity, store));
      tasks.push(...specs);
    }
    if (mapped === undefined) await load(native, team, handle, tasks, options);
    else report(options, tasks);
    // Beside the first steps: nobody waits for it, and who closes the weights before its end doesn't stop it.
    const saved =
      mapped === undefined && key !== undefined ? savePacked(native, handle, key, needed, plans) : undefined;
    const close = (): void => native.close(handle);
    return new CpuWeights(handle, needed, base, stored, () => (saved === undefined ? close() : void saved.then(close)));
  } catch (error) {
    native.close(handle);
    throw error;
  }
}

interface Planned {
  readonly source: ModelArtifact;
  readonly identity: string;
  readonly weight: WeightRef;
  readonly plan: WeightPlan;
}

/** All that the packed bytes depend on; undefined where a source can't be told from another. */
function packedKey(native: NativeAddon, plans: readonly Planned[]): string | undefined {
  const key = createHash("sha256").update(`${native.packFingerprint()} ${endianness()}`);
  for (const { source, identity, weight, plan } of plans) {
    key.update(`\n${identity} ${plan.bytes}`);
    for (const part of weight.parts) {
      const { source: file, dtype, shape, offset } = tensorOfPart(source, part);
      if (file.identity === undefined) return undefined;
      key.update(`\n${file.identity} ${dtype} ${shape.join()} ${offset}`);
    }
  }
  return key.digest("hex").slice(0, 40);
}

async function mapPacked(
  native: NativeAddon,
  team: TeamHandle,
  key: string,
  bytes: number,
): Promise<WeightsHandle | undefined> {
  const file = await openPacked(key, bytes);
  if (file === undefined) return undefined;
  let handle: WeightsHandle | undefined;
  try {
    handle = native.mapWeights(file.fd, file.offset, bytes);
    await native.checkWeights(team, handle, file.sums);
    return handle;
  } catch {
    if (handle !== undefined) native.close(handle);
    await removePacked(key);
    return undefined;
  } finally {
    await file.close();
  }
}

async function savePacked(
  native: NativeAddon,
  handle: WeightsHandle,
  key: string,
  bytes: number,
  plans: readonly Planned[],
): Promise<void> {
  const model = [...new Set(plans.map(({ source }) => source.name))].join(" + ");
  const tensors = plans.flatMap(({ source, weight }) => weight.parts.map((part) => tensorOfPart(source, part)));
  try {
    // Bytes of a file that was written to while it was read aren't those that the key names.
    for (const file of new Set(tensors.map(({ source }) => source))) await file.checkUnchanged?.();
  } catch {
    return;
  }
  await writePacked({ key, bytes, model }, (piece, fd, offset) => native.saveWeights(handle, piece, fd, offset));
}

function report({ onProgress }: UploadOptions, tasks: readonly Task[]): void {
  const totalBytes = tasks.reduce((sum, task) => sum + task.bytes, 0);
  onProgress?.({ loadedBytes: totalBytes, totalBytes });
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
