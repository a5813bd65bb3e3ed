/**
 * `npm run bench -- shape [--shape=NAME] [--format=Q4_0] [--layers=N] [--threads=1,2] [--isas=A,B] [--rounds=N]`: prefill,
 * decode and a batch of a model in the shape of a known one, of random weights that no file has to hold, by every
 * instruction set and number of threads in one interleaved run. It drives the Program itself: no tokenizer, no engine.
 * Prints medians, and each one's ratio to the first of the instruction sets.
 */
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import type { ModelArtifact, Tensor } from "../src/artifact/artifact.ts";
import { DTYPES, type DType } from "../src/artifact/dtype.ts";
import { cpuIsas, createCpuBackend } from "../src/backend/cpu/backend.ts";
import { ProgramRunner } from "../src/backend/program-runner.ts";
import { GraphBuilder } from "../src/graph/builder.ts";
import type { Graph, Value, WeightRef } from "../src/graph/graph.ts";

interface Shape {
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly hidden: number;
  readonly vocabulary: number;
}

const SHAPES: Readonly<Record<string, Shape>> = {
  "smollm2-135m": { width: 576, layers: 30, heads: 9, kvHeads: 3, headDim: 64, hidden: 1536, vocabulary: 49_152 },
  "llama-1b": { width: 2048, layers: 16, heads: 32, kvHeads: 8, headDim: 64, hidden: 8192, vocabulary: 128_256 },
  "llama-8b": { width: 4096, layers: 32, heads: 32, kvHeads: 8, headDim: 128, hidden: 14_336, vocabulary: 128_256 },
};

const PREFILL = 512;
const DECODE = 32;
const BATCH = 8;

/** Tensors whose bytes are one run of random blocks, again and again. */
class RandomTensors {
  readonly #tensors = new Map<string, Tensor>();
  readonly #patterns = new Map<DType, Uint8Array>();

  weight(name: string, dtype: DType, shape: readonly number[]): WeightRef {
    const { blockSize, blockBytes } = DTYPES[dtype];
    const size = (shape.reduce((product, n) => product * n, 1) / blockSize) * blockBytes;
    const pattern = this.#pattern(dtype);
    const read = async (offset: number, length: number): Promise<Uint8Array> => {
      const out = new Uint8Array(length);
      for (let at = 0; at < length;) {
        const from = (offset + at) % pattern.length;
        const part = pattern.subarray(from, from + length - at);
        out.set(part, at);
        at += part.length;
      }
      return out;
    };
    const source = { name, size, read, close: async (): Promise<void> => undefined };
    this.#tensors.set(name, { name, dtype, shape, source, offset: 0, byteLength: size });
    return { name, shape, parts: [{ tensor: name }] };
  }

  artifact(): ModelArtifact {
    return {
      name: "random weights",
      config: { format: "gguf", architecture: "random", values: {} },
      tokenizer: { format: "gguf", metadata: {} },
      generation: {},
      tensors: this.#tensors,
      metadata: {},
      close: async () => undefined,
    };
  }

  /** Blocks of the recorded ones; plain floats are small numbers of either sign. */
  #pattern(dtype: DType): Uint8Array {
    const known = this.#patterns.get(dtype);
    if (known) return known;
    const made =
      dtype === "F32"
        ? new Uint8Array(Float32Array.from({ length: 1 << 16 }, (_, i) => ((i * 7919) % 2003) / 1e5 + 0.9).buffer)
        : dtype === "F16"
          ? new Uint8Array(
              Uint16Array.from({ length: 1 << 16 }, (_, i) => 0x2400 + ((i * 7919) % 1024) + ((i % 2) << 15)).buffer,
            )
          : new Uint8Array(
              readFileSync(new URL(`../test/fixtures/quants/${dtype.toLowerCase()}.bin`, import.meta.url)),
            );
    this.#patterns.set(dtype, made);
    return made;
  }
}

function decoderOf(shape: Shape, tensors: RandomTensors, dtype: DType): Graph {
  const { width, heads, kvHeads, headDim, hidden, vocabulary } = shape;
  const g = new GraphBuilder("random weights");
  const frequencies = Float32Array.from({ length: headDim / 2 }, (_, i) => 10_000 ** ((-2 * i) / headDim));
  let x: Value = g.embed(tensors.weight("table", dtype, [vocabulary, width]));
  for (let layer = 0; layer < shape.layers; layer++) {
    const linear = (input: Value, name: string, n: number, k: number): Value =>
      g.linear(input, tensors.weight(`${layer}.${name}`, dtype, [n, k]));
    const norm = (input: Value, name: string): Value =>
      g.rmsNorm(input, tensors.weight(`${layer}.${name}`, "F32", [width]), { eps: 1e-5 });
    const state = g.state({ kind: "kv", name: `layer ${layer}`, kvHeads, keyDim: headDim, valueDim: headDim });
    const h = norm(x, "norm1");
    const rope = { headDim, style: "half", frequencies, magnitude: 1 } as const;
    const q = g.rope(linear(h, "q", heads * headDim, width), rope);
    const k = g.rope(linear(h, "k", kvHeads * headDim, width), rope);
    const v = linear(h, "v", kvHeads * headDim, width);
    const attended = g.attention(q, k, v, { state, heads, scale: headDim ** -0.5 });
    x = g.add(x, linear(attended, "o", width, heads * headDim));
    const m = norm(x, "norm2");
    x = g.add(
      x,
      linear(g.gate(linear(m, "gate", hidden, width), linear(m, "up", hidden, width), "silu"), "down", width, hidden),
    );
  }
  const last = g.rmsNorm(x, tensors.weight("norm", "F32", [width]), { eps: 1e-5 });
  return g.finish(g.linear(g.rows(last), tensors.weight("head", dtype, [vocabulary, width])), {
    contextLength: 2 * PREFILL,
  });
}

