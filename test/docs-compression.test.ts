/** docs/compression.md says what there is: each of its commands runs, in order, and so does its program. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import { builtinModelPath } from "../src/artifact/node-builtin.ts";
import { compress, evaluate, load } from "../src/index.ts";
import { parityFiles } from "./support/parity.ts";

const run = promisify(execFile);
const main = new URL("../src/cli/main.ts", import.meta.url).pathname;
let folder: string;
let guide: string;
before(async () => {
  guide = await readFile(new URL("../docs/compression.md", import.meta.url), "utf8");
  folder = await mkdtemp(join(tmpdir(), "millrace-docs-compression-"));
  await copyFile(builtinModelPath("rill"), join(folder, "model.gguf"));
  const sentence = "The river that ran by the mill was wide in spring and narrow when summer came. ";
  await writeFile(join(folder, "wiki.txt"), sentence.repeat(60));
  await writeFile(join(folder, "mine.yaml"), blocks("yaml")[0] ?? assert.fail("a recipe"));
  await writeHfModel(join(folder, "hf-model"));
});
after(() => rm(folder, { recursive: true }));

function blocks(language: string): string[] {
  return [...guide.matchAll(new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``, "g"))].map(([, text = ""]) => text);
}

/** A random model of two layers, whose tokens are the letters of the text. */
async function writeHfModel(path: string): Promise<void> {
  const { config, weights } = parityFiles("llama");
  const letters = "ĠabcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,Ċ";
  const tokenizer = {
    model: { type: "BPE", vocab: Object.fromEntries(Array.from(letters, (letter, id) => [letter, id])), merges: [] },
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    decoder: { type: "ByteLevel" },
    added_tokens: [],
  };
  await mkdir(path);
  await writeFile(join(path, "config.json"), config);
  await writeFile(join(path, "tokenizer.json"), JSON.stringify(tokenizer));
  await writeFile(join(path, "model.safetensors"), weights);
}

test("each command of the guide runs", async () => {
  const lines = blocks("sh").flatMap((block) => block.trim().split("\n"));
  assert.ok(lines.length >= 10);
  for (const line of lines) {
    const [program, ...words] = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(
      ([, quoted, plain]) => quoted ?? plain ?? "",
    );
    assert.equal(program, "millrace", line);
    const out = words[words.indexOf("-o") + 1];
    await run(process.execPath, ["--no-warnings", main, ...words], { cwd: folder }).catch((error: unknown) => {
      assert.fail(`${line}\n${String(error)}`);
    });
    if (words.includes("-o")) assert.ok((await stat(join(folder, out ?? ""))).size > 0, line);
  }
  assert.match(await readFile(join(folder, "loss.svg"), "utf8"), /^<svg/);
});

test("the program runs, and tells a loss", async () => {
  const [program = ""] = blocks("ts");
  const lines = program.replace(/^import .*$/gm, "").replaceAll("await using", "const");
  const place = (file: string): string => join(folder, file);
  const said: unknown[] = [];
  const models: { close(): Promise<void> }[] = [];
  const given = {
    compress: (model: string, options: { recipe: string; out: string }) =>
      compress(place(model), { ...options, out: place(options.out), threads: 1 }),
    load: async (model: string) => {
      const llm = await load(place(model), { threads: 1 });
      models.push(llm);
      return llm;
    },
    evaluate,
    console: { log: (...values: unknown[]) => said.push(...values) },
  };
  // oxlint-disable-next-line typescript/no-implied-eval -- the guide's own lines
  const body = new Function(...Object.keys(given), `return (async () => { ${lines} })()`) as (
    ...values: unknown[]
  ) => Promise<void>;
  await body(...Object.values(given)).finally(() => Promise.all(models.map((model) => model.close())));
  const [bytes, reports, loss] = said;
  assert.ok(Number(bytes) > 0);
  assert.equal(reports, 1);
  assert.ok(Number(loss) > 0);
});
