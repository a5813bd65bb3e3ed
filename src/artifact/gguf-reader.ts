/**
 * Reads a GGUF file (versions 2 and 3, little-endian): metadata and tensor table; tensors stay in the file. A first
 * pass (`gguf-measure.ts`) bounds the header, the second, here, reads it in one piece, makes the values and checks what
 * they mean: names, types, shapes, places. Memory: about four times the header at most.
 * Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
import { ArtifactError } from "../errors.ts";
import type { ByteSource, MetaArray, MetaObject, MetaValue, Tensor } from "./artifact.ts";
import { DTYPES, type DType } from "./dtype.ts";
import { measureGgufHeader } from "./gguf-measure.ts";
import type { GgufFile } from "./gguf-file.ts";
import { alignUp, DEFAULT_ALIGNMENT, GGUF_ARRAY, scalarOfId, type GgufScalar, type GgufType } from "./gguf-types.ts";
import { Utf8Decoder } from "./utf8.ts";

const MAX_NAME_BYTES = 1024;
const MAX_ALIGNMENT = 2 ** 20;
/** Arrays with integers beyond 2^53 become lists of bigints, at a price in memory. */
const MAX_BIGINTS = 2 ** 17;

/**
 * Parses the header of one GGUF file (of one part, where a model is split).
 * @throws ArtifactError naming the file, the field and what was expected.
 */
export async function readGguf(source: ByteSource): Promise<GgufFile> {
  const headerBytes = await measureGgufHeader(source);
  const cursor = new Cursor(source.name, await source.read(0, headerBytes));
  cursor.position = 4;
  const version = cursor.u32();
  const tensorCount = cursor.u64();
  const keyCount = cursor.u64();

  const { metadata, types } = readMetadata(cursor, keyCount);
  const alignment = alignmentOf(source, metadata);
  const dataOffset = alignUp(headerBytes, alignment);
  const tensors: Tensor[] = [];
  const names = new Set<string>();
  for (let i = 0; i < tensorCount; i++) {
    const tensor = readTensor(cursor, source, dataOffset, alignment);
    if (names.has(tensor.name)) throw new ArtifactError(`${source.name}: tensor ${quote(tensor.name)} occurs twice`);
    names.add(tensor.name);
    tensors.push(tensor);
  }
  checkOverlap(source, tensors);
  return { source, version, metadata, types, tensors, headerBytes, dataOffset };
}

function readMetadata(cursor: Cursor, count: number): { metadata: MetaObject; types: Map<string, GgufType> } {
  const metadata: Record<string, MetaValue> = Object.create(null);
  const types = new Map<string, GgufType>();
  for (let i = 0; i < count; i++) {
    const key = cursor.name(`metadata key ${i}`);
    if (types.has(key)) throw new ArtifactError(`${cursor.file}: metadata key ${quote(key)} occurs twice`);
    const id = cursor.u32();
    if (id === GGUF_ARRAY) {
      const scalar = scalarOf(cursor, cursor.u32());
      const length = cursor.u64();
      types.set(key, `${scalar}[]`);
      metadata[key] = readArray(cursor, scalar, length, key);
    } else {
      const scalar = scalarOf(cursor, id);
      types.set(key, scalar);
      metadata[key] = readScalar(cursor, scalar, key);
    }
  }
  return { metadata, types };
}

function scalarOf(cursor: Cursor, id: number): GgufScalar {
  const scalar = scalarOfId(id);
  if (scalar === undefined) throw new ArtifactError(`${cursor.file}: unknown value type ${id}`);
  return scalar;
}

function readScalar(cursor: Cursor, scalar: GgufScalar, key: string): MetaValue {
  const { view } = cursor;
  switch (scalar) {
    case "u8":
      return view.getUint8(cursor.take(1));
    case "i8":
      return view.getInt8(cursor.take(1));
    case "u16":
      return view.getUint16(cursor.take(2), true);
    case "i16":
      return view.getInt16(cursor.take(2), true);
    case "u32":
      return view.getUint32(cursor.take(4), true);
    case "i32":
      return view.getInt32(cursor.take(4), true);
    case "f32":
      return view.getFloat32(cursor.take(4), true);
    case "f64":
      return view.getFloat64(cursor.take(8), true);
    case "u64":
      return narrow(view.getBigUint64(cursor.take(8), true));
    case "i64":
      return narrow(view.getBigInt64(cursor.take(8), true));
    case "string":
      return cursor.string();
    case "bool":
      return readBoolean(cursor, key);
    default:
      return scalar satisfies never;
  }
}

