/**
 * Where passes keep what they have computed: named byte strings that appear whole or not at all. With files behind it
 * (`artifact/node-store.ts`) a killed run finds again what was finished, and memory holds no more than what is being
 * computed; in memory it serves tests and small models.
 */
import type { ByteSource, Tensor } from "../artifact/artifact.ts";
import { memorySource } from "../artifact/byte-source.ts";
import { DTYPES, type DType } from "../artifact/dtype.ts";
import { invariant } from "../errors.ts";
import type { Json } from "./report.ts";

export interface Store {
  /** What was written under the name, or undefined. The source lives as long as the store. */
  find(name: string): Promise<ByteSource | undefined>;
  /** Under a name that nothing was written to before. */
  write(name: string, chunks: AsyncIterable<Uint8Array>): Promise<ByteSource>;
  /** A store within this one. */
  within(name: string): Store;
}

export function memoryStore(entries: Map<string, ByteSource> = new Map(), prefix = ""): Store {
  return {
    find: async (name) => entries.get(prefix + name),
    async write(name, chunks) {
      const parts: Uint8Array[] = [];
      for await (const chunk of chunks) parts.push(chunk.slice());
      const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
      let at = 0;
      for (const part of parts) {
        bytes.set(part, at);
        at += part.length;
      }
      const source = memorySource(name, bytes);
      entries.set(prefix + name, source);
      return source;
    },
    within: (name) => memoryStore(entries, `${prefix}${name}/`),
  };
}

/** What a kept tensor is made of: its format and shape, and its bytes in order. */
export interface TensorMaking {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly bytes: () => AsyncIterable<Uint8Array>;
}

/** The tensor from the store, or made now and kept. */
export async function keepTensor(store: Store, { name, dtype, shape, bytes }: TensorMaking): Promise<Tensor> {
  const count = shape.reduce((product, n) => product * n, 1);
  const { blockSize, blockBytes } = DTYPES[dtype];
  const byteLength = (count / blockSize) * blockBytes;
  const source = (await store.find(name)) ?? (await store.write(name, bytes()));
  invariant(source.size === byteLength, `${name}: ${source.size} bytes for ${byteLength}`);
  return { name, dtype, shape, source, offset: 0, byteLength };
}

/** A value from the store, or made now and kept. */
export async function keepJson<T extends Json>(store: Store, name: string, make: () => Promise<T>): Promise<T> {
  const found = await store.find(name);
  if (found !== undefined) return JSON.parse(new TextDecoder().decode(await found.read(0, found.size))) as T;
  const value = await make();
  await store.write(name, onlyChunk(new TextEncoder().encode(JSON.stringify(value))));
  return value;
}

/** Bytes that are there already, as a store takes them. */
export async function* onlyChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
