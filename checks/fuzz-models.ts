/**
 * Mutates whole small models and lets them answer: whatever a file says, it gives tokens or a MillraceError that names
 * what is wrong, soon and in little memory, and a model that is loaded beside it answers as before. What a reader
 * alone does with its bytes is fuzz-artifacts.ts's subject.
 */
import process from "node:process";
import type { MetaObject, MetaValue, ModelArtifact } from "../src/artifact/artifact.ts";
import { memorySource } from "../src/artifact/byte-source.ts";
import type { DType } from "../src/artifact/dtype.ts";
import { ggufArtifact } from "../src/artifact/gguf-artifact.ts";
import { readGguf } from "../src/artifact/gguf-reader.ts";
import type { GgufType } from "../src/artifact/gguf-types.ts";
import { ggufHeader } from "../src/artifact/gguf-writer.ts";
import { hfArtifact } from "../src/artifact/hf-artifact.ts";
import { readSafetensors } from "../src/artifact/safetensors.ts";
import type { Backend } from "../src/backend/contract.ts";
import { createCpuBackend } from "../src/backend/cpu/backend.ts";
import { assemble } from "../src/engine/assemble.ts";
import { borrowed } from "../test/support/backends.ts";
import type { Llm } from "../src/engine/llm.ts";
import { MillraceError } from "../src/errors.ts";
import { Random } from "./fuzz-artifacts.ts";
import { parityFamilies, parityFiles } from "../test/support/parity.ts";
import { TINY_FAMILIES, tinyModel, type TinySize } from "../test/support/tiny-models.ts";

/** Processor time of a whole case, from the bytes to the last token, on all threads. */
const SLOWEST_MS = 2000;
const MOST_BYTES = 512 * 2 ** 20;
/** A native error is none of them: what reaches native code has been checked. */
const EXPECTED: ReadonlySet<string> = new Set([
  "ERR_ARTIFACT",
  "ERR_UNSUPPORTED",
  "ERR_MEMORY",
  "ERR_REQUEST",
  "ERR_MODEL",
]);
/** A request that has not ended by then waits for something that nobody gives back. */
const STUCK_MS = 60_000;
const CONTEXT = 48;

export interface ModelFuzzOptions {
  readonly seed: number;
  /** Only this case, to see it again. */
  readonly only?: number | undefined;
  readonly onProgress?: (done: number) => void;
  /** Whether taking longer than two seconds is a fault; default true. */
  readonly timed?: boolean;
}

export interface ModelFuzzReport {
  cases: number;
  /** Models that answered. */
  answered: number;
  /** How many models each kind of error refused, at whatever stage. */
  readonly errors: Map<string, number>;
  slowestMs: number;
  /** What should not have happened, with what is needed to see it again. */
  readonly faults: string[];
}

/** A model to mutate: opened, it gives an artifact or an ArtifactError. */
interface Mutant {
  readonly what: string;
  open(): Promise<ModelArtifact>;
}