function readBoolean(cursor: Cursor, key: string): boolean {
  const byte = cursor.view.getUint8(cursor.take(1));
  if (byte > 1) throw new ArtifactError(`${cursor.file}: ${quote(key)} holds the byte ${byte} as a boolean`);
  return byte === 1;
}

const narrow = (value: bigint): number | bigint =>
  value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;

function readArray(cursor: Cursor, scalar: GgufScalar, length: number, key: string): MetaArray | readonly MetaValue[] {
  switch (scalar) {
    case "u8":
      return new Uint8Array(cursor.copy(length));
    case "i8":
      return new Int8Array(cursor.copy(length));
    case "u16":
      return new Uint16Array(cursor.copy(length * 2));
    case "i16":
      return new Int16Array(cursor.copy(length * 2));
    case "u32":
      return new Uint32Array(cursor.copy(length * 4));
    case "i32":
      return new Int32Array(cursor.copy(length * 4));
    case "f32":
      return new Float32Array(cursor.copy(length * 4));
    case "f64":
      return new Float64Array(cursor.copy(length * 8));
    case "u64":
      return narrowArray(cursor, length, key, (at) => cursor.view.getBigUint64(at, true));
    case "i64":
      return narrowArray(cursor, length, key, (at) => cursor.view.getBigInt64(at, true));
    case "string":
      return list(length, () => cursor.string());
    case "bool":
      return list(length, () => readBoolean(cursor, key));
    default:
      return scalar satisfies never;
  }
}

function list<T>(length: number, next: (index: number) => T): T[] {
  return Array.from({ length }, (_, index) => next(index));
}

/** 64-bit integers as doubles where all of them are exact, else as they are. */
function narrowArray(
  cursor: Cursor,
  length: number,
  key: string,
  get: (at: number) => bigint,
): MetaArray | readonly MetaValue[] {
  const start = cursor.take(8 * length);
  const numbers = new Float64Array(length);
  for (let i = 0; i < length; i++) {
    const value = narrow(get(start + 8 * i));
    if (typeof value === "bigint") {
      if (length > MAX_BIGINTS)
        throw new ArtifactError(`${cursor.file}: ${quote(key)} holds ${length} integers, some beyond 2^53`);
      return list(length, (j) => narrow(get(start + 8 * j)));
    }
    numbers[i] = value;
  }
  return numbers;
}

function alignmentOf(source: ByteSource, metadata: MetaObject): number {
  const alignment = metadata["general.alignment"] ?? DEFAULT_ALIGNMENT;
  if (
    typeof alignment === "number" &&
    alignment >= 1 &&
    alignment <= MAX_ALIGNMENT &&
    Number.isInteger(Math.log2(alignment))
  ) {
    return alignment;
  }
  throw new ArtifactError(
    `${source.name}: general.alignment is ${typeof alignment === "object" ? "a list" : String(alignment)}, expected a power of two up to ${MAX_ALIGNMENT}`,
  );
}

function readTensor(cursor: Cursor, source: ByteSource, dataOffset: number, alignment: number): Tensor {
  const name = cursor.name("a tensor's name");
  const what = `${source.name}: tensor ${quote(name)}`;
  const dimensions = cursor.u32();
  const shape: number[] = [];
  let elements = 1;
  for (let i = 0; i < dimensions; i++) {
    const size = cursor.u64();
    if (size < 1 || !Number.isSafeInteger(size)) throw new ArtifactError(`${what} has a dimension of ${size}`);
    shape.unshift(size);
    elements *= size;
  }
  if (!Number.isSafeInteger(elements))
    throw new ArtifactError(`${what} has the impossible shape [${shape.join(", ")}]`);

  const dtype = dtypeOf(cursor.u32(), what);
  const { blockSize, blockBytes } = DTYPES[dtype];
  const row = shape.at(-1) ?? 0;
  if (row % blockSize !== 0) {
    throw new ArtifactError(`${what} has rows of ${row} weights, no multiple of ${dtype}'s block of ${blockSize}`);
  }
  const byteLength = (elements / blockSize) * blockBytes;
  const relative = cursor.u64();
  const end = dataOffset + relative + byteLength;
  if (end > source.size) {
    throw new ArtifactError(`${what} ends at byte ${end}, the file has ${source.size} (is it complete?)`);
  }
  if (relative % alignment !== 0) {
    throw new ArtifactError(`${what} begins at ${relative}, no multiple of the alignment ${alignment}`);
  }
  return { name, dtype, shape, source, offset: dataOffset + relative, byteLength };
}

