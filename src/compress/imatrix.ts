/**
 * llama.cpp's importance matrices in files, in both layouts: the older one of plain binary entries (a name, the number of
 * chunks, mean squares times that number), and GGUF with sums of squares and counts (`general.type` "imatrix", 2025).
 */
import type { MetaObject, Tensor } from "../artifact/artifact.ts";
import { memorySource } from "../artifact/byte-source.ts";
import { readGguf } from "../artifact/gguf-reader.ts";
import type { GgufType } from "../artifact/gguf-types.ts";
import { ggufBytes } from "../artifact/gguf-writer.ts";
import { tensorValues } from "../artifact/tensor-values.ts";
import { ArtifactError } from "../errors.ts";
import type { Importance } from "./calibration.ts";

/** No tensor has more columns, times experts. */
const MOST_VALUES = 2 ** 26;
const MOST_ENTRIES = 65_536;

/** @throws ArtifactError where the bytes are neither layout, or end early */
export async function readImatrix(name: string, bytes: Uint8Array): Promise<Importance> {
  const isGguf = new TextDecoder().decode(bytes.subarray(0, 4)) === "GGUF";
  return { name, columns: isGguf ? await readGgufLayout(name, bytes) : readPlainLayout(name, bytes) };
}

async function readGgufLayout(name: string, bytes: Uint8Array): Promise<Map<string, Float32Array>> {
  const { metadata, tensors } = await readGguf(memorySource(name, bytes));
  if (metadata["general.type"] !== "imatrix") throw new ArtifactError(`${name}: a GGUF file, but no imatrix`);
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const columns = new Map<string, Float32Array>();
  for (const [key, sums] of byName) {
    const [, tensor] = /^(.*)\.in_sum2$/.exec(key) ?? [];
    if (tensor === undefined) continue;
    const counts = byName.get(`${tensor}.counts`);
    if (counts === undefined) throw new ArtifactError(`${name}: there is no tensor "${tensor}.counts"`);
    const [values, times] = [await tensorValues(sums), await tensorValues(counts)];
    const width = values.length / Math.max(1, times.length);
    if (!Number.isInteger(width))
      throw new ArtifactError(`${name}: ${values.length} sums of "${tensor}" for ${times.length} counts`);
    columns.set(
      tensor,
      values.map((sum, i) => sum / Math.max(1, times[Math.floor(i / width)] ?? 1)),
    );
  }
  return columns;
}

function readPlainLayout(name: string, bytes: Uint8Array): Map<string, Float32Array> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const take = (count: number, what: string): number => {
    if (at + count > bytes.length) throw new ArtifactError(`${name}: it ends within ${what} (is it an imatrix?)`);
    at += count;
    return at - count;
  };
  const whole = (what: string, most: number): number => {
    const value = view.getInt32(take(4, what), true);
    if (value < 0 || value > most) throw new ArtifactError(`${name}: ${value} for ${what} (is it an imatrix?)`);
    return value;
  };
  const columns = new Map<string, Float32Array>();
  const entries = whole("the number of entries", MOST_ENTRIES);
  for (let e = 0; e < entries; e++) {
    const length = whole("a name's length", 1024);
    const start = take(length, "a name");
    const tensor = new TextDecoder().decode(bytes.subarray(start, start + length));
    const calls = Math.max(1, whole("the number of calls", 2 ** 31 - 1));
    const count = whole("the number of values", MOST_VALUES);
    const values = take(4 * count, `the values of "${tensor}"`);
    columns.set(
      tensor,
      Float32Array.from({ length: count }, (_, i) => view.getFloat32(values + 4 * i, true) / calls),
    );
  }
  return columns;
}

/** The bytes of a file in either layout; `chunks`: sequences that were measured, of `length` tokens. */
export async function imatrixBytes(
  { name, columns }: Importance,
  layout: "gguf" | "plain",
  { chunks, length }: { readonly chunks: number; readonly length: number },
): Promise<Uint8Array> {
  return layout === "plain" ? plainBytes(name, columns, chunks) : ggufLayoutBytes(name, columns, chunks, length);
}

function plainBytes(name: string, columns: Importance["columns"], chunks: number): Uint8Array {
  const parts: Uint8Array[] = [];
  const whole = (value: number): void => {
    parts.push(new Uint8Array(Int32Array.of(value).buffer));
  };
  const text = (value: string): void => {
    const bytes = new TextEncoder().encode(value);
    whole(bytes.length);
    parts.push(bytes);
  };
  whole(columns.size);
  for (const [tensor, values] of columns) {
    text(tensor);
    whole(chunks);
    whole(values.length);
    parts.push(new Uint8Array(values.map((value) => value * chunks).buffer));
  }
  whole(chunks);
  text(name);
  return joined(parts);
}

async function ggufLayoutBytes(
  name: string,
  columns: Importance["columns"],
  chunks: number,
  length: number,
): Promise<Uint8Array> {
  const rows = chunks * length;
  const tensors = [...columns].flatMap(([tensor, values]) => [
    floats(
      `${tensor}.in_sum2`,
      [1, values.length],
      values.map((value) => value * rows),
    ),
    floats(`${tensor}.counts`, [1, 1], Float32Array.of(rows)),
  ]);
  const metadata: MetaObject = {
    "general.type": "imatrix",
    "imatrix.datasets": [name],
    "imatrix.chunk_count": chunks,
    "imatrix.chunk_size": length,
  };
  const types = new Map<string, GgufType>([
    ["general.type", "string"],
    ["imatrix.datasets", "string[]"],
    ["imatrix.chunk_count", "u32"],
    ["imatrix.chunk_size", "u32"],
  ]);
  const parts: Uint8Array[] = [];
  for await (const part of ggufBytes({ metadata, types, tensors })) parts.push(part);
  return joined(parts);
}

function floats(name: string, shape: readonly number[], values: Float32Array): Tensor {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return { name, dtype: "F32", shape, source: memorySource(name, bytes), offset: 0, byteLength: bytes.length };
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