export async function fuzzModels(count: number, options: ModelFuzzOptions): Promise<ModelFuzzReport> {
  const report: ModelFuzzReport = { cases: 0, answered: 0, errors: new Map(), slowestMs: 0, faults: [] };
  const backend = await createCpuBackend({ threads: 2 });
  const shared = borrowed(backend);
  const bystander = await assemble(
    tinyModel("qwen2", "Q8_0", 5, { width: 64, heads: 2, kvHeads: 1, hidden: 96 }),
    shared,
    {
      context: 64,
    },
  );
  const ask = async (): Promise<string> => {
    const { tokens } = await bystander.generate("Tell me", { maxTokens: 8, temperature: 1, seed: 3 });
    return tokens.join(" ");
  };
  const expected = await ask();
  const first = options.only ?? 0;
  for (let i = first; i < (options.only === undefined ? count : first + 1); i++) {
    const random = new Random(Math.imul(options.seed, 0x9e3779b1) ^ Math.imul(i + 1, 0x85ebca6b));
    const mutant = await makeMutant(random);
    const what = `model ${i}, seed ${options.seed} (${mutant.what})`;
    report.cases++;
    const beside = i % 4 === 0 ? ask() : undefined;
    const started = process.cpuUsage();
    try {
      await answer(mutant, shared, random);
      report.answered++;
    } catch (error) {
      if (error instanceof MillraceError && EXPECTED.has(error.code))
        report.errors.set(error.name, (report.errors.get(error.name) ?? 0) + 1);
      else report.faults.push(`${what}: ${error instanceof Error ? error.stack : String(error)}`);
    }
    const { user, system } = process.cpuUsage(started);
    const elapsed = (user + system) / 1000;
    report.slowestMs = Math.max(report.slowestMs, elapsed);
    if (options.timed !== false && elapsed > SLOWEST_MS) report.faults.push(`${what}: took ${elapsed.toFixed(0)} ms`);
    if (beside !== undefined && (await beside) !== expected)
      report.faults.push(`${what}: the model beside it answered something else`);
    options.onProgress?.(report.cases);
  }
  if ((await ask()) !== expected) report.faults.push("afterwards the intact model answered something else");
  await bystander.close();
  await backend.close();
  return report;
}

/** Everything that a program does with a model. Throws what it throws, and Error where an answer is impossible. */
async function answer(mutant: Mutant, backend: Backend, random: Random): Promise<void> {
  const before = heldBytes();
  const artifact = await mutant.open();
  const llm = await assemble(artifact, backend, {
    // Mostly short, so that everything happens; else what the model says.
    context: random.below(4) === 0 ? undefined : CONTEXT,
    stepTokens: random.pick([1, 5, 16, 512]),
    maxSequences: 4,
    kv: random.pick(["f16", "f32", "q8"]),
  });
  try {
    const { vocabSize, weightBytes, kvBytes } = llm.info;
    const ids = Array.from({ length: Math.min(20, llm.info.context) }, () => random.below(vocabSize));
    const held = heldBytes() - before + weightBytes + kvBytes;
    if (llm.info.context <= CONTEXT && held > MOST_BYTES) throw new Error(`took ${(held / 2 ** 20).toFixed(0)} MiB`);

    await useText(llm);
    for (const row of await soon(llm.logits(ids)))
      if (row.length !== vocabSize) throw new Error(`a row has ${row.length} logits of ${vocabSize}`);
    const prompt = ids.slice(0, Math.max(1, Math.floor(llm.info.context / 8)));
    // The model's own defaults, then everything that sampling can.
    checkIds(llm, (await soon(llm.generate(prompt, { maxTokens: 3, seed: 1, logprobs: 20 }))).tokens);
    const sampling = {
      temperature: random.pick([0, 0.01, 1, 50]),
      topK: random.pick([0, 1, 7]),
      topP: random.pick([1, 0.5, 0]),
      minP: random.pick([0, 0.05, 1]),
      repetitionPenalty: random.pick([1, 2]),
      presencePenalty: 0.5,
      minTokens: random.below(3),
      seed: random.below(1000),
    };
    // Of full length: admitted only when every block has been given back.
    const n = llm.info.context <= CONTEXT ? 4 : 1;
    const maxTokens = n === 4 ? CONTEXT : 4;
    for (const { tokens } of (await soon(llm.generate(prompt, { ...sampling, n, maxTokens }))).choices)
      checkIds(llm, tokens);
    const stop = new AbortController();
    const aborted = llm.generate(prompt, { ...sampling, maxTokens: 8, signal: stop.signal });
    stop.abort();
    await aborted.then(undefined, () => undefined);
    if (n === 4) await soon(llm.generate(prompt, { n, temperature: 0, maxTokens }));
  } finally {
    await llm.close();
  }
}

