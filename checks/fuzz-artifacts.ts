/**
 * Mutates model files and reads them: whatever the bytes, a reader gives a model or an ArtifactError, within a second
 * and within 4 × the header + 16 MiB of memory. `fuzz.ts` runs all of it, `fuzz.test.ts` a small share.
 */
import process from "node:process";
import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { checkRange, memorySource } from "../src/artifact/byte-source.ts";
import type { ByteSource, ModelArtifact, Tensor } from "../src/artifact/artifact.ts";
import { DTYPES, type DType } from "../src/artifact/dtype.ts";
import { ggufArtifact } from "../src/artifact/gguf-artifact.ts";
import type { GgufDescription } from "../src/artifact/gguf-file.ts";
import { readGguf } from "../src/artifact/gguf-reader.ts";
import type { GgufType } from "../src/artifact/gguf-types.ts";
import { ggufBytes, ggufHeader } from "../src/artifact/gguf-writer.ts";
import { hfArtifact, parseShardIndex } from "../src/artifact/hf-artifact.ts";
import { readSafetensors } from "../src/artifact/safetensors.ts";
import { ArtifactError } from "../src/errors.ts";

export const SLOWEST_MS = 1000;
export const MEMORY_FACTOR = 4;
export const MEMORY_SLACK = 16 * 2 ** 20;

export interface FuzzOptions {
  readonly seed: number;
  /** A backend may be given each model that was read; it may refuse with a MillraceError. */
  readonly upload?: (artifact: ModelArtifact) => Promise<void>;
  readonly onProgress?: (done: number) => void;
  /** Whether taking longer than a second is a fault; default true. */
  readonly timed?: boolean;
}

export interface FuzzReport {
  cases: number;
  /** Mutations that are still well formed. */
  accepted: number;
  refused: number;
  slowestMs: number;
  /** The largest share of the memory bound that was used. */
  memoryShare: number;
  /** What should not have happened, with what is needed to see it again. */
  faults: string[];
}

const emptyReport = (): FuzzReport => ({ cases: 0, accepted: 0, refused: 0, slowestMs: 0, memoryShare: 0, faults: [] });

export class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }
  /** 0 ≤ integer < n (mulberry32). */
  below(n: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * n);
  }
  pick<T>(list: readonly T[]): T {
    const item = list[this.below(list.length)];
    if (item === undefined) throw new Error("pick from an empty list");
    return item;
  }
}

type Reader = (source: ByteSource) => Promise<ModelArtifact>;

/** A well-formed file to start from. */
interface Original {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Mutations fall below this offset. */
  readonly headerBytes: number;
  readonly read: Reader;
}

const readGgufModel: Reader = async (source) => ggufArtifact([await readGguf(source)]);
const sideFiles = { "config.json": '{"model_type":"llama"}', "tokenizer.json": "{}" };
const readSafetensorsModel: Reader = async (source) => hfArtifact("fuzz", sideFiles, [await readSafetensors(source)]);

const memory = (bytes: Uint8Array) => memorySource("fuzz", bytes);

/** Another header before the data of a large file, without a copy of them. */
function joined(header: Uint8Array, data: Uint8Array): ByteSource {
  const size = header.length + data.length;
  return {
    name: "fuzz",
    size,
    async read(offset, length) {
      checkRange("fuzz", size, offset, length);
      const bytes = new Uint8Array(length);
      bytes.set(header.subarray(offset, offset + length));
      const first = Math.max(0, offset - header.length);
      if (offset + length > header.length) {
        bytes.set(data.subarray(first, offset + length - header.length), Math.max(0, header.length - offset));
      }
      return bytes;
    },
    close: async () => undefined,
  };
}

export function ggufOriginal(name: string, bytes: Uint8Array, headerBytes: number): Original {
  return { name, bytes, headerBytes, read: readGgufModel };
}

function tensorOf(name: string, dtype: DType, shape: readonly number[]): Tensor {
  const { blockSize, blockBytes } = DTYPES[dtype];
  const byteLength = (shape.reduce((a, b) => a * b, 1) / blockSize) * blockBytes;
  return { name, dtype, shape, source: memorySource(name, new Uint8Array(byteLength).fill(7)), offset: 0, byteLength };
}

