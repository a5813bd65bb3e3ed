/**
 * check:gguf: do we read GGUF models as llama.cpp does? Each parity fixture whose architecture llama.cpp has is written as a
 * GGUF with ggml's names and permutations (test/support/as-gguf.ts), and llama.cpp (node-llama-cpp, from bench/) computes the
 * log-probabilities of all tokens at some positions; ours, from the same tensors on the reference backend, must be within
 * 1e-2. Where llama.cpp can't run a fixture, or is known to compute something else, the reason stands in KNOWN.
 *
 * npm run check:gguf [-- FAMILY ...]; needs `npm ci` in bench/, or the package's folder in MILLRACE_NODE_LLAMA_CPP.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import type { MetaObject, MetaValue, ModelArtifact } from "../src/artifact/artifact.ts";
import type { GgufType } from "../src/artifact/gguf-types.ts";
import { writeGguf } from "../src/artifact/node-gguf.ts";
import { ProgramRunner } from "../src/backend/program-runner.ts";
import { createReferenceBackend } from "../src/backend/reference/backend.ts";
import { modelGraph } from "../src/models/models.ts";
import { asGguf, hasGguf } from "../test/support/as-gguf.ts";
import { openParityCase, parityConfig, parityFamilies } from "../test/support/parity.ts";

interface Evaluated {
  readonly next?: { readonly probabilities?: ReadonlyMap<number, number> };
}

/** The part of node-llama-cpp's interface that is used here. */
interface Peer {
  getLlama(options: { gpu: false; build: "never"; logLevel: "error" }): Promise<{
    loadModel(options: { modelPath: string }): Promise<{
      createContext(options: {
        contextSize: number;
        threads: number;
        flashAttention: boolean;
        experimentalKvCacheKeyType: "F32";
        experimentalKvCacheValueType: "F32";
      }): Promise<{
        getSequence(): {
          controlledEvaluate(
            input: readonly (number | readonly [number, object])[],
          ): Promise<readonly (Evaluated | undefined)[]>;
        };
      }>;
      dispose(): Promise<void>;
    }>;
  }>;
}

const LIMIT = 1e-2;
/** Probabilities below this are not compared: llama.cpp gives them as f32, after a softmax. */
const LEAST = 1e-6;
const EVERY = 10;
const KNOWN: Readonly<Record<string, string>> = {
  baichuan: "llama.cpp turns keys and queries in models of 32 layers only",
  deepseek2: "llama.cpp wants a latent of queries, in models of other than 27 layers",
  exaone4: "llama.cpp knows windows in the model of 64 layers only",
  "gpt-neox-serial": "llama.cpp wants biases",
  olmoe: "llama.cpp wants as many key/value heads as heads",
  qwen3moe: "llama.cpp wants experts in every layer",
};

const root = resolve(import.meta.dirname, "..");
const peerFolder = process.env["MILLRACE_NODE_LLAMA_CPP"] ?? join(root, "bench/node_modules/node-llama-cpp");
if (!existsSync(peerFolder)) {
  console.log(`check:gguf can't run: ${peerFolder} is missing`);
  process.exit(1);
}
const peer = (await import(pathToFileURL(join(peerFolder, "dist/index.js")).href)) as Peer;
const llama = await peer.getLlama({ gpu: false, build: "never", logLevel: "error" });
const folder = mkdtempSync(join(tmpdir(), "millrace-gguf-"));
const wanted = process.argv.slice(2);
const families = parityFamilies().filter(
  (name) => hasGguf(parityConfig(name)) && (wanted.length === 0 || wanted.includes(name)),
);
let failures = families.length === 0 ? 1 : 0;

for (const name of families) {
  const parityCase = await openParityCase(name);
  try {
    const artifact = await asGguf(parityCase.artifact);
    const positions = parityCase.tokens.flatMap((_, i) => (i % EVERY === EVERY - 1 ? [i] : []));
    const ours = await ourLogProbabilities(artifact, parityCase.tokens, positions);
    const theirs = await theirProbabilities(artifact, parityCase.tokens, positions, parityCase.vocabulary);
    let difference = 0;
    let compared = 0;
    theirs.forEach((row, i) => {
      for (const [id, probability] of row) {
        if (probability < LEAST) continue;
        const gap = Math.abs(Math.log(probability) - (ours[i * parityCase.vocabulary + id] ?? NaN));
        difference = Number.isNaN(gap) ? Infinity : Math.max(difference, gap);
        compared += 1;
      }
    });
    const fine = difference <= LIMIT && compared > 0;
    const why = fine ? undefined : KNOWN[name];
    if (!fine && why === undefined) failures += 1;
    const numbers = `max |Δlog p| ${difference.toExponential(2)} over ${compared} tokens`;
    console.log(
      `${fine ? "ok  " : why === undefined ? "FAIL" : "----"} ${name.padEnd(18)} ${numbers}${why === undefined ? "" : `: ${why}`}`,
    );
  } catch (error) {
    const why = KNOWN[name];
    if (why === undefined) failures += 1;
    const message = error instanceof Error ? error.message : String(error);
    console.log(`${why === undefined ? "FAIL" : "----"} ${name.padEnd(18)} ${why ?? message}`);
  }
  await parityCase.artifact.close();
}
rmSync(folder, { recursive: true });
console.log(failures === 0 ? "PASS" : `FAIL: ${failures}`);
// After a model that it could not load, llama.cpp's own disposal never ends.
process.exit(failures === 0 ? 0 : 1);