/** Texts may have ids that the model lacks, no ids, or a template that fails: errors of the request, not of the model. */
async function useText(llm: Llm): Promise<void> {
  const text = 'Grüße, the quick <|im_end|> 日本 fox 123\n\n  <5>"' + "a".repeat(100);
  const ids = llm.tokenize(text);
  llm.tokenizer.decode(ids, { skipSpecial: false });
  const wants = [
    () => llm.generate("the", { maxTokens: 2, seed: 1 }),
    () => llm.chat([{ role: "user", content: "Hi" }], { maxTokens: 2, seed: 1 }),
    () => llm.perplexity(text, { window: Math.min(8, llm.info.context) }),
  ];
  for (const want of wants) {
    try {
      await soon<unknown>(want());
    } catch (error) {
      if (!(error instanceof MillraceError) || !EXPECTED.has(error.code)) throw error;
    }
  }
}

function checkIds(llm: Llm, ids: readonly number[]): void {
  const { vocabSize } = llm.info;
  const bad = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
  if (bad !== undefined) throw new Error(`${bad} came out of a vocabulary of ${vocabSize}`);
}

async function soon<T>(answer: PromiseLike<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const stuck = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("a request waits for ever")), STUCK_MS);
  });
  try {
    return await Promise.race([answer, stuck]);
  } finally {
    clearTimeout(timer);
  }
}

