/**
 * check:formats: does llama.cpp read what we write? The shared model is read with our GGUF reader, written again as one
 * file and split, and llama.cpp (node-llama-cpp, from bench/) continues all 16 prompts greedily from each: its tokens
 * must equal those from the original file. Needs ../shared/models and `npm install` in bench/ (or the package's folder
 * in MILLRACE_NODE_LLAMA_CPP).
 */
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { describeGguf } from "../src/artifact/gguf-artifact.ts";
import { openGguf, writeGguf } from "../src/artifact/node-gguf.ts";

/** The part of node-llama-cpp's interface that is used here. */
interface Peer {
  getLlama(options: { gpu: false; build: "never"; logLevel: "error" }): Promise<{
    loadModel(options: { modelPath: string }): Promise<{
      isEogToken(token: number): boolean;
      createContext(options: { contextSize: number; threads: number }): Promise<{
        getSequence(): {
          clearHistory(): Promise<void>;
          evaluate(tokens: number[], options: { temperature: number; yieldEogToken: boolean }): AsyncIterable<number>;
        };
      }>;
      dispose(): Promise<void>;
    }>;
    dispose(): Promise<void>;
  }>;
}
interface Recorded {
  readonly id: string;
  readonly prompt_ids: number[];
}

const root = resolve(import.meta.dirname, "..");
const models = resolve(root, "../shared/models");
const original = join(models, "smollm2-135m-instruct-q4_1.gguf");
const peerFolder = process.env["MILLRACE_NODE_LLAMA_CPP"] ?? join(root, "bench/node_modules/node-llama-cpp");

for (const needed of [original, peerFolder]) {
  if (!existsSync(needed)) {
    console.log(`check:formats can't run: ${needed} is missing`);
    process.exit(1);
  }
}

const lines = async (path: string) =>
  (await readFile(path, "utf8"))
    .trim()
    .split("\n")
    .map((line): unknown => JSON.parse(line));
const limits = new Map<string, number>();
for (const prompt of (await lines(join(models, "prompts.jsonl"))) as { id: string; max_tokens?: number }[]) {
  limits.set(prompt.id, prompt.max_tokens ?? 64);
}
const prompts = (await lines(join(models, "smollm2-135m-instruct-q4_1.greedy.jsonl"))) as Recorded[];

const peer = (await import(pathToFileURL(join(peerFolder, "dist/index.js")).href)) as Peer;
const llama = await peer.getLlama({ gpu: false, build: "never", logLevel: "error" });

/** llama.cpp's greedy ids for each prompt. */
async function greedy(modelPath: string): Promise<number[][]> {
  const model = await llama.loadModel({ modelPath });
  const context = await model.createContext({ contextSize: 2304, threads: 1 });
  const sequence = context.getSequence();
  const all: number[][] = [];
  for (const prompt of prompts) {
    await sequence.clearHistory();
    const ids: number[] = [];
    for await (const id of sequence.evaluate(prompt.prompt_ids, { temperature: 0, yieldEogToken: true })) {
      ids.push(id);
      if (model.isEogToken(id) || ids.length >= (limits.get(prompt.id) ?? 64)) break;
    }
    all.push(ids);
  }
  await model.dispose();
  return all;
}

const folder = await mkdtemp(join(tmpdir(), "millrace-formats-"));
let faults = 0;
try {
  const artifact = await openGguf(original);
  const [single = ""] = await writeGguf(join(folder, "single.gguf"), describeGguf(artifact));
  const parts = await writeGguf(join(folder, "split.gguf"), describeGguf(artifact), { maxBytes: 32 * 2 ** 20 });
  await artifact.close();
  // The parts are read and written once more, so that our reader's joining is under test too.
  const joined = await openGguf(parts[1] ?? "");
  const [rejoined = ""] = await writeGguf(join(folder, "rejoined.gguf"), describeGguf(joined));
  await joined.close();

  const want = await greedy(original);
  const total = want.reduce((sum, ids) => sum + ids.length, 0);
  for (const [name, path] of [
    ["single", single],
    [`split in ${parts.length}`, parts[0] ?? ""],
    ["rejoined", rejoined],
  ] as const) {
    const got = await greedy(path);
    const different = prompts.filter((_, i) => JSON.stringify(got[i]) !== JSON.stringify(want[i])).map(({ id }) => id);
    faults += different.length;
    console.log(
      `${name}: ${prompts.length - different.length} of ${prompts.length} prompts equal, ${total} tokens ${different.join(" ")}`,
    );
  }
} finally {
  await llama.dispose();
  await rm(folder, { recursive: true });
}
console.log(faults === 0 ? "PASS" : "FAIL");
process.exitCode = faults === 0 ? 0 : 1;
