/**
 * `npm run bench -- adapters [--adapters N] [--rank N] [--rounds N] [--threads N]`: what many adapters on one base cost. A
 * model of TinyLlama-1.1B's shape (Q4_0, random blocks) with N adapters on q and v; steps of 16 sequences that decode a
 * token each: by a program without places for adapters, by one with places and none used, and with an adapter drawn at
 * random for each sequence. The three take turns, step by step; what counts is the median over the rounds of their ratio.
 */
import { randomFillSync } from "node:crypto";
import { parseArgs } from "node:util";
import type { Adapter, LowRank } from "../src/artifact/adapter.ts";
import type { ByteSource, MetaObject, ModelArtifact, Tensor } from "../src/artifact/artifact.ts";
import { DTYPES, type DType } from "../src/artifact/dtype.ts";
import { numberToHalf } from "../src/artifact/half.ts";
import { BLOCK_TOKENS, type CompileOptions, type Program } from "../src/backend/contract.ts";
import { createCpuBackend } from "../src/backend/cpu/backend.ts";
import { groupStates } from "../src/backend/groups.ts";
import { StepPlanBuffer } from "../src/backend/step-plan.ts";
import { modelGraph } from "../src/models/models.ts";
import { Random } from "../test/support/random.ts";

const SHAPE = { layers: 22, width: 2048, heads: 32, kvHeads: 4, headDim: 64, hidden: 5632, vocab: 32_000 };
const BATCH = 16;
const CONTEXT = 256;

export async function benchAdapters(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      adapters: { type: "string", default: "200" },
      rank: { type: "string", default: "8" },
      rounds: { type: "string", default: "40" },
      threads: { type: "string" },
    },
  });
  const [count, rank, rounds] = [Number(values.adapters), Number(values.rank), Number(values.rounds)];
  const backend = await createCpuBackend({
    threads: values.threads === undefined ? undefined : Number(values.threads),
  });
  const base = randomModel();
  const { graph } = await modelGraph(base, { context: CONTEXT });
  const groups = groupStates([graph], "f16");
  const lowered = backend.lower(graph, base, groups);
  const weights = await backend.upload([lowered]);
  const blocks = (BATCH * CONTEXT) / BLOCK_TOKENS;
  const pool = await backend.allocate(
    groups,
    groups.map(() => blocks),
  );
  const options: CompileOptions = {
    stepTokens: BATCH,
    maxSequences: BATCH,
    maxOutputs: BATCH,
    samplerSlots: BATCH,
    maxListed: 0,
    maxMoves: 0,
    maxCopies: 0,
    outputs: ["logits"],
  };
  const plain = await backend.compile(lowered, weights, pool, options);
  const adapted = await backend.compile(lowered, weights, pool, { ...options, maxAdapters: count, maxRank: rank });
  let bytes = 0;
  for (let i = 0; i < count; i++) {
    const loaded = await backend.uploadAdapter(lowered, randomAdapter(i, rank, base));
    await adapted.setAdapter(i, loaded);
    bytes += loaded.bytes;
    loaded.close();
  }
  console.log(`${graph.name}, ${backend.profile("f16")}, ${backend.threads} threads, steps of ${BATCH} sequences`);
  const mib = (size: number): string => `${(size / 2 ** 20).toFixed(0)} MiB`;
  console.log(`base ${mib(weights.bytes)}; ${count} adapters of rank ${rank} on q and v: ${mib(bytes)}`);

  const plan = new StepPlanBuffer({ ...options, groups: groups.length, context: CONTEXT });
  const random = new Random(1);
  const draw = (): number => random.below(count);
  const contenders: { name: string; program: Program; adapter: () => number; times: number[] }[] = [
    { name: "base alone", program: plain, adapter: () => -1, times: [] },
    { name: "places, no adapter", program: adapted, adapter: () => -1, times: [] },
    { name: "random adapters", program: adapted, adapter: draw, times: [] },
  ];
  let step = 0;
  for (let round = -2; round < rounds; round++) {
    for (const { program, adapter, times } of contenders) {
      fill(plan, ++step, (round + 2) % (CONTEXT - 1), adapter);
      const began = performance.now();
      await program.run(plan).result;
      if (round >= 0) times.push(performance.now() - began);
    }
  }
  const alone = contenders[0]?.times ?? [];
  for (const { name, times } of contenders) {
    const ms = median(times);
    const share = 100 * median(times.map((time, i) => (alone[i] ?? NaN) / time));
    const speed = `${ms.toFixed(1).padStart(8)} ms a step ${((1000 * BATCH) / ms).toFixed(1).padStart(8)} tokens/s`;
    console.log(`${name.padEnd(20)}${speed}  ${share.toFixed(1).padStart(6)} % of the base`);
  }
  for (const program of [plain, adapted]) await program.close();
  pool.close();
  weights.close();
  await backend.close();
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;
}