/** A small model with every kind of value and weight. */
const smallModel: GgufDescription = {
  metadata: {
    "general.architecture": "llama",
    "general.alignment": 32,
    "llama.block_count": 2,
    "llama.rope.freq_base": 10000,
    "tokenizer.ggml.tokens": ["<s>", "</s>", "Ġthe", "größe", "日本", ""],
    "tokenizer.ggml.scores": Float32Array.of(0, 0, -1, -2, -3, -4),
    "tokenizer.ggml.token_type": Int32Array.of(3, 3, 1, 1, 1, 1),
    "tokenizer.ggml.eos_token_id": 1,
    "tokenizer.ggml.add_bos_token": true,
    "tokenizer.chat_template": "{% for message in messages %}{{ message.content }}{% endfor %}",
    "some.flags": [true, false, true],
    "some.bytes": Uint8Array.of(1, 2, 3),
    "some.large": [1, 2n ** 60n],
    "some.double": 0.1,
    "some.u64": 123456789012345678901n % 2n ** 64n,
    "split.count": 1,
  },
  types: new Map<string, GgufType>([
    ["general.architecture", "string"],
    ["general.alignment", "u32"],
    ["llama.block_count", "u32"],
    ["llama.rope.freq_base", "f32"],
    ["tokenizer.ggml.tokens", "string[]"],
    ["tokenizer.ggml.scores", "f32[]"],
    ["tokenizer.ggml.token_type", "i32[]"],
    ["tokenizer.ggml.eos_token_id", "u32"],
    ["tokenizer.ggml.add_bos_token", "bool"],
    ["tokenizer.chat_template", "string"],
    ["some.flags", "bool[]"],
    ["some.bytes", "u8[]"],
    ["some.large", "u64[]"],
    ["some.double", "f64"],
    ["some.u64", "u64"],
    ["split.count", "u16"],
  ]),
  tensors: (Object.keys(DTYPES) as DType[]).map((dtype, i) =>
    tensorOf(`blk.${i}.${dtype}`, dtype, i % 2 === 0 ? [2, 256] : [256]),
  ),
};

async function smallGguf(): Promise<Original> {
  const chunks = [];
  for await (const chunk of ggufBytes(smallModel)) chunks.push(chunk);
  return ggufOriginal("small GGUF", new Uint8Array(Buffer.concat(chunks)), ggufHeader(smallModel).byteLength);
}

function smallSafetensors(): Original {
  const header: Record<string, unknown> = { __metadata__: { format: "pt", "k\u00e9y": 'a "quoted" \\ value' } };
  let end = 0;
  for (let i = 0; i < 24; i++) {
    const dtype = (["F32", "F16", "BF16", "I64", "BOOL"] as const)[i % 5] ?? "F32";
    const bytes = 6 * { F32: 4, F16: 2, BF16: 2, I64: 8, BOOL: 1 }[dtype];
    header[`model.layers.${i}.weight`] = { dtype, shape: i % 3 === 0 ? [6] : [2, 3], data_offsets: [end, end + bytes] };
    end += bytes;
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const bytes = new Uint8Array(8 + text.length + end);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  return { name: "small safetensors", bytes, headerBytes: 8 + text.length, read: readSafetensorsModel };
}

/** The JSON files beside safetensors: the "file" is config.json, tokenizer.json and the index, one after another. */
function smallJson(): Original {
  const texts = [
    JSON.stringify({ model_type: "llama", eos_token_id: [1, 2], rope_scaling: { factor: 8 } }),
    JSON.stringify({ model: { vocab: { a: 0, b: 1 }, merges: ["a b"] }, added_tokens: [{ id: 1, content: "</s>" }] }),
    JSON.stringify({ chat_template: [{ name: "default", template: "{{ messages }}" }], eos_token: "</s>" }),
    JSON.stringify({ temperature: 0.6, top_k: 20, eos_token_id: [1, 2], do_sample: true }),
    JSON.stringify({ weight_map: { a: "model-00001-of-00002.safetensors", b: "model-00002-of-00002.safetensors" } }),
  ];
  const bytes = new TextEncoder().encode(texts.join("\0"));
  const read: Reader = async (source) => {
    const mutated = await source.read(0, source.size);
    const [config = "", tokenizer = "", tokenizerConfig, generation, index = ""] = new TextDecoder()
      .decode(mutated)
      .split("\0");
    const files = { "config.json": config, "tokenizer.json": tokenizer };
    const optional = { "tokenizer_config.json": tokenizerConfig, "generation_config.json": generation };
    parseShardIndex("fuzz", index);
    return hfArtifact("fuzz", { ...files, ...optional }, []);
  };
  return { name: "JSON files", bytes, headerBytes: bytes.length, read };
}

const interesting = [
  0n,
  1n,
  2n,
  7n,
  31n,
  32n,
  127n,
  128n,
  255n,
  256n,
  0x7fffn,
  0xffffn,
  2n ** 16n,
  2n ** 20n,
  2n ** 31n - 1n,
].concat([
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 32n,
  2n ** 40n,
  2n ** 53n,
  2n ** 61n,
  2n ** 62n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 1n,
]);

/** One to eight random changes below `limit`: bits, bytes, numbers, ranges removed, doubled, moved. */
function mutate(random: Random, original: Uint8Array, limit: number): Uint8Array {
  let bytes = original.slice();
  let end = Math.min(limit, bytes.length);
  const changes = 1 + random.below(random.below(4) === 0 ? 8 : 2);
  for (let i = 0; i < changes && end > 0; i++) {
    const at = random.below(end);
    const length = 1 + random.below(Math.min(64, end - at));
    switch (random.below(7)) {
      case 0:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
        break;
      case 1:
        bytes[at] = random.below(256);
        break;
      case 2:
      case 3:
        writeNumber(bytes, at, random.pick([1, 2, 4, 8]), random.pick(interesting));
        break;
      case 4:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
        end -= length;
        break;
      case 5:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at, at + length), bytes.subarray(at)]);
        end += length;
        break;
      default:
        bytes.copyWithin(at, random.below(end), random.below(end));
    }
  }
  return new Uint8Array(bytes);
}