/** Types that GGUF has an id for and Millrace doesn't read, to name them. */
const foreign: Readonly<Record<number, string>> = {
  4: "Q4_2, removed from the format",
  5: "Q4_3, removed from the format",
  9: "Q8_1, an activation format",
  15: "Q8_K, an activation format",
  24: "I8",
  25: "I16",
  26: "I32",
  27: "I64",
  28: "F64",
  31: "Q4_0_4_4, removed from the format",
  32: "Q4_0_4_8, removed from the format",
  33: "Q4_0_8_8, removed from the format",
  36: "IQ4_NL_4_4, removed from the format",
  37: "IQ4_NL_4_8, removed from the format",
  38: "IQ4_NL_8_8, removed from the format",
};

function dtypeOf(id: number, what: string): DType {
  for (const dtype of Object.keys(DTYPES) as DType[]) {
    if (DTYPES[dtype].ggml === id) return dtype;
  }
  throw new ArtifactError(`${what} has type ${id} (${foreign[id] ?? "unknown"}), which Millrace doesn't read`);
}

function checkOverlap(source: ByteSource, tensors: readonly Tensor[]): void {
  const sorted = tensors.toSorted((a, b) => a.offset - b.offset);
  for (const [i, tensor] of sorted.entries()) {
    const before = sorted[i - 1];
    if (before === undefined || before.offset + before.byteLength <= tensor.offset) continue;
    throw new ArtifactError(`${source.name}: tensors ${quote(before.name)} and ${quote(tensor.name)} overlap`);
  }
}

/** A name for a message: quoted, and cut where it is long. */
function quote(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name);
}

/** The header in memory; the first pass has seen that every value lies inside. */
class Cursor {
  readonly file: string;
  readonly view: DataView;
  position = 0;
  readonly #bytes: Uint8Array;
  readonly #decoder = new Utf8Decoder();

  constructor(file: string, bytes: Uint8Array) {
    this.file = file;
    this.#bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Moves on by so many bytes and returns where they begin. */
  take(bytes: number): number {
    const start = this.position;
    this.position += bytes;
    if (this.position > this.view.byteLength) throw new ArtifactError(`${this.file}: changed while it was read`);
    return start;
  }

  u32(): number {
    return this.view.getUint32(this.take(4), true);
  }

  /** As a number, inexact beyond 2^53: all counts and places there are refused anyway. */
  u64(): number {
    const at = this.take(8);
    return this.view.getUint32(at, true) + this.view.getUint32(at + 4, true) * 2 ** 32;
  }

  copy(bytes: number): ArrayBuffer {
    const start = this.take(bytes);
    return this.#bytes.slice(start, start + bytes).buffer;
  }

  /** Tokens of some vocabularies are no valid UTF-8; U+FFFD stands for what isn't. */
  string(): string {
    const length = this.u64();
    const start = this.take(length);
    return this.#decoder.decode(this.#bytes, start, start + length);
  }

  name(what: string): string {
    const length = this.u64();
    if (length < 1 || length > MAX_NAME_BYTES) {
      throw new ArtifactError(`${this.file}: ${what} has ${length} bytes, expected 1 to ${MAX_NAME_BYTES}`);
    }
    const start = this.take(length);
    try {
      return this.#decoder.decodeStrict(this.#bytes, start, start + length);
    } catch (cause) {
      throw new ArtifactError(`${this.file}: ${what} is no valid UTF-8`, { cause });
    }
  }
}
