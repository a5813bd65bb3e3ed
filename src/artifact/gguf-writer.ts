/**
 * Writes GGUF v3: the header as bytes, the tensors streamed from their sources, one model as one file or split into
 * parts as llama.cpp's gguf-split does (all metadata in the first, `split.*` in each). Where the bytes go is the
 * caller's affair (`node-gguf.ts` has files).
 */
import { ArtifactError } from "../errors.ts";
import type { MetaValue, Tensor } from "./artifact.ts";
import { DTYPES } from "./dtype.ts";
import type { GgufDescription } from "./gguf-file.ts";
import { alignUp, DEFAULT_ALIGNMENT, GGUF_ARRAY, idOfScalar, type GgufScalar, type GgufType } from "./gguf-types.ts";

const CHUNK_BYTES = 4 * 2 ** 20;

/** The bytes of one GGUF file in order, in chunks of a few MB. */
export async function* ggufBytes(file: GgufDescription): AsyncGenerator<Uint8Array> {
  const alignment = Number(file.metadata["general.alignment"] ?? DEFAULT_ALIGNMENT);
  yield ggufHeader(file);
  for (const tensor of file.tensors) {
    for (let done = 0; done < tensor.byteLength;) {
      const length = Math.min(CHUNK_BYTES, tensor.byteLength - done);
      yield await tensor.source.read(tensor.offset + done, length);
      done += length;
    }
    const padding = alignUp(tensor.byteLength, alignment) - tensor.byteLength;
    if (padding > 0) yield new Uint8Array(padding);
  }
}

/** Header, metadata and tensor table, padded to where the first tensor begins. */
export function ggufHeader(file: GgufDescription): Uint8Array {
  const alignment = Number(file.metadata["general.alignment"] ?? DEFAULT_ALIGNMENT);
  const out = new ByteWriter();
  out.bytes(new TextEncoder().encode("GGUF"));
  out.u32(3);
  out.u64(file.tensors.length);
  out.u64(file.types.size);
  for (const [key, type] of file.types) writeEntry(out, key, type, file.metadata[key]);
  let offset = 0;
  for (const { name, dtype, shape, byteLength } of file.tensors) {
    out.string(name);
    out.u32(shape.length);
    for (const size of shape.toReversed()) out.u64(size);
    out.u32(DTYPES[dtype].ggml);
    out.u64(offset);
    offset += alignUp(byteLength, alignment);
  }
  out.bytes(new Uint8Array(alignUp(out.length, alignment) - out.length));
  return out.finish();
}

export interface SplitLimits {
  /** The most bytes of tensor data in a part (a larger tensor has a part to itself). */
  readonly maxBytes?: number;
  readonly maxTensors?: number;
}

/** Distributes a model over parts, in order; the parts' names are `splitName(…)`. */
export function splitGguf(file: GgufDescription, limits: SplitLimits): GgufDescription[] {
  const { maxBytes = Infinity, maxTensors = Infinity } = limits;
  const parts: Tensor[][] = [[]];
  let bytes = 0;
  for (const tensor of file.tensors) {
    const part = parts.at(-1) ?? [];
    if (part.length > 0 && (bytes + tensor.byteLength > maxBytes || part.length >= maxTensors)) {
      parts.push([tensor]);
      bytes = tensor.byteLength;
    } else {
      part.push(tensor);
      bytes += tensor.byteLength;
    }
  }
  return parts.map((tensors, index) => {
    const first = index === 0;
    const split = { "split.no": index, "split.count": parts.length, "split.tensors.count": file.tensors.length };
    const alignment = file.metadata["general.alignment"];
    const types = new Map<string, GgufType>(first ? file.types : []);
    if (alignment !== undefined) types.set("general.alignment", "u32");
    types.set("split.no", "u16").set("split.count", "u16").set("split.tensors.count", "i32");
    const metadata = first ? { ...file.metadata, ...split } : { "general.alignment": alignment, ...split };
    return { metadata, types, tensors };
  });
}

/** "model.gguf" → "model-00001-of-00003.gguf" for part 0 of 3. */
export function splitName(name: string, part: number, parts: number): string {
  const digits = (n: number) => String(n).padStart(5, "0");
  return `${name.replace(/\.gguf$/i, "")}-${digits(part + 1)}-of-${digits(parts)}.gguf`;
}

/** The names of all parts of the split model that a file's name says it belongs to; none where it isn't a part. */
export function splitNames(name: string): string[] {
  const match = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/i.exec(name);
  const parts = Number(match?.[3]);
  const part = Number(match?.[2]);
  if (match?.[1] === undefined || part < 1 || part > parts) return [];
  const base = match[1];
  return Array.from({ length: parts }, (_, i) => splitName(base, i, parts));
}