function writeNumber(bytes: Uint8Array, at: number, width: number, value: bigint): void {
  for (let i = 0; i < width && at + i < bytes.length; i++) bytes[at + i] = Number((value >> BigInt(8 * i)) & 255n);
}

/** Runs one case, and keeps book of what it took. */
class Judge {
  readonly report = emptyReport();
  readonly #upload: FuzzOptions["upload"];
  readonly #timed: boolean;
  readonly #gc = exposeGc();

  constructor(options: FuzzOptions) {
    this.#upload = options.upload;
    this.#timed = options.timed ?? true;
  }

  /** `precise` collects garbage first, so that memory is measured from a clean state. */
  async run(what: string, source: ByteSource, headerBytes: number, read: Reader, precise: boolean): Promise<void> {
    const { report } = this;
    report.cases++;
    if (precise) this.#gc();
    const before = used();
    const started = processorMs();
    let artifact: ModelArtifact | undefined;
    let memoryNow = 0;
    try {
      artifact = await read(source);
      memoryNow = used();
      report.accepted++;
    } catch (error) {
      memoryNow = used();
      report.refused++;
      if (!(error instanceof ArtifactError))
        report.faults.push(`${what}: ${error instanceof Error ? error.stack : String(error)}`);
    }
    let elapsed = processorMs() - started;
    if (this.#timed && elapsed > SLOWEST_MS) {
      // Garbage of earlier cases may have been collected meanwhile; what is slow stays slow.
      const again = processorMs();
      await read(source).catch(() => undefined);
      elapsed = Math.min(elapsed, processorMs() - again);
      if (elapsed > SLOWEST_MS) report.faults.push(`${what}: took ${elapsed.toFixed(0)} ms`);
    }
    report.slowestMs = Math.max(report.slowestMs, elapsed);

    const share = (memoryNow - before) / (MEMORY_FACTOR * headerBytes + MEMORY_SLACK);
    if (share > 1) {
      // Without `precise` this may be garbage of earlier cases' making: measure again.
      if (!precise) {
        report.cases--;
        report[artifact === undefined ? "refused" : "accepted"]--;
        return this.run(what, source, headerBytes, read, true);
      }
      const mebibytes = ((memoryNow - before) / 2 ** 20).toFixed(1);
      report.faults.push(`${what}: took ${mebibytes} MiB for a header of ${headerBytes} bytes`);
    }
    report.memoryShare = Math.max(report.memoryShare, share);
    if (artifact !== undefined) await this.#upload?.(artifact);
  }
}

/** Processor time of this process, which other processes on the machine don't lengthen. */
function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Bytes of JavaScript values and of buffers, garbage included. */
function used(): number {
  const { used_heap_size: heap, external_memory: external } = getHeapStatistics();
  return heap + external;
}

