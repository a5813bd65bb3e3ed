/** docs/adapters.md says what there is: its program runs, on the built-in model with adapters of random values. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import process from "node:process";
import { test } from "node:test";
import { promisify } from "node:util";
import { builtinModelPath } from "../src/artifact/node-builtin.ts";
import { writeGguf } from "../src/artifact/node-gguf.ts";
import { openArtifact } from "../src/artifact/node-open.ts";
import { load, type LoadOptions } from "../src/index.ts";
import { matricesOf, randomAdapter } from "./support/adapters.ts";

async function writeAdapter(file: string, seed: number): Promise<void> {
  const base = await openArtifact(builtinModelPath());
  const changes = matricesOf(base, /embd|output\.weight|norm/).filter(([name]) => name.includes("attn_q"));
  await base.close();
  await writeGguf(file, {
    metadata: { "general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": 16 },
    types: new Map([
      ["general.type", "string"],
      ["adapter.type", "string"],
      ["adapter.lora.alpha", "f32"],
    ]),
    tensors: [...randomAdapter(seed, changes).pairs].flatMap(([name, { a, b }]) => [
      { ...a, name: `${name}.lora_a` },
      { ...b, name: `${name}.lora_b` },
    ]),
  });
}

test("millrace merge writes a model that answers without its adapter as the base does with it", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "millrace-merge-"));
  try {
    const [adapter, merged] = [path.join(folder, "adapter.gguf"), path.join(folder, "merged.gguf")];
    await writeAdapter(adapter, 1);
    const main = new URL("../src/cli/main.ts", import.meta.url).pathname;
    const args = ["merge", "--model", builtinModelPath(), "--adapter", adapter, merged];
    const { stderr } = await promisify(execFile)(process.execPath, ["--no-warnings", main, ...args]);
    assert.match(stderr, /matrices changed/);
    await using base = await load(undefined, { adapters: { adapter } });
    await using one = await load(merged);
    const ids = base.tokenize("Once upon a time there was a mill");
    const [beside, inside, plain] = [
      await base.logits(ids, { adapter: "adapter" }),
      await one.logits(ids),
      await base.logits(ids),
    ].map((rows) => rows.at(-1) ?? assert.fail());
    const distance = (a: Float32Array | undefined, b: Float32Array | undefined): number =>
      Math.max(...[...(a ?? [])].map((x, i) => Math.abs(x - (b?.[i] ?? NaN))));
    // Merged matrices are F16, and multiply rows that aren't rounded to 8 bits.
    assert.ok(distance(beside, inside) < 0.1 * distance(beside, plain), `${distance(beside, inside)}`);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("the program runs, and its answer is the adapter's", async () => {
  const guide = await readFile(new URL("../docs/adapters.md", import.meta.url), "utf8");
  const [, program = ""] = /```ts\n([\s\S]*?)```/.exec(guide) ?? [];
  const folder = await mkdtemp(path.join(tmpdir(), "millrace-docs-adapters-"));
  try {
    await writeAdapter(path.join(folder, "support"), 1);
    await writeAdapter(path.join(folder, "sql"), 2);
    const seen: unknown[] = [];
    const place = (reference: string): string => path.join(folder, path.basename(reference));
    const opened = async (_model: string, options: LoadOptions) => {
      const adapters = Object.entries(options.adapters ?? {}).map(([name, reference]) => [name, place(reference)]);
      const llm = await load(undefined, {
        ...options,
        adapters: Object.fromEntries(adapters) as Record<string, string>,
      });
      seen.push((await llm.generate("Hello", { maxTokens: 16, seed: 1 })).tokens);
      seen.push((await llm.generate("Hello", { maxTokens: 16, seed: 1, adapter: "support" })).tokens);
      return new Proxy(llm, {
        get(target, name) {
          if (name === "loadAdapter") return (own: string, reference: string) => llm.loadAdapter(own, place(reference));
          const value: unknown = Reflect.get(target, name, target);
          return typeof value === "function" ? (value.bind(target) as unknown) : value;
        },
      });
    };
    // oxlint-disable-next-line typescript/no-implied-eval -- the guide's own lines
    const run = new Function("load", "console", `return (async () => { ${program}; await llm.close(); })()`) as (
      load: typeof opened,
      console: { log(value: unknown): void },
    ) => Promise<void>;
    await run(opened, { log: (value) => seen.push(value) });
    const [base, adapted, list] = seen;
    assert.notDeepEqual(base, adapted);
    assert.deepEqual(
      (list as { name: string; rank: number }[]).map(({ name, rank }) => [name, rank]),
      [
        ["support", 4],
        ["sql", 4],
      ],
    );
  } finally {
    await rm(folder, { recursive: true });
  }
});