function macsOf({ width, layers, heads, kvHeads, headDim, hidden }: Shape): number {
  return layers * (width * headDim * (2 * heads + 2 * kvHeads) + 3 * width * hidden);
}

interface Contender {
  readonly isa: string;
  readonly threads: number;
  readonly runner: ProgramRunner;
  readonly samples: Map<string, number[]>;
  close(): Promise<void>;
}

export async function benchShape(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      shape: { type: "string", default: "smollm2-135m" },
      format: { type: "string", default: "Q4_0" },
      layers: { type: "string" },
      threads: { type: "string", default: "1,2" },
      isas: { type: "string" },
      rounds: { type: "string", default: "5" },
    },
  });
  const full = SHAPES[values.shape];
  const dtype = values.format;
  if (!full || !isDType(dtype)) throw new Error(`--shape is one of ${Object.keys(SHAPES).join(", ")}`);
  const shape = { ...full, layers: Number(values.layers ?? full.layers) };
  const isas = values.isas?.split(",") ?? (await cpuIsas()).slice(0, 1);
  const macs = macsOf(shape);
  console.log(
    `CPU ${cpus()[0]?.model ?? "unknown"}; ${values.shape}, ${shape.layers} layers, ${dtype}, random weights: ` +
      `${(macs / 1e6).toFixed(0)} MMAC a token without head and attention`,
  );
  for (const threads of values.threads.split(",").map(Number)) {
    const contenders: Contender[] = [];
    for (const isa of isas) contenders.push(await open(shape, dtype, isa, threads));
    for (let round = -1; round < Number(values.rounds); round++) {
      for (const contender of contenders) await measure(contender, round >= 0);
    }
    const [first] = contenders;
    for (const { isa, samples } of contenders) {
      const parts = [...samples].map(([name, speeds]) => {
        const speed = median(speeds);
        const ratio = speed / median(first?.samples.get(name) ?? []);
        const rate = name === "decode" ? "" : `, ${((speed * macs) / 1e9).toFixed(0)} GMAC/s`;
        return `${name} ${speed.toFixed(1)} tokens/s${rate} (${ratio.toFixed(2)} ×)`;
      });
      console.log(`${threads} threads, ${isa}: ${parts.join("; ")}`);
    }
    for (const contender of contenders) await contender.close();
  }
}

async function open(shape: Shape, dtype: DType, isa: string, threads: number): Promise<Contender> {
  const backend = await createCpuBackend({ isa, threads });
  const tensors = new RandomTensors();
  const graph = decoderOf(shape, tensors, dtype);
  const options = { kv: "f16", context: 2 * PREFILL, sequences: BATCH, stepTokens: PREFILL } as const;
  const runner = await ProgramRunner.create(backend, tensors.artifact(), graph, options);
  const close = async (): Promise<void> => {
    await runner.close();
    await backend.close();
  };
  return { isa, threads, runner, samples: new Map(), close };
}

async function measure({ runner, samples }: Contender, counts: boolean): Promise<void> {
  const ids = (count: number): number[] => Array.from({ length: count }, (_, i) => (i * 977 + 11) % 40_000);
  const record = async (name: string, tokens: number, work: () => Promise<void>): Promise<void> => {
    const started = performance.now();
    await work();
    if (!counts) return;
    const speeds = samples.get(name) ?? [];
    samples.set(name, [...speeds, (1000 * tokens) / (performance.now() - started)]);
  };
  runner.restart();
  await record(`prefill ${PREFILL}`, PREFILL, async () => {
    await runner.step([{ sequence: 0, tokens: ids(PREFILL) }], { logits: [PREFILL - 1] });
  });
  await record("decode", DECODE, async () => {
    for (let i = 0; i < DECODE; i++) await runner.step([{ sequence: 0, tokens: [i + 1] }], { logits: [0] });
  });
  await record(`decode × ${BATCH}`, BATCH * DECODE, async () => {
    const rows = Array.from({ length: BATCH }, (_, i) => i);
    for (let i = 0; i < DECODE; i++)
      await runner.step(
        rows.map((sequence) => ({ sequence, tokens: [i + 1] })),
        { logits: rows },
      );
  });
}

function isDType(name: string): name is DType {
  return Object.hasOwn(DTYPES, name);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