function exposeGc(): () => void {
  setFlagsFromString("--expose-gc");
  const gc: unknown = runInNewContext("gc");
  if (typeof gc !== "function") throw new Error("V8 gives no gc()");
  // Twice: the first frees the owners of buffers, the second sees the buffers gone.
  return () => {
    gc();
    gc();
  };
}

/** How often memory is measured from a clean state. */
const PRECISE_EVERY = 64;

/** Random changes anywhere in the headers of small GGUF, safetensors and JSON files. */
export async function fuzzHeaders(count: number, options: FuzzOptions): Promise<FuzzReport> {
  const random = new Random(options.seed);
  const judge = new Judge(options);
  const originals = [await smallGguf(), smallSafetensors(), smallJson()];
  for (let i = 0; i < count; i++) {
    const { name, bytes, headerBytes, read } = random.pick(originals);
    const mutated = mutate(random, bytes, headerBytes);
    await judge.run(
      `header ${i}, seed ${options.seed} (${name})`,
      memory(mutated),
      mutated.length,
      read,
      i % PRECISE_EVERY === 0,
    );
    options.onProgress?.(i + 1);
  }
  return judge.report;
}

/** Changes in the fields of GGUF's tensor table: names, dimensions, types, offsets. */
export async function fuzzTensorTables(count: number, options: FuzzOptions): Promise<FuzzReport> {
  const random = new Random(options.seed);
  const judge = new Judge(options);
  const { bytes, headerBytes, read } = await smallGguf();
  const fields = tensorFields();
  const offsets = fields
    .filter(({ kind }) => kind === "offset")
    .map(({ at }) => new DataView(bytes.buffer).getBigUint64(at, true));
  for (let i = 0; i < count; i++) {
    const mutated = bytes.slice();
    for (let changes = 1 + random.below(3); changes > 0; changes--) {
      const { at, width, kind } = random.pick(fields);
      const near = BigInt(random.below(5) - 2);
      const old = kind === "offset" ? random.pick(offsets) : BigInt(mutated[at] ?? 0) + near;
      const value = random.below(2) === 0 ? random.pick(interesting) : old + near * 32n;
      writeNumber(mutated, at, width, kind === "type" ? BigInt(random.below(44)) : BigInt.asUintN(64, value));
    }
    await judge.run(`table ${i}, seed ${options.seed}`, memory(mutated), headerBytes, read, i % PRECISE_EVERY === 0);
    options.onProgress?.(i + 1);
  }
  return judge.report;
}

/** Where the numbers of the small model's tensor table lie. */
function tensorFields(): { at: number; width: number; kind: "length" | "rank" | "size" | "type" | "offset" }[] {
  const { metadata, types, tensors } = smallModel;
  // The table's first byte: a header without tensors isn't padded when its alignment is 1.
  const alone = new Map([...types].filter(([key]) => key !== "general.alignment"));
  const bare = ggufHeader({ metadata: { ...metadata, "general.alignment": 1 }, types: alone, tensors: [] });
  const entry = 8 + "general.alignment".length + 4 + 4;
  let at = bare.byteLength + entry;
  const fields: ReturnType<typeof tensorFields> = [];
  for (const { name, shape } of tensors) {
    fields.push({ at, width: 8, kind: "length" }, { at: at + 8 + name.length, width: 4, kind: "rank" });
    at += 8 + name.length + 4;
    for (let i = 0; i < shape.length; i++, at += 8) fields.push({ at, width: 8, kind: "size" });
    fields.push({ at, width: 4, kind: "type" }, { at: at + 4, width: 8, kind: "offset" });
    at += 12;
  }
  return fields;
}

/** Every beginning of the small files (each `step`-th). */
export async function fuzzTruncated(step: number, options: FuzzOptions): Promise<FuzzReport> {
  const judge = new Judge(options);
  for (const { name, bytes, headerBytes, read } of [await smallGguf(), smallSafetensors()]) {
    const whole = [...(await read(memory(bytes))).tensors.values()].reduce(
      (end, t) => Math.max(end, t.offset + t.byteLength),
      0,
    );
    for (let length = 0; length < whole; length += length < headerBytes ? step : step * 16) {
      await judge.run(
        `${name} cut at ${length}`,
        memory(bytes.slice(0, length)),
        headerBytes,
        read,
        length % 1024 === 0,
      );
      options.onProgress?.(judge.report.cases);
    }
  }
  const { accepted, faults } = judge.report;
  if (accepted > 0) faults.push(`${accepted} beginnings of files were taken for the whole`);
  return judge.report;
}

