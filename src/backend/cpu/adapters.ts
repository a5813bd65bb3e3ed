/**
 * Adapters in native memory: for each linear that one changes a matrix of the pairs' A, one below the other, and a matrix
 * of B for each run of columns, in the files' own float type where the kernels read it. What fits what, adapter-sites.ts
 * has checked; into which places of which programs they come, program.ts knows.
 */
import { rankOf, type Adapter, type LowRank } from "../../artifact/adapter.ts";
import type { Tensor } from "../../artifact/artifact.ts";
import { DTYPES } from "../../artifact/dtype.ts";
import { tensorValues } from "../../artifact/tensor-values.ts";
import { MemoryError, invariant } from "../../errors.ts";
import { withAdapters } from "../../graph/passes.ts";
import { adapterSites, type AdapterSite } from "../adapter-sites.ts";
import type { AdapterWeights, Lowered } from "../contract.ts";
import type { AdapterSpec, NativeAddon, TeamHandle, WeightsHandle } from "./native.ts";
import { gib } from "./weights.ts";

type FloatType = "F32" | "F16" | "BF16";

/** A matrix on its way into native memory. */
interface Rows {
  readonly type: FloatType;
  readonly rows: number;
  readonly cols: number;
  readonly bytes: Uint8Array;
}

export class CpuAdapter implements AdapterWeights {
  readonly lowered: Lowered;
  readonly handle: WeightsHandle;
  readonly sites: readonly AdapterSpec[];
  readonly bytes: number;
  readonly rank: number;
  readonly #close: () => void;

  constructor(lowered: Lowered, handle: WeightsHandle, loaded: Loaded, rank: number, close: () => void) {
    this.lowered = lowered;
    this.handle = handle;
    this.sites = loaded.sites;
    this.bytes = loaded.bytes;
    this.rank = rank;
    this.#close = close;
  }

  close(): void {
    this.#close();
  }
}

interface Loaded {
  readonly sites: readonly AdapterSpec[];
  readonly bytes: number;
}

export async function uploadAdapter(
  native: NativeAddon,
  team: TeamHandle,
  lowered: Lowered,
  adapter: Adapter,
): Promise<CpuAdapter> {
  const sites = adapterSites(withAdapters(lowered.graph), lowered.source, adapter);
  const bytes = sites.reduce((sum, site) => sum + siteBytes(native, site), 0);
  const available = native.availableMemory();
  if (bytes > available)
    throw new MemoryError(`${adapter.name} needs ${gib(bytes)}, ${gib(available)} of memory is free.`);
  const handle = native.createWeights(bytes);
  const close = (): void => native.close(handle);
  try {
    const specs: AdapterSpec[] = [];
    for (const site of sites) specs.push(await loadSite(native, team, handle, site));
    return new CpuAdapter(lowered, handle, { sites: specs, bytes }, rankOf(adapter), close);
  } catch (error) {
    close();
    throw error;
  }
}

/** What the kernels read as it is; all else is widened. */
function floatType(tensors: readonly Tensor[]): FloatType {
  const [first] = tensors;
  const same = tensors.every(({ dtype }) => dtype === first?.dtype);
  return same && (first?.dtype === "F16" || first?.dtype === "BF16") ? first.dtype : "F32";
}

function stackedType({ pairs }: AdapterSite): FloatType {
  return floatType(pairs.map(({ a }) => a));
}

function siteBytes(native: NativeAddon, site: AdapterSite): number {
  const matrix = (type: FloatType, rows: number, cols: number): number => {
    const layout = native.matrixLayout(DTYPES[type].ggml, rows, cols, 1);
    invariant(layout, `no layout of ${type}`);
    return layout.bytes;
  };
  const inner = site.pairs.reduce((sum, { a }) => sum + sizeOf(a, 0), 0);
  const columns = sizeOf(pairAt(site, 0).a, 1);
  const runs = site.runs.map(({ rows, pair }) => {
    const { b, gain } = pairAt(site, pair);
    // As Weights::vectorBytes in weights.h.
    const gains = gain === undefined ? 0 : Math.ceil((rows * 4) / 128) * 128 + 128;
    return matrix(floatType([b]), rows, sizeOf(b, 1)) + gains;
  });
  return runs.reduce((sum, bytes) => sum + bytes, matrix(stackedType(site), inner, columns));
}

async function loadSite(
  native: NativeAddon,
  team: TeamHandle,
  handle: WeightsHandle,
  site: AdapterSite,
): Promise<AdapterSpec> {
  const load = async (what: { matrix: number } | { vector: number }, { type, rows, bytes }: Rows): Promise<void> => {
    await native.load(team, handle, { ...what, expert: 0, row: 0, rows, type: DTYPES[type].ggml, bytes, offset: 0 });
  };
  const matrix = async (rows: Rows): Promise<number> => {
    const index = native.addMatrix(handle, DTYPES[rows.type].ggml, rows.rows, rows.cols, 1);
    await load({ matrix: index }, rows);
    return index;
  };
  const a = await matrix(await stacked(site));
  let end = 0;
  const scales = site.pairs.map(({ a: own, scale }) => {
    const begin = end;
    end += sizeOf(own, 0);
    return [begin, end, scale] as const;
  });
  const runs: AdapterSpec["runs"][number][] = [];
  for (const { first, rows, from, pair } of site.runs) {
    const { b, gain } = pairAt(site, pair);
    const index = await matrix(await rowsOf(b, floatType([b]), from, rows));
    let vector = -1;
    if (gain !== undefined) {
      vector = native.addVector(handle, rows);
      const bytes = new Uint8Array(gain.slice(from, from + rows).buffer);
      await load({ vector }, { type: "F32", rows, cols: 1, bytes });
    }
    runs.push([first, scales[pair]?.[0] ?? 0, index, vector]);
  }
  return { site: site.value, a, scales, runs };
}

/** The pairs' A, one below the other. */
async function stacked(site: AdapterSite): Promise<Rows> {
  const type = stackedType(site);
  const parts: Rows[] = [];
  for (const { a } of site.pairs) parts.push(await rowsOf(a, type, 0, sizeOf(a, 0)));
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.bytes.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part.bytes, at);
    at += part.bytes.length;
  }
  return { type, rows: parts.reduce((sum, { rows }) => sum + rows, 0), cols: parts[0]?.cols ?? 0, bytes };
}

async function rowsOf(tensor: Tensor, type: FloatType, from: number, rows: number): Promise<Rows> {
  const cols = sizeOf(tensor, 1);
  if (tensor.dtype === type) {
    const rowBytes = cols * DTYPES[type].blockBytes;
    return { type, rows, cols, bytes: await tensor.source.read(tensor.offset + from * rowBytes, rows * rowBytes) };
  }
  const values = (await tensorValues(tensor)).slice(from * cols, (from + rows) * cols);
  return { type, rows, cols, bytes: new Uint8Array(values.buffer) };
}

function sizeOf({ name, shape }: Tensor, dimension: number): number {
  const size = shape[dimension];
  invariant(size !== undefined, `${name} is no matrix`);
  return size;
}

function pairAt(site: AdapterSite, index: number): LowRank {
  const pair = site.pairs[index];
  invariant(pair !== undefined, `a site without pair ${index}`);
  return pair;
}