function writeEntry(out: ByteWriter, key: string, type: GgufType, value: MetaValue | undefined): void {
  out.string(key);
  const element = elementOf(type);
  if (element === undefined) {
    const scalar = type as GgufScalar;
    out.u32(idOfScalar(scalar));
    writeScalar(out, key, scalar, value);
    return;
  }
  if (!Array.isArray(value) && !ArrayBuffer.isView(value)) throw mismatch(key, type, value);
  const values = value as ArrayLike<MetaValue>;
  out.u32(GGUF_ARRAY);
  out.u32(idOfScalar(element));
  out.u64(values.length);
  for (let i = 0; i < values.length; i++) writeScalar(out, key, element, values[i]);
}

function elementOf(type: GgufType): GgufScalar | undefined {
  return type.endsWith("[]") ? (type.slice(0, -2) as GgufScalar) : undefined;
}

function writeScalar(out: ByteWriter, key: string, scalar: GgufScalar, value: MetaValue | undefined): void {
  switch (scalar) {
    case "string":
      if (typeof value !== "string") throw mismatch(key, scalar, value);
      return out.string(value);
    case "bool":
      if (typeof value !== "boolean") throw mismatch(key, scalar, value);
      return out.u8(value ? 1 : 0);
    case "u64":
    case "i64":
      if (typeof value === "bigint") return out.bigint(value);
      if (!Number.isSafeInteger(value)) throw mismatch(key, scalar, value);
      return out.bigint(BigInt(Number(value)));
    default:
  }
  if (typeof value !== "number") throw mismatch(key, scalar, value);
  switch (scalar) {
    case "f32":
      return out.f32(value);
    case "f64":
      return out.f64(value);
    case "u8":
    case "i8":
      return out.u8(integer(key, scalar, value));
    case "u16":
    case "i16":
      return out.u16(integer(key, scalar, value));
    case "u32":
    case "i32":
      return out.u32(integer(key, scalar, value));
    default:
      scalar satisfies never;
  }
}

function integer(key: string, scalar: GgufScalar, value: number): number {
  const bits = Number(scalar.slice(1));
  const least = scalar.startsWith("u") ? 0 : -(2 ** (bits - 1));
  if (!Number.isInteger(value) || value < least || value >= least + 2 ** bits) throw mismatch(key, scalar, value);
  return value;
}

function mismatch(key: string, type: GgufType, value: MetaValue | undefined): ArtifactError {
  const shown = typeof value === "object" ? "a list or an object" : String(value);
  return new ArtifactError(`GGUF metadata "${key}": ${shown} can't be written as ${type}`);
}

/** Little-endian values into a buffer that grows. */
class ByteWriter {
  length = 0;
  #view = new DataView(new ArrayBuffer(64 * 1024));
  readonly #encoder = new TextEncoder();

  u8(value: number): void {
    const at = this.#take(1); // may replace the view
    this.#view.setUint8(at, value);
  }
  u16(value: number): void {
    const at = this.#take(2); // may replace the view
    this.#view.setUint16(at, value, true);
  }
  u32(value: number): void {
    const at = this.#take(4); // may replace the view
    this.#view.setUint32(at, value, true);
  }
  u64(value: number): void {
    this.bigint(BigInt(value));
  }
  /** A 64-bit integer, signed or not. */
  bigint(value: bigint): void {
    const at = this.#take(8); // may replace the view
    this.#view.setBigUint64(at, value, true);
  }
  f32(value: number): void {
    const at = this.#take(4); // may replace the view
    this.#view.setFloat32(at, value, true);
  }
  f64(value: number): void {
    const at = this.#take(8); // may replace the view
    this.#view.setFloat64(at, value, true);
  }
  bytes(bytes: Uint8Array): void {
    const start = this.#take(bytes.byteLength);
    new Uint8Array(this.#view.buffer).set(bytes, start);
  }
  string(text: string): void {
    const bytes = this.#encoder.encode(text);
    this.u64(bytes.byteLength);
    this.bytes(bytes);
  }
  finish(): Uint8Array {
    return new Uint8Array(this.#view.buffer, 0, this.length);
  }

  #take(bytes: number): number {
    const start = this.length;
    this.length += bytes;
    if (this.length > this.#view.byteLength) {
      const larger = new Uint8Array(Math.max(this.length, 2 * this.#view.byteLength));
      larger.set(new Uint8Array(this.#view.buffer));
      this.#view = new DataView(larger.buffer);
    }
    return start;
  }
}