/** Bytes of JavaScript values and buffers. */
function heldBytes(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function makeMutant(random: Random): Promise<Mutant> {
  return random.below(3) === 0 ? hfMutant(random) : ggufMutant(random);
}

// GGUF: tiny models of every family, format and strange but fitting size.

function ggufMutant(random: Random): Promise<Mutant> | Mutant {
  const family = random.pick(TINY_FAMILIES);
  const dtype = random.pick<DType>(["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q8_0", "Q4_K", "Q6_K", "Q5_1", "Q3_K"]);
  const size = tinySize(random, dtype);
  const model = tinyModel(family, dtype, random.below(1000), size);
  const metadata: Record<string, MetaValue | undefined> = {
    ...model.metadata,
    "tokenizer.chat_template": "{{ messages[0].content }}",
    "general.sampling.temp": 0.7,
  };
  const types = new Map<string, GgufType>();
  for (const [key, value] of Object.entries(metadata)) types.set(key, typeOf(value));
  let tensors = [...model.tensors.values()];
  const done: string[] = [];

  // None: the size alone is strange.
  for (let changes = random.below(4); changes > 0; changes--) {
    const kind = random.below(8);
    if (kind < 5) {
      const key = random.pick([...types.keys()]);
      done.push(`${key} ${changeEntry(random, metadata, types, key)}`);
    } else if (kind === 5) {
      const [from, to] = [random.below(tensors.length), random.below(tensors.length)];
      const [a, b] = [tensors[from], tensors[to]];
      if (a === undefined || b === undefined) continue;
      done.push(`${a.name} as ${b.name}`);
      if (random.below(2) === 0) tensors = tensors.filter((tensor) => tensor !== b);
      else tensors = tensors.map((tensor) => (tensor === b ? { ...a, name: b.name } : tensor));
    } else {
      // The same bytes, seen as another shape.
      const at = random.below(tensors.length);
      tensors = tensors.map((tensor, i) => {
        if (i !== at) return tensor;
        done.push(`the shape of ${tensor.name}`);
        const shape = random.pick([
          tensor.shape.toReversed(),
          [tensor.shape.reduce((product, n) => product * n, 1)],
          [1, ...tensor.shape],
          [...tensor.shape, 1],
        ]);
        return { ...tensor, shape };
      });
    }
  }
  return {
    what: `${model.name} ${JSON.stringify(size)}: ${done.join("; ")}`,
    async open() {
      const parts = [ggufHeader({ metadata, types, tensors })];
      const headerBytes = parts[0]?.length ?? 0;
      for (const tensor of tensors) {
        parts.push(await tensor.source.read(tensor.offset, tensor.byteLength));
        parts.push(new Uint8Array((32 - (tensor.byteLength % 32)) % 32));
      }
      const bytes = damage(random, new Uint8Array(Buffer.concat(parts)), headerBytes);
      return ggufArtifact([await readGguf(memorySource("fuzz", bytes))]);
    },
  };
}

/** Sizes that fit each other, and the block size of the format. */
function tinySize(random: Random, dtype: DType): Partial<TinySize> {
  const block = dtype.endsWith("_K") ? 256 : dtype.startsWith("Q") ? 32 : 1;
  const columns = (choices: readonly number[]): number => (block === 1 ? random.pick(choices) : block);
  const heads = random.pick([1, 2, 4]);
  const width = columns([1, 2, 6, 16, 24, 40, 64]);
  // Heads together are the columns of a matrix too.
  const headDim = block === 1 ? random.pick([2, 4, 6, 8, 16, 20, 64]) : block === 32 ? 32 : 256 / heads;
  const experts = random.pick([1, 2, 5]);
  return {
    layers: random.pick([1, 2, 3]),
    width,
    heads,
    kvHeads: random.pick([1, heads]),
    headDim,
    hidden: columns([1, 5, 16, 48]),
    experts,
    expertsUsed: 1 + random.below(experts),
    expertHidden: columns([1, 3, 16, 32]),
    vocab: random.pick([1, 2, 17, 100, 256, 300]),
    context: random.pick([2, 3, 16, 17, 100]),
    window: random.pick([1, 2, 15, 16, 17, 1000]),
  };
}

export function typeOf(value: MetaValue | undefined): GgufType {
  if (value instanceof Int32Array) return "i32[]";
  if (value instanceof Float32Array) return "f32[]";
  if (Array.isArray(value)) return "string[]";
  if (typeof value === "number") return Number.isInteger(value) ? "u32" : "f32";
  return typeof value === "boolean" ? "bool" : "string";
}

const NUMBERS = [
  0,
  1,
  2,
  3,
  5,
  7,
  8,
  15,
  16,
  17,
  31,
  32,
  63,
  64,
  100,
  255,
  256,
  257,
  1000,
  4096,
  65_535,
  65_536,
  1e6,
  2 ** 24 + 1,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 53 - 1,
  2 ** 53,
  -1,
  -2,
  -255,
  -(2 ** 31),
  0.5,
  -0.5,
  1.5,
  1e-45,
  1e-30,
  1e-9,
  1e9,
  1e20,
  1e38,
  1e300,
  Number.MIN_VALUE,
  Number.MAX_VALUE,
  Infinity,
  -Infinity,
  NaN,
];
const TEXTS = [
  "",
  "x",
  "gpt2",
  "llama",
  "bert",
  "yarn",
  "linear",
  "longrope",
  "none",
  "default",
  "qwen2",
  "{% for",
  "{% for i in range(999999999) %}x{% endfor %}",
  "(a+)+$",
  "(\\p{L}+|a)*b",
  "\\p{L}{1,99999}",
  "\u0000",
  "é".repeat(5000),
];

/** Changes one entry of GGUF metadata; returns what it did. */
function changeEntry(
  random: Random,
  metadata: Record<string, MetaValue | undefined>,
  types: Map<string, GgufType>,
  key: string,
): string {
  const set = (type: GgufType, value: MetaValue): string => {
    metadata[key] = value;
    types.set(key, type);
    return `= ${type} ${typeof value === "object" ? "…" : String(value).slice(0, 40)}`;
  };
  const old = metadata[key];
  const list: MetaValue[] | undefined =
    Array.isArray(old) || ArrayBuffer.isView(old) ? Array.from(old as ArrayLike<MetaValue>) : undefined;
  if (list !== undefined && list.length > 0 && random.below(3) > 0) {
    const at = random.below(list.length);
    const shorter = random.below(3);
    if (shorter === 0) list.length = at;
    else if (shorter === 1) list[at] = list[random.below(list.length)] ?? 0;
    else {
      list[at] =
        typeof list[0] === "string"
          ? random.pick(TEXTS)
          : random.pick([-1, 0, 1, 2, 3, 4, 5, 6, 7, 2 ** 31 - 1, -(2 ** 31)]);
    }
    metadata[key] = list;
    return `[${at}] changed (${["cut", "doubled", "replaced"][shorter]})`;
  }
  switch (random.below(8)) {
    case 0:
      types.delete(key);
      delete metadata[key];
      return "removed";
    case 1:
      return set("string", random.pick(TEXTS));
    case 2:
      return set("bool", random.below(2) === 0);
    case 3:
      return set("u64", random.pick([2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]));
    case 4:
      return set(
        "f64[]",
        Array.from({ length: random.below(4) }, () => random.pick(NUMBERS)),
      );
    case 5:
      return set(
        "string[]",
        Array.from({ length: random.below(600) }, () => random.pick(TEXTS.slice(0, -1))),
      );
    default:
      return set("f64", random.pick(NUMBERS));
  }
}

/** Sometimes: random bytes, halves and floats that are no numbers, in header or weights, and a cut. */
function damage(random: Random, bytes: Uint8Array, headerBytes: number): Uint8Array {
  const end = bytes.length;
  const view = new DataView(bytes.buffer, bytes.byteOffset, end);
  if (random.below(3) === 0 && end > headerBytes) {
    for (let n = 1 + random.below(40); n > 0; n--) {
      const at = headerBytes + random.below(end - headerBytes);
      const length = Math.min(end - at, random.pick([1, 2, 4, 64, 4096]));
      const kind = random.below(4);
      for (let i = 0; i < length; i++) bytes[at + i] = kind === 0 ? 0xff : kind === 1 ? 0 : random.below(256);
      if (kind === 3 && at + 4 <= end) {
        view.setUint32(
          at & ~3,
          random.pick([0x7f800000, 0xff800000, 0x7fc00000, 0x7c007c00, 0x7e00fe00, 1, 0x7f7fffff]),
          true,
        );
      }
    }
  }
  if (random.below(12) === 0) {
    for (let n = 1 + random.below(3); n > 0; n--) bytes[random.below(headerBytes)] = random.below(256);
  }
  return random.below(30) === 0 ? bytes.subarray(0, random.below(end)) : bytes;
}

// Hugging Face: the parity fixtures with a byte-level tokenizer.

function hfMutant(random: Random): Mutant {
  const family = random.pick(parityFamilies());
  const files = parityFiles(family);
  const done: string[] = [];
  const texts = {
    "config.json": JSON.parse(files.config) as MetaObject,
    "tokenizer.json": tokenizerJson(),
    "tokenizer_config.json": {
      bos_token: "<s>",
      eos_token: "</s>",
      add_bos_token: true,
      chat_template: "{{ messages[0].content }}",
    },
    "generation_config.json": { do_sample: true, temperature: 0.8, top_k: 5, eos_token_id: [1, 2] },
  };
  const weights = Buffer.from(files.weights);
  const headerEnd = 8 + Number(weights.readBigUInt64LE(0));
  let header: unknown = JSON.parse(weights.toString("utf8", 8, headerEnd));
  const changed = new Map<string, unknown>(Object.entries(texts));
  for (let changes = 1 + random.below(3); changes > 0; changes--) {
    const file = random.pick([
      "config.json",
      "config.json",
      "tokenizer.json",
      "tokenizer.json",
      "tokenizer_config.json",
      "generation_config.json",
      "header",
    ]);
    const value = file === "header" ? header : changed.get(file);
    const mutated = changeJson(random, value, (path) => done.push(`${file}${path}`));
    if (file === "header") header = mutated;
    else changed.set(file, mutated);
  }
  const text = (file: keyof typeof texts): string => withExtremes(JSON.stringify(changed.get(file)));
  return {
    what: `${family}: ${done.join("; ")}`,
    async open() {
      const head = Buffer.from(withExtremes(JSON.stringify(header)));
      const length = Buffer.alloc(8);
      length.writeBigUInt64LE(BigInt(head.length));
      const bytes = damage(
        random,
        new Uint8Array(Buffer.concat([length, head, weights.subarray(headerEnd)])),
        8 + head.length,
      );
      const file = await readSafetensors(memorySource("fuzz", bytes));
      return hfArtifact(
        "fuzz",
        {
          "config.json": text("config.json"),
          "tokenizer.json": text("tokenizer.json"),
          "tokenizer_config.json": text("tokenizer_config.json"),
          "generation_config.json": text("generation_config.json"),
        },
        [file],
      );
    },
  };
}

/** What JSON.stringify can't write: numbers that are too large, and depth. */
function withExtremes(text: string): string {
  const deep = `${'{"type":"Sequence","normalizers":['.repeat(20_000)}${"]}".repeat(20_000)}`;
  return text.replaceAll('"@+"', "1e999").replaceAll('"@-"', "-1e999").replaceAll('"@deep"', deep);
}

/** A copy with one value somewhere replaced, removed, or put elsewhere. */
function changeJson(random: Random, value: unknown, note: (path: string) => void, path = ""): unknown {
  if (typeof value === "object" && value !== null) {
    const keys = Object.keys(value);
    // Small things on the way are as interesting as large ones below.
    if (keys.length > 0 && (path === "" || random.below(6) > 0)) {
      const key = random.pick(keys);
      const at = `${path}.${key}`;
      if (random.below(8) === 0) {
        note(`${at} removed`);
        if (Array.isArray(value)) return value.filter((_, i) => String(i) !== key);
        return Object.fromEntries(Object.entries(value).filter(([name]) => name !== key));
      }
      const next: unknown = changeJson(random, (value as Record<string, unknown>)[key], note, at);
      if (Array.isArray(value)) return value.map((item: unknown, i) => (String(i) === key ? next : item));
      return { ...value, [key]: next };
    }
  }
  const now = hostileJson(random);
  note(`${path} = ${(JSON.stringify(now) ?? "undefined").slice(0, 60)}`);
  return now;
}

function hostileJson(random: Random): unknown {
  switch (random.below(9)) {
    case 0:
      return random.pick(TEXTS);
    case 1:
      return random.pick([null, true, false]);
    case 2:
      return random.pick<unknown>([[], {}, [[]], [0], [null], { a: 1 }, ["a", "b"]]);
    case 3:
      return random.pick(["@deep", { type: "Sequence", normalizers: ["@deep"], pretokenizers: ["@deep"] }]);
    case 4:
      return random.pick(["@+", "@-"]);
    default: {
      const number = random.pick(NUMBERS);
      return Number.isFinite(number) ? number : 1e308;
    }
  }
}

function tokenizerJson(): Record<string, unknown> {
  const printable = (byte: number): boolean =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let others = 0;
  const vocab: Record<string, number> = { "<s>": 0, "</s>": 1 };
  for (let byte = 0; byte < 256; byte++)
    vocab[String.fromCodePoint(printable(byte) ? byte : 256 + others++)] = 2 + byte;
  vocab["th"] = 258;
  vocab["the"] = 259;
  const special = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  return {
    version: "1.0",
    added_tokens: [
      { id: 0, content: "<s>", ...special },
      { id: 1, content: "</s>", ...special },
    ],
    normalizer: { type: "NFC" },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        {
          type: "Split",
          pattern: { Regex: "\\p{L}+|\\p{N}{1,3}|\\s+(?!\\S)|\\s+|[^\\s\\p{L}\\p{N}]+" },
          behavior: "Isolated",
          invert: false,
        },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      pair: [],
      special_tokens: { "<s>": { id: "<s>", ids: [0], tokens: ["<s>"] } },
    },
    decoder: { type: "ByteLevel" },
    model: { type: "BPE", vocab, merges: ["t h", ["th", "e"]], byte_fallback: false, ignore_merges: false },
  };
}