async function ourLogProbabilities(
  artifact: ModelArtifact,
  tokens: readonly number[],
  positions: readonly number[],
): Promise<Float64Array> {
  const { graph } = await modelGraph(artifact, { context: tokens.length });
  const runner = await ProgramRunner.create(createReferenceBackend(), artifact, graph, {
    kv: "f32",
    context: tokens.length,
  });
  try {
    const { logits } = await runner.step([{ sequence: 0, tokens }], { logits: positions });
    const size = graph.vocabSize;
    const out = new Float64Array(logits.length);
    for (let row = 0; row < positions.length; row++) {
      const values = logits.subarray(row * size, (row + 1) * size);
      const most = values.reduce((a, b) => Math.max(a, b), -Infinity);
      const sum = values.reduce((total, x) => total + Math.exp(x - most), 0);
      values.forEach((x, id) => (out[row * size + id] = x - most - Math.log(sum)));
    }
    return out;
  } finally {
    await runner.close();
  }
}

async function theirProbabilities(
  artifact: ModelArtifact,
  tokens: readonly number[],
  positions: readonly number[],
  vocabulary: number,
): Promise<ReadonlyMap<number, number>[]> {
  const path = join(folder, "model.gguf");
  const { metadata, types } = describe(artifact, vocabulary);
  await writeGguf(path, { metadata, types, tensors: [...artifact.tensors.values()] });
  const model = await llama.loadModel({ modelPath: path });
  try {
    const context = await model.createContext({
      contextSize: 256,
      threads: 1,
      flashAttention: false,
      experimentalKvCacheKeyType: "F32",
      experimentalKvCacheValueType: "F32",
    });
    const next = { generateNext: { probabilities: true, options: { temperature: 1, topK: 0, topP: 1, minP: 0 } } };
    const results = await context
      .getSequence()
      .controlledEvaluate(tokens.map((token, i) => (positions.includes(i) ? [token, next] : token)));
    return positions.map((i) => results[i]?.next?.probabilities ?? new Map<number, number>());
  } finally {
    await model.dispose();
  }
}

/** A header that llama.cpp accepts: the model's keys with ggml's types, and a vocabulary of that many tokens. */
function describe(artifact: ModelArtifact, vocabulary: number): { metadata: MetaObject; types: Map<string, GgufType> } {
  const { architecture, values } = artifact.config;
  const metadata: Record<string, MetaValue> = { "general.architecture": architecture };
  const types = new Map<string, GgufType>([["general.architecture", "string"]]);
  const set = (key: string, value: MetaValue, type: GgufType): void => {
    metadata[key] = value;
    types.set(key, type);
  };
  for (const [key, value] of Object.entries(values)) {
    if (typeof value === "string") set(key, value, "string");
    else if (typeof value === "boolean") set(key, value, "bool");
    else if (Array.isArray(value)) set(key, value, typeof value[0] === "number" ? "u32[]" : "bool[]");
    else if (/epsilon|_scale|attention.scale|weights_scale|freq_base|factor|softcapping|alibi|clamp/.test(key))
      set(key, value ?? 0, "f32");
    else set(key, value ?? 0, "u32");
  }
  set(`${architecture}.vocab_size`, vocabulary, "u32");
  set("tokenizer.ggml.model", "gpt2", "string");
  set("tokenizer.ggml.pre", "gpt-2", "string");
  set(
    "tokenizer.ggml.tokens",
    Array.from({ length: vocabulary }, (_, id) => `<${id}>`),
    "string[]",
  );
  set(
    "tokenizer.ggml.token_type",
    Int32Array.from({ length: vocabulary }, () => 1),
    "i32[]",
  );
  set("tokenizer.ggml.merges", [], "string[]");
  set("tokenizer.ggml.eos_token_id", vocabulary - 1, "u32");
  set("tokenizer.ggml.bos_token_id", vocabulary - 1, "u32");
  return { metadata, types };
}