/** Random changes in, and cuts of, files as they are in use: a vocabulary of 50,000 words, hundreds of tensors. */
export async function fuzzLarge(
  count: number,
  originals: readonly Original[],
  options: FuzzOptions,
): Promise<FuzzReport> {
  const random = new Random(options.seed);
  const judge = new Judge(options);
  for (let i = 0; i < count && originals.length > 0; i++) {
    const { name, bytes, headerBytes, read } = random.pick(originals);
    const what = `large ${i}, seed ${options.seed} (${name})`;
    const cut = random.below(8) === 0;
    const header = cut
      ? bytes.subarray(0, random.below(headerBytes))
      : mutate(random, bytes.subarray(0, headerBytes), headerBytes);
    const source = cut ? memory(header) : joined(header, bytes.subarray(headerBytes));
    await judge.run(what, source, headerBytes, read, true);
    options.onProgress?.(i + 1);
  }
  return judge.report;
}

/** Well-formed headers of several MB that are as expensive in memory as the format allows. */
export async function fuzzWorstCases(options: FuzzOptions): Promise<FuzzReport> {
  const judge = new Judge(options);
  const gguf = (
    metadata: GgufDescription["metadata"],
    types: readonly [string, GgufType][],
    tensors: readonly Tensor[] = [],
  ) =>
    ggufHeader({
      metadata: { "general.architecture": "llama", ...metadata },
      types: new Map([["general.architecture", "string"], ...types]),
      tensors,
    });
  const many = <T>(length: number, make: (i: number) => T): T[] => Array.from({ length }, (_, i) => make(i));
  const keys = many(16_000, (i) => `k${i.toString(36)}`);
  const cases: [string, () => Uint8Array, Reader][] = [
    ["empty strings", () => gguf({ s: many(2 ** 20, () => "") }, [["s", "string[]"]]), readGgufModel],
    ["strings of one letter", () => gguf({ s: many(2 ** 20, () => "x") }, [["s", "string[]"]]), readGgufModel],
    ["strings of two letters", () => gguf({ s: many(2 ** 20, () => "xy") }, [["s", "string[]"]]), readGgufModel],
    ["strings beyond Latin-1", () => gguf({ s: many(2 ** 20, (i) => `Ġ${i}`) }, [["s", "string[]"]]), readGgufModel],
    ["booleans", () => gguf({ s: many(2 ** 20, () => true) }, [["s", "bool[]"]]), readGgufModel],
    ["large integers", () => gguf({ s: many(2 ** 17, () => 2n ** 63n) }, [["s", "u64[]"]]), readGgufModel],
    [
      "many keys",
      () =>
        gguf(
          Object.fromEntries(keys.map((key) => [key, 1])),
          keys.map((key) => [key, "u8"]),
        ),
      readGgufModel,
    ],
    [
      "many empty arrays",
      () =>
        gguf(
          Object.fromEntries(keys.map((key) => [key, new Uint8Array(0)])),
          keys.map((key) => [key, "u8[]"]),
        ),
      readGgufModel,
    ],
    [
      "many tensors",
      () => {
        const tensors = many(32_000, (i) => tensorOf(`t${i}`, "F32", [1]));
        const header = gguf({ "general.alignment": 1 }, [["general.alignment", "u32"]], tensors);
        return new Uint8Array(Buffer.concat([header, new Uint8Array(4 * tensors.length)]));
      },
      readGgufModel,
    ],
    ["many tensors in safetensors", () => crowdedSafetensors(32_000, 0), readSafetensorsModel],
    ["many strings in safetensors", () => crowdedSafetensors(0, 16_000), readSafetensorsModel],
  ];
  for (const [name, make, read] of cases) {
    const bytes = make();
    await judge.run(name, memory(bytes), bytes.length, read, true);
    options.onProgress?.(judge.report.cases);
  }
  if (judge.report.refused > 0)
    judge.report.faults.push(`${judge.report.refused} of the well-formed worst cases were refused`);
  return judge.report;
}

function crowdedSafetensors(tensors: number, strings: number): Uint8Array {
  const parts = [];
  if (strings > 0) {
    parts.push(`"__metadata__":{${Array.from({ length: strings }, (_, i) => `"${i.toString(36)}":""`).join(",")}}`);
  }
  for (let i = 0; i < tensors; i++) parts.push(`"${i.toString(36)}":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`);
  const text = new TextEncoder().encode(`{${parts.join(",")}}`);
  const bytes = new Uint8Array(8 + text.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}
