/**
 * The first of the GGUF reader's two passes: walks over the header's structure without keeping anything, through a
 * small window, and says where it ends. It checks every count and length against the file before moving on, so the
 * second pass (`gguf-reader.ts`) may read the header in one piece and allocate by its counts: what a hostile count
 * claims has been seen to be there.
 */
import { ArtifactError } from "../errors.ts";
import type { ByteSource } from "./artifact.ts";
import { GGUF_ARRAY, scalarBytes, scalarOfId } from "./gguf-types.ts";

/** The largest header in use (262,144 tokens with merges) has some 20 MB. */
const MAX_HEADER_BYTES = 128 * 2 ** 20;
const MAX_KEYS = 16_384;
const MAX_TENSORS = 32_768;
const MAX_DIMENSIONS = 4;
/** Such arrays take eight times their bytes as JavaScript values. */
const MAX_BOOLEANS = 2 ** 20;
const WINDOW_BYTES = 256 * 1024;

/** Returns the bytes of header, metadata and tensor table; throws ArtifactError where the structure is broken. */
export async function measureGgufHeader(source: ByteSource): Promise<number> {
  const window = new Window(source);
  await checkMagic(source, window);
  await window.need(16, "the header");
  const tensors = count(source, window.u64(), MAX_TENSORS, "tensors");
  const keys = count(source, window.u64(), MAX_KEYS, "metadata keys");

  for (let i = 0; i < keys; i++) {
    const what = `metadata key ${i} of ${keys}`;
    await skipString(window, what);
    await window.need(4, what);
    await skipValue(source, window, window.u32(), what);
  }
  for (let i = 0; i < tensors; i++) {
    const what = `tensor ${i} of ${tensors}`;
    await skipString(window, what);
    await window.need(4, what);
    const dimensions = window.u32();
    if (dimensions < 1 || dimensions > MAX_DIMENSIONS) {
      throw new ArtifactError(`${source.name}: ${what} has ${dimensions} dimensions, expected 1 to ${MAX_DIMENSIONS}`);
    }
    window.skip(8 * dimensions + 4 + 8, what);
  }
  return window.position;
}

async function checkMagic(source: ByteSource, window: Window): Promise<void> {
  await window.need(8, "the header");
  const magic = window.u32();
  const version = window.u32();
  const text = String.fromCharCode(magic & 255, (magic >> 8) & 255, (magic >> 16) & 255, magic >>> 24);
  if (text !== "GGUF") {
    const old = ["lmgg", "tjgg", "fmgg", "algg"].includes(text)
      ? ": an older ggml format; convert the model to GGUF"
      : "";
    throw new ArtifactError(`${source.name}: not a GGUF file (it begins with ${JSON.stringify(text)})${old}`);
  }
  if (version === 2 || version === 3) return;
  if (version !== 0 && (version & 0xffff) === 0) {
    throw new ArtifactError(`${source.name}: a big-endian GGUF file; Millrace reads little-endian ones`);
  }
  throw new ArtifactError(`${source.name}: GGUF version ${version}, expected 2 or 3`);
}

function count(source: ByteSource, value: number, most: number, what: string): number {
  if (value <= most) return value;
  throw new ArtifactError(`${source.name}: the header claims ${value} ${what}, more than ${most}`);
}

async function skipString(window: Window, what: string): Promise<void> {
  if (!window.has(8)) await window.need(8, what);
  window.skip(window.u64(), what);
}

async function skipValue(source: ByteSource, window: Window, id: number, what: string): Promise<void> {
  if (id === GGUF_ARRAY) {
    await window.need(12, what);
    const element = window.u32();
    const length = window.u64();
    if (element === GGUF_ARRAY) throw new ArtifactError(`${source.name}: ${what} is an array of arrays`);
    const scalar = scalarType(source, element, what);
    if (scalar === "string") {
      window.expect(8 * length, `the ${length} strings of ${what}`);
      for (let i = 0; i < length; i++) {
        // Nearly always without waiting: a promise for each of 100,000 strings is what this pass would cost.
        if (window.has(8)) window.skip(window.u64(), what);
        else await skipString(window, what);
      }
      return;
    }
    if (scalar === "bool") count(source, length, MAX_BOOLEANS, `booleans in ${what}`);
    window.skip(length * scalarBytes(scalar), `the ${length} values of ${what}`);
    return;
  }
  const scalar = scalarType(source, id, what);
  if (scalar === "string") return skipString(window, what);
  window.skip(scalarBytes(scalar), what);
}

function scalarType(source: ByteSource, id: number, what: string) {
  const scalar = scalarOfId(id);
  if (scalar === undefined) throw new ArtifactError(`${source.name}: ${what} has the unknown value type ${id}`);
  return scalar;
}

/** A part of the file in memory, and a position that only moves forwards. */
class Window {
  /** In the file. */
  position = 0;
  readonly #source: ByteSource;
  readonly #limit: number;
  #view: DataView = new DataView(new ArrayBuffer(0));
  #start = 0;

  constructor(source: ByteSource) {
    this.#source = source;
    this.#limit = Math.min(source.size, MAX_HEADER_BYTES);
  }

  /** Whether the next bytes are in memory. */
  has(bytes: number): boolean {
    return this.position + bytes <= this.#start + this.#view.byteLength;
  }

  /** Brings the next bytes into memory; `what` they belong to is named where the file ends before. */
  async need(bytes: number, what: string): Promise<void> {
    if (this.has(bytes)) return;
    this.expect(bytes, what);
    const length = Math.min(WINDOW_BYTES, this.#source.size - this.position);
    const chunk = await this.#source.read(this.position, length);
    this.#view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    this.#start = this.position;
  }

  expect(bytes: number, what: string): void {
    if (this.position + bytes <= this.#limit) return;
    const { name, size } = this.#source;
    throw new ArtifactError(
      this.position + bytes > size
        ? `${name}: truncated or damaged: ${what} needs ${bytes} bytes at ${this.position}, the file has ${size}`
        : `${name}: damaged: ${what} ends beyond ${MAX_HEADER_BYTES} bytes, more than any header has`,
    );
  }

  skip(bytes: number, what: string): void {
    this.expect(bytes, what);
    this.position += bytes;
  }

  u32(): number {
    const value = this.#view.getUint32(this.position - this.#start, true);
    this.position += 4;
    return value;
  }

  /** Beyond 2^53 inexact, which no check here minds. */
  u64(): number {
    const low = this.u32();
    return low + this.u32() * 2 ** 32;
  }
}
