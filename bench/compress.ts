/**
 * `npm run bench -- compress [MODEL] [--recipes A,B] [--tokens N] [--calibrate N] [--text FILE] [--hardened] [--peer]`: what
 * each recipe costs, measured on one text: a table ordered by KL divergence from the float model. The model (default: brook)
 * is first written in F16, or with --hardened turned and given outliers (the preset `hardened`), which must not change what
 * it says. With --peer llama.cpp's own quantiser (node-llama-cpp's library, called by compress/llama-quantize.cpp) makes its
 * Q4_0, Q2_K, Q3_K_M and Q4_K_M beside ours. Half of the text is calibrated with, the other half measured.
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { builtinModelPath } from "../src/artifact/node-builtin.ts";
import { compress, evaluate, load } from "../src/index.ts";

const TEXT = resolve(import.meta.dirname, "../../shared/data/text/wikitext-2-valid.txt");
const RECIPES =
  "q8_0 q6_k q5_k_m q4_k_m q4_0 iq4_xs nvfp4 mxfp4 q3_k_m q2_k w4-hqq q4_k_m-awq q4_k_m-gptq w4-gptq-g64 w3-gptq-g64 " +
  "q2_k-gptq w8a8-smooth q4_0-rotated q3-lorc svd-llm-searched svd-llm asvd svd short-2 flap-25 slice-25 " +
  "sparse50 sparse24 sparse24-wanda sparse50-wanda sparse50-dsnot sparse50-owl sparse50-ria sparse50-magnitude";
/** llama.cpp's numbers of mixtures. */
const PEERS = { q4_0: 2, q2_k: 10, q3_k_m: 12, q4_k_m: 15 } as const;

interface Row {
  readonly name: string;
  readonly meanKl: number;
  readonly cells: readonly string[];
}

export async function benchCompress(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      recipes: { type: "string" },
      tokens: { type: "string", default: "4096" },
      calibrate: { type: "string", default: "8192" },
      text: { type: "string", default: TEXT },
      hardened: { type: "boolean", default: false },
      peer: { type: "boolean", default: false },
    },
  });
  const all = await readFile(values.text, "utf8");
  const half = Math.floor(all.length / 2);
  const calibrate = [{ name: values.text, text: all.slice(half) }];
  const folder = await mkdtemp(join(tmpdir(), "millrace-bench-compress-"));
  try {
    const base = join(folder, "base.gguf");
    const recipe = values.hardened ? "hardened" : "f16";
    await compress(positionals[0] ?? builtinModelPath(), { recipe, out: base, calibrate, tokens: 512 });
    const float = await load(base, { context: 512, maxSequences: 1, speculation: "off" });
    const ids = float.tokenizer.encode(all.slice(0, half), { addSpecial: false }).slice(0, Number(values.tokens));
    const rows: Row[] = [];
    const measure = async (name: string, file: string, bytes: number, seconds: number): Promise<void> => {
      const llm = await load(file, { context: 512, maxSequences: 1, speculation: "off" });
      const [own, made] = await evaluate([float, llm], { ids }).finally(() => llm.close());
      if (own === undefined || made === undefined) return;
      const loss = (100 * (made.perplexity / own.perplexity - 1)).toFixed(2);
      const { meanKl, p99Kl, agreement, perplexity } = made;
      const cells = [
        (bytes / 1e6).toFixed(1),
        perplexity.toFixed(3),
        `${loss} %`,
        meanKl.toFixed(5),
        p99Kl.toFixed(4),
        `${(100 * agreement).toFixed(2)} %`,
        seconds.toFixed(0),
      ];
      rows.push({ name, meanKl, cells });
      console.error(`${name}: KL ${meanKl.toFixed(5)}`);
    };
    for (const name of values.recipes?.split(",") ?? RECIPES.split(" ")) {
      const out = join(folder, `${name}.gguf`);
      const begun = performance.now();
      const made = await compress(base, { recipe: name, out, calibrate, tokens: Number(values.calibrate) });
      await measure(name, out, made.bytes, (performance.now() - begun) / 1000);
      await rm(out);
    }
    if (values.peer) {
      const run = peer(folder);
      for (const [name, fileType] of Object.entries(PEERS)) {
        const out = join(folder, `llama.cpp-${name}.gguf`);
        const begun = performance.now();
        run(base, out, fileType);
        await measure(`llama.cpp ${name}`, out, (await readFile(out)).length, (performance.now() - begun) / 1000);
        await rm(out);
      }
    }
    await float.close();
    print(rows, float.info.description, ids.length);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Compiles the program that calls the library, and gives what runs it. */
function peer(folder: string): (from: string, to: string, fileType: number) => void {
  const library = join(import.meta.dirname, "node_modules/@node-llama-cpp/linux-x64/bins/linux-x64/libllama.v0.5.0.so");
  if (!existsSync(library)) throw new Error(`${library} is missing: npm ci in bench/`);
  const program = join(folder, "llama-quantize");
  const source = join(import.meta.dirname, "compress/llama-quantize.cpp");
  execFileSync("g++", ["-std=c++20", "-O1", source, "-o", program, "-ldl"]);
  return (from, to, fileType) => {
    execFileSync(program, [library, from, to, String(fileType), "2", "0"], { stdio: "ignore" });
  };
}

function print(rows: readonly Row[], model: string, tokens: number): void {
  const head = ["recipe", "MB", "perplexity", "loss", "mean KL", "p99 KL", "same top", "seconds"];
  const table = [head, ...rows.toSorted((a, b) => a.meanKl - b.meanKl).map(({ name, cells }) => [name, ...cells])];
  const widths = head.map((_, i) => Math.max(...table.map((row) => (row[i] ?? "").length)));
  console.log(`${model}, ${tokens} tokens`);
  for (const row of table) {
    console.log(
      row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join("  "),
    );
  }
}
