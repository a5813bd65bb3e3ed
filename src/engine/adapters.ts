/**
 * The adapters of an engine: which name stands in which of the program's places, who uses it, and how much memory they
 * have together. A dropped adapter takes no new requests; its place is free when the last of its requests has ended.
 */
import { rankOf, type Adapter } from "../artifact/adapter.ts";
import type { AdapterWeights, Program } from "../backend/contract.ts";
import { shown } from "../decode/limits.ts";
import { MemoryError, RequestError } from "../errors.ts";

export interface AdapterInfo {
  readonly name: string;
  /** Of its matrices in memory. */
  readonly bytes: number;
  readonly rank: number;
}

/** One as a request holds it. */
export interface HeldAdapter {
  readonly place: number;
  /** Kept apart in the prefix tree: the same name may stand for another adapter later. */
  readonly serial: number;
}

interface Entry extends HeldAdapter {
  readonly info: AdapterInfo;
  readonly weights: AdapterWeights;
  users: number;
  /** Set where it was dropped: called when nobody uses it any more. */
  free?: () => void;
}

export interface AdapterParts {
  readonly program: Program;
  readonly maxAdapters: number;
  readonly maxRank: number;
  /** Of all adapters together. */
  readonly maxBytes: number;
  /** Opens what a reference names, in terms of the model's tensors; `close` when it has been uploaded. */
  readonly open: (reference: string) => Promise<{ readonly adapter: Adapter; readonly close: () => Promise<void> }>;
  readonly upload: (adapter: Adapter) => Promise<AdapterWeights>;
}

/** A model and its adapter are written "model:name" elsewhere. */
const NAME = /^[^\s:\p{Cc}]{1,128}$/u;

export class Adapters {
  readonly #parts: AdapterParts;
  readonly #entries = new Map<string, Entry>();
  readonly #free: number[];
  /** Being loaded: their names and places are taken. */
  readonly #coming = new Set<string>();
  #serial = 0;
  #bytes = 0;

  constructor(parts: AdapterParts) {
    this.#parts = parts;
    this.#free = Array.from({ length: parts.maxAdapters }, (_, i) => parts.maxAdapters - 1 - i);
  }

  get list(): AdapterInfo[] {
    return [...this.#entries.values()].map(({ info }) => info);
  }

  /** @throws RequestError, MemoryError, and what reading the files throws */
  async load(name: string, reference: string): Promise<AdapterInfo> {
    const { program, maxAdapters, maxRank, open, upload } = this.#parts;
    if (typeof name !== "string" || !NAME.test(name))
      throw new RequestError(`an adapter's name is a word without colons, not ${shown(name)}`);
    if (maxAdapters === 0)
      throw new RequestError("the model was loaded without room for adapters; load it with maxAdapters");
    if (this.#entries.has(name) || this.#coming.has(name))
      throw new RequestError(`there is an adapter ${shown(name)} already; drop it first`);
    const place = this.#free.pop();
    if (place === undefined)
      throw new RequestError(`${maxAdapters} adapters are loaded, as many as there is room for (maxAdapters)`);
    this.#coming.add(name);
    let weights: AdapterWeights | undefined;
    try {
      const { adapter, close } = await open(reference);
      try {
        const rank = rankOf(adapter);
        if (rank > maxRank) {
          throw new RequestError(
            `${adapter.name} has rank ${rank}, the model was loaded for ${maxRank} at most; load it with maxRank`,
          );
        }
        weights = await upload(adapter);
      } finally {
        await close();
      }
      this.#checkBudget(name, weights.bytes);
      await program.setAdapter(place, weights);
    } catch (error) {
      weights?.close();
      this.#free.push(place);
      throw error;
    } finally {
      this.#coming.delete(name);
    }
    const info = { name, bytes: weights.bytes, rank: weights.rank };
    this.#bytes += weights.bytes;
    this.#entries.set(name, { info, weights, place, serial: ++this.#serial, users: 0 });
    return info;
  }

  /** Resolves when its memory is free. @throws RequestError where there is none of the name */
  async drop(name: string): Promise<void> {
    const entry = this.#get(name);
    this.#entries.delete(name);
    if (entry.users > 0) await new Promise<void>((resolve) => (entry.free = resolve));
    await this.#parts.program.setAdapter(entry.place, undefined);
    entry.weights.close();
    this.#bytes -= entry.info.bytes;
    this.#free.push(entry.place);
  }

  /** For a request, which gives it back when it has ended. @throws RequestError where there is none of the name */
  take(name: string): HeldAdapter {
    const entry = this.#get(name);
    entry.users += 1;
    return entry;
  }

  giveBack(held: HeldAdapter): void {
    const entry = held as Entry;
    entry.users -= 1;
    if (entry.users === 0) entry.free?.();
  }

  /** Frees the memory; nobody asks afterwards. */
  close(): void {
    for (const { weights } of this.#entries.values()) weights.close();
    this.#entries.clear();
  }

  #get(name: string): Entry {
    const entry = this.#entries.get(name);
    if (entry !== undefined) return entry;
    const names = [...this.#entries.keys()].slice(0, 20);
    const known = names.length === 0 ? "none is loaded" : `loaded: ${names.join(", ")}`;
    throw new RequestError(`there is no adapter ${shown(name)} (${known})`);
  }

  #checkBudget(name: string, bytes: number): void {
    const { maxBytes } = this.#parts;
    if (this.#bytes + bytes <= maxBytes) return;
    const mib = (count: number): string => `${(count / 2 ** 20).toFixed(1)} MiB`;
    throw new MemoryError(
      `the adapter ${name} takes ${mib(bytes)}, of ${mib(maxBytes)} for adapters ${mib(maxBytes - this.#bytes)} are ` +
        "free; drop another, or load the model with more adapterBytes",
    );
  }
}
