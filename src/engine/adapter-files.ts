/** How an engine comes by adapters: who opens their files, how much room a program gets for them. */
import type { Adapter } from "../artifact/adapter.ts";
import type { AdapterArtifact } from "../artifact/adapter-artifact.ts";
import type { ModelArtifact } from "../artifact/artifact.ts";
import { checkNumber } from "../decode/limits.ts";
import { RequestError } from "../errors.ts";
import { resolveAdapter } from "../models/adapters.ts";

export type OpenAdapter = (reference: string) => Promise<AdapterArtifact>;

export interface AdapterOptions {
  /** Adapters to load with the model, by the names that requests will call them: references as of `load`. */
  readonly adapters?: Readonly<Record<string, string>> | undefined;
  /** Adapters that can be loaded at a time. Default: none, or where some are given 16 at least. */
  readonly maxAdapters?: number | undefined;
  /** The largest rank of an adapter. Default 64, or that of those given. */
  readonly maxRank?: number | undefined;
  /** The memory of all adapters together. Default 1 GiB. */
  readonly adapterBytes?: number | undefined;
}

const DEFAULT_PLACES = 16;
const DEFAULT_RANK = 64;
const DEFAULT_BYTES = 2 ** 30;

export interface AdapterRoom {
  readonly maxAdapters: number;
  readonly maxRank: number;
  readonly maxBytes: number;
}

/** Looks into the headers of those that are given. */
export async function adapterRoom(options: AdapterOptions, open: OpenAdapter | undefined): Promise<AdapterRoom> {
  const references = Object.values(options.adapters ?? {});
  let maxRank = DEFAULT_RANK;
  for (const reference of options.maxRank === undefined ? references : []) {
    const adapter = await requireOpener(open)(reference);
    for (const { a } of adapter.layers.values()) maxRank = Math.max(maxRank, a.shape[0] ?? 0);
    await adapter.close();
  }
  const count = references.length;
  return {
    maxAdapters: checkNumber("maxAdapters", options.maxAdapters ?? (count === 0 ? 0 : Math.max(count, DEFAULT_PLACES))),
    maxRank: checkNumber("maxRank", options.maxRank ?? maxRank),
    maxBytes: checkNumber("adapterBytes", options.adapterBytes ?? DEFAULT_BYTES),
  };
}

/** Opens an adapter in terms of the base's tensors. */
export function adapterOpener(
  base: ModelArtifact,
  open: OpenAdapter | undefined,
): (reference: string) => Promise<{ readonly adapter: Adapter; readonly close: () => Promise<void> }> {
  return async (reference) => {
    const opened = await requireOpener(open)(reference);
    try {
      return { adapter: await resolveAdapter(opened, base), close: () => opened.close() };
    } catch (error) {
      await opened.close();
      throw error;
    }
  };
}

function requireOpener(open: OpenAdapter | undefined): OpenAdapter {
  if (open !== undefined) return open;
  throw new RequestError("this model was put together without a way to open adapters");
}