/** A token of each sequence, at position `position`. */
function fill(plan: StepPlanBuffer, id: number, position: number, adapter: () => number): void {
  const perSequence = CONTEXT / BLOCK_TOKENS;
  plan.clear();
  plan.id = id;
  for (let s = 0; s < BATCH; s++) {
    const table = Array.from({ length: perSequence }, (_, i) => s * perSequence + i);
    plan.addSequence([table], 0, adapter());
    plan.addLogprob(plan.addRow((97 * s + position) % SHAPE.vocab, position), 0);
  }
}

function randomModel(): ModelArtifact {
  const { layers, width, heads, kvHeads, headDim, hidden, vocab } = SHAPE;
  const tensors = new Map<string, Tensor>();
  const add = (name: string, dtype: DType, shape: readonly number[], source: ByteSource): void => {
    const { blockSize, blockBytes } = DTYPES[dtype];
    const byteLength = (shape.reduce((product, n) => product * n, 1) / blockSize) * blockBytes;
    tensors.set(name, { name, dtype, shape, source, offset: 0, byteLength });
  };
  const blocks = repeated(q4Blocks());
  const ones = repeated(new Uint8Array(Float32Array.of(1).buffer));
  const matrix = (name: string, n: number, k: number): void => add(`${name}.weight`, "Q4_0", [n, k], blocks);
  const norm = (name: string): void => add(`${name}.weight`, "F32", [width], ones);
  matrix("token_embd", vocab, width);
  matrix("output", vocab, width);
  norm("output_norm");
  for (let i = 0; i < layers; i++) {
    norm(`blk.${i}.attn_norm`);
    norm(`blk.${i}.ffn_norm`);
    matrix(`blk.${i}.attn_q`, heads * headDim, width);
    matrix(`blk.${i}.attn_k`, kvHeads * headDim, width);
    matrix(`blk.${i}.attn_v`, kvHeads * headDim, width);
    matrix(`blk.${i}.attn_output`, width, heads * headDim);
    matrix(`blk.${i}.ffn_gate`, hidden, width);
    matrix(`blk.${i}.ffn_up`, hidden, width);
    matrix(`blk.${i}.ffn_down`, width, hidden);
  }
  const metadata: MetaObject = {
    "llama.block_count": layers,
    "llama.embedding_length": width,
    "llama.attention.head_count": heads,
    "llama.attention.head_count_kv": kvHeads,
    "llama.feed_forward_length": hidden,
    "llama.context_length": 2048,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
  };
  return {
    name: "random blocks",
    config: { format: "gguf", architecture: "llama", values: metadata },
    tokenizer: { format: "gguf", metadata: {} },
    generation: {},
    tensors,
    metadata,
    close: async () => undefined,
  };
}

/** Blocks whose codes are random, with a scale that keeps values near 1 / √2048. */
function q4Blocks(): Uint8Array {
  const { blockBytes } = DTYPES.Q4_0;
  const bytes = randomFillSync(new Uint8Array(blockBytes * 65_536));
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < bytes.length; at += blockBytes)
    view.setUint16(at, numberToHalf(1 / (5 * Math.sqrt(2048))), true);
  return bytes;
}

/** A source without an end. */
function repeated(bytes: Uint8Array): ByteSource {
  return {
    name: "random",
    size: Number.MAX_SAFE_INTEGER,
    async read(offset, length) {
      const out = new Uint8Array(length);
      for (let at = 0; at < length;) {
        const from = (offset + at) % bytes.length;
        const part = bytes.subarray(from, from + length - at);
        out.set(part, at);
        at += part.length;
      }
      return out;
    },
    close: async () => undefined,
  };
}

function randomAdapter(seed: number, rank: number, base: ModelArtifact): Adapter {
  const random = new Random(seed);
  const values = Uint16Array.from({ length: 4096 }, () => numberToHalf(0.01 * random.normal()));
  const source = repeated(new Uint8Array(values.buffer));
  const half = (name: string, rows: number, columns: number): Tensor => {
    return { name, dtype: "F16", shape: [rows, columns], source, offset: 0, byteLength: 2 * rows * columns };
  };
  const pairs = [...base.tensors.values()].flatMap(({ name, shape: [n = 0, k = 0] }): [string, LowRank][] =>
    /attn_[qv]\./.test(name) ? [[name, { a: half("a", rank, k), b: half("b", n, rank), scale: 1 }]] : [],
  );
  return { name: `adapter ${seed}`, pairs: new Map(pairs) };
}
