/**
 * The safetensors file format: an 8-byte length, a JSON header that names each tensor's type, shape and place, then the
 * data, without holes. Tensors stay in the file. `hf-artifact.ts` makes a model of one or several such files.
 * Format: https://huggingface.co/docs/safetensors
 */
import { ArtifactError } from "../errors.ts";
import type { ByteSource, Tensor } from "./artifact.ts";
import { DTYPES, type DType } from "./dtype.ts";
import { JsonScanner } from "./json-scanner.ts";

const MAX_HEADER_BYTES = 100_000_000;
const MAX_TENSORS = 32_768;
const MAX_DIMENSIONS = 8;
const MAX_METADATA_KEYS = 16_384;

export interface SafetensorsFile {
  readonly source: ByteSource;
  readonly tensors: readonly Tensor[];
  /** Tensors of types that hold no weights by themselves (integers, booleans, 8-bit floats): quantized/ reads some. */
  readonly raw: readonly RawTensor[];
  /** The free-form strings under `__metadata__`. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly headerBytes: number;
}

export interface RawTensor {
  readonly name: string;
  /** As the file calls it: "I32", "U8", "F8_E4M3". */
  readonly type: string;
  readonly shape: readonly number[];
  readonly source: ByteSource;
  readonly offset: number;
  readonly byteLength: number;
}

/** Bytes of a value of these types. */
const rawTypes: Readonly<Record<string, number>> = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  U16: 2,
  I16: 2,
  U32: 4,
  I32: 4,
  U64: 8,
  I64: 8,
  F8_E4M3: 1,
  F8_E5M2: 1,
  F8_E8M0: 1,
};

interface Entry {
  readonly name: string;
  readonly type: string;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/**
 * Parses the header of one safetensors file.
 * @throws ArtifactError naming the file, the tensor and what was expected.
 */
export async function readSafetensors(source: ByteSource): Promise<SafetensorsFile> {
  const { name, size } = source;
  if (size < 8) throw new ArtifactError(`${name}: truncated: ${size} bytes, expected the 8 of the header's length`);
  const prefix = await source.read(0, 8);
  const length = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) {
    throw new ArtifactError(
      `${name}: a header of ${length} bytes, expected ${MAX_HEADER_BYTES} at most (is it safetensors?)`,
    );
  }
  const headerBytes = 8 + Number(length);
  if (headerBytes > size)
    throw new ArtifactError(`${name}: truncated: the header ends at ${headerBytes}, the file has ${size}`);

  const header = await source.read(8, Number(length));
  if (header[0] !== 0x7b) throw new ArtifactError(`${name}: the header doesn't begin with "{"`);
  const { entries, metadata } = readHeader(name, header);
  checkLayout(name, entries, size - headerBytes);

  const tensors: Tensor[] = [];
  const raw: RawTensor[] = [];
  for (const entry of entries) {
    const elementBytes = bytesOfType(name, entry);
    const elements = entry.shape.reduce((product, n) => product * n, 1);
    if (elements * elementBytes !== entry.end - entry.begin) {
      throw new ArtifactError(
        `${name}: tensor "${entry.name}" is ${entry.type}[${entry.shape.join(", ")}] but has ${entry.end - entry.begin} bytes`,
      );
    }
    const place = { source, offset: headerBytes + entry.begin, byteLength: entry.end - entry.begin };
    if (Object.hasOwn(rawTypes, entry.type)) {
      raw.push({ name: entry.name, type: entry.type, shape: entry.shape, ...place });
      continue;
    }
    const dtype = entry.type as DType;
    tensors.push({ name: entry.name, dtype, shape: entry.shape, ...place });
  }
  return { source, tensors, raw, metadata, headerBytes };
}

function readHeader(file: string, header: Uint8Array): { entries: Entry[]; metadata: Record<string, string> } {
  const json = new JsonScanner(`${file}: header`, header);
  const entries: Entry[] = [];
  const metadata: Record<string, string> = Object.create(null);
  const names = new Set<string>();
  json.object((name) => {
    if (names.has(name)) throw new ArtifactError(`${file}: "${name.slice(0, 80)}" occurs twice in the header`);
    if (names.size >= MAX_TENSORS) throw new ArtifactError(`${file}: more than ${MAX_TENSORS} tensors in the header`);
    names.add(name);
    if (name === "__metadata__") {
      let keys = 0;
      json.object((key) => {
        if (++keys > MAX_METADATA_KEYS) throw json.error(`at most ${MAX_METADATA_KEYS} metadata keys`);
        metadata[key] = json.string();
      });
    } else {
      entries.push(readEntry(file, json, name));
    }
  });
  json.end();
  return { entries, metadata };
}

function readEntry(file: string, json: JsonScanner, name: string): Entry {
  let type: string | undefined;
  let shape: number[] | undefined;
  let offsets: number[] | undefined;
  const list = (most: number) => {
    const values: number[] = [];
    json.array(() => {
      if (values.length >= most) throw json.error(`at most ${most} numbers`);
      values.push(json.integer());
    });
    return values;
  };
  json.object((key) => {
    if (key === "dtype" && type === undefined) type = json.string();
    else if (key === "shape" && shape === undefined) shape = list(MAX_DIMENSIONS);
    else if (key === "data_offsets" && offsets === undefined) offsets = list(2);
    else throw json.error("dtype, shape and data_offsets, once each");
  });
  const [begin, end] = offsets ?? [];
  if (type === undefined || shape === undefined || begin === undefined || end === undefined || end < begin) {
    throw new ArtifactError(`${file}: tensor "${name.slice(0, 80)}" needs dtype, shape and two ascending data_offsets`);
  }
  return { name, type, shape, begin, end };
}

function bytesOfType(file: string, { name, type }: Entry): number {
  if (type === "F32" || type === "F16" || type === "BF16") return DTYPES[type].blockBytes;
  const bytes = Object.hasOwn(rawTypes, type) ? rawTypes[type] : undefined;
  if (bytes === undefined) {
    throw new ArtifactError(`${file}: tensor "${name}" has type ${type.slice(0, 20)}, which Millrace doesn't read`);
  }
  return bytes;
}

/** The tensors cover the data from its first byte to its last, without holes and overlaps. */
function checkLayout(file: string, entries: readonly Entry[], dataBytes: number): void {
  let end = 0;
  for (const entry of entries.toSorted((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (entry.begin !== end) {
      const fault = entry.begin < end ? "overlaps the tensor before" : "leaves a hole before it";
      throw new ArtifactError(
        `${file}: tensor "${entry.name}" begins at ${entry.begin} and ${fault}, which ends at ${end}`,
      );
    }
    end = entry.end;
  }
  if (end !== dataBytes) {
    throw new ArtifactError(
      `${file}: the tensors end at byte ${end} of the data, the file has ${dataBytes} (is it complete?)`,
    );
  }
}
