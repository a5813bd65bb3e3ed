/** Adapters in an engine: who gets which, what the prefix cache keeps apart, and loading and dropping while requests run. */
import assert from "node:assert/strict";
import test from "node:test";
import { adapterFile, matricesOf, randomAdapter } from "../../test/support/adapters.ts";
import { tinyModel } from "../../test/support/tiny-models.ts";
import { createCpuBackend } from "../backend/cpu/backend.ts";
import { MemoryError, RequestError } from "../errors.ts";
import { assemble, type AssembleOptions } from "./assemble.ts";
import type { Llm } from "./llm.ts";

const SIZE = { layers: 1, width: 64, heads: 2, kvHeads: 1, headDim: 32, hidden: 96, vocab: 64 };
const PROMPT = Array.from({ length: 40 }, (_, i) => (i * 7) % 64);

/** References are "SEED RANK". */
async function open(options: AssembleOptions = {}): Promise<Llm> {
  const artifact = tinyModel("llama", "F32", 3, SIZE);
  const changes = matricesOf(artifact, /embd|output/);
  return assemble(artifact, await createCpuBackend({ threads: 1 }), {
    context: 128,
    ...options,
    openAdapter: async (reference) => {
      const [seed = 1, rank = 4] = reference.split(" ").map(Number);
      return adapterFile(randomAdapter(seed, changes, { rank, scale: 1 }));
    },
  });
}

async function answer(llm: Llm, adapter?: string): Promise<string> {
  const { choices } = await llm.generate(PROMPT, { maxTokens: 12, temperature: 0, adapter });
  return choices[0]?.tokens.join() ?? "";
}

test("requests with two adapters and none get together what each gets alone", async () => {
  const llm = await open({ adapters: { a: "1 4", b: "2 8" } });
  const names = [undefined, "a", "b", "a", undefined];
  const alone: string[] = [];
  for (const name of names) alone.push(await answer(llm, name));
  assert.equal(new Set(alone).size, 3);
  assert.deepEqual(await Promise.all(names.map((name) => answer(llm, name))), alone);
  assert.deepEqual(
    llm.adapters().map(({ name, rank }) => [name, rank]),
    [
      ["a", 4],
      ["b", 8],
    ],
  );
  const plain = await open();
  assert.equal(await answer(plain), alone[0]);
  await plain.close();
  await llm.close();
});

test("a prefix is found under its own adapter only, and not under another of its name", async () => {
  const llm = await open({ adapters: { a: "1", b: "2" } });
  const cached = async (adapter?: string): Promise<number> =>
    (await llm.generate(PROMPT, { maxTokens: 2, temperature: 0, adapter })).usage.cachedTokens;
  assert.equal(await cached("a"), 0);
  assert.equal(await cached("b"), 0);
  assert.equal(await cached(), 0);
  assert.ok((await cached("a")) > 0);
  const before = await answer(llm, "a");
  await llm.dropAdapter("a");
  await llm.loadAdapter("a", "9");
  assert.equal(await cached("a"), 0);
  assert.notEqual(await answer(llm, "a"), before);
  await llm.close();
});

test("an adapter that is dropped serves the requests that have it, and no others", async () => {
  const llm = await open({ adapters: { a: "1" }, maxAdapters: 1 });
  const expected = await answer(llm, "a");
  const running = answer(llm, "a");
  // Submitted, not yet computed.
  await Promise.resolve();
  let dropped = false;
  const dropping = llm.dropAdapter("a").then(() => (dropped = true));
  await assert.rejects(answer(llm, "a"), /no adapter "a" \(none is loaded\)/);
  assert.equal(dropped, false);
  await assert.rejects(llm.loadAdapter("b", "2"), /1 adapters are loaded, as many/);
  assert.equal(await running, expected);
  await dropping;
  await llm.loadAdapter("b", "2");
  assert.notEqual(await answer(llm, "b"), expected);
  await llm.close();
});

test("names, places, ranks and memory have their limits", async () => {
  const llm = await open({ adapters: { a: "1 4" }, maxRank: 8, adapterBytes: 40_000 });
  await assert.rejects(llm.loadAdapter("a", "2"), RequestError);
  await assert.rejects(llm.loadAdapter("a:b", "2"), /without colons/);
  await assert.rejects(llm.loadAdapter("b", "2 9"), /rank 9.* 8 at most/);
  await assert.rejects(llm.loadAdapter("b", "2 8"), MemoryError);
  await assert.rejects(llm.dropAdapter("b"), /no adapter "b" \(loaded: a\)/);
  await assert.rejects(answer(llm, "b"), RequestError);
  // Nothing of what was refused stays.
  await llm.dropAdapter("a");
  await llm.loadAdapter("b", "2 4");
  assert.equal(llm.adapters().length, 1);
  await llm.close();
  const plain = await open();
  await assert.rejects(plain.loadAdapter("a", "1"), /without room for adapters/);
  await plain.close();
});
