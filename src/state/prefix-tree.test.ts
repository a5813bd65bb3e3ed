/** The prefix tree against what was really entered: which tokens lie in which block, and who holds it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../test/support/random.ts";
import { BLOCK_TOKENS, type StateGroup } from "../backend/contract.ts";
import { BlockPool, type GroupMemory } from "./block-pool.ts";
import { type PrefixNode, PrefixTree } from "./prefix-tree.ts";
import { SequenceState } from "./sequence-state.ts";

const SHAPE = { kvHeads: 1, keyDim: 8, valueDim: 8, type: "f32" } as const;
const KV: StateGroup = { ...SHAPE, kind: "kv", states: ["all"] };

/** A sequence that has computed all of its tokens, and what each block of group g holds. */
class Model {
  readonly memory: readonly GroupMemory[];
  readonly tree: PrefixTree;
  readonly contents: Map<number, number[]>[];
  readonly entered: { readonly salt: string; readonly tokens: readonly number[] }[] = [];

  constructor(groups: readonly StateGroup[], blocks: number) {
    this.memory = groups.map((group) => ({ group, pool: new BlockPool(blocks) }));
    this.tree = new PrefixTree(this.memory);
    this.contents = groups.map(() => new Map());
  }

  /** Computes tokens behind what the tree has, checks what it has, and leaves everything there. The hit's length. */
  run(tokens: readonly number[], salt: string): number | undefined {
    const ids = Int32Array.from(tokens);
    const hit = this.tree.match(ids, tokens.length - 1, salt);
    const state = SequenceState.withPrefix(this.memory, hit);
    if (state === undefined) return undefined;
    for (const [g, from, to] of state.takeOps().copies) {
      this.contents[g]?.set(to, [...(this.contents[g]?.get(from) ?? [])]);
      this.memory[g]?.pool.release(from);
    }
    for (const [g, { group }] of this.memory.entries()) {
      for (let p = Math.max(0, hit.length - (group.window ?? Infinity) + 1); p < hit.length; p++) {
        const block: number = state.tables[g]?.[Math.floor(p / BLOCK_TOKENS)] ?? -1;
        assert.equal(this.contents[g]?.get(block)?.[p % BLOCK_TOKENS], tokens[p], `group ${g}, position ${p}`);
      }
    }
    if (!state.grow(tokens.length)) {
      state.release();
      return undefined;
    }
    let at: PrefixNode = hit.full.at(-1) ?? this.tree.root(salt);
    for (let p = hit.length; p < tokens.length; p++) {
      state.slide(p);
      for (const [g] of this.memory.entries()) {
        const block: number = state.tables[g]?.[Math.floor(p / BLOCK_TOKENS)] ?? -1;
        const held = this.contents[g]?.get(block) ?? [];
        held[p % BLOCK_TOKENS] = tokens[p] ?? -1;
        this.contents[g]?.set(block, held);
      }
      if ((p + 1) % BLOCK_TOKENS > 0 && p + 1 < tokens.length) continue;
      const entry = Math.floor(p / BLOCK_TOKENS);
      const blocks = state.tables.map((table) => table[entry] ?? -1);
      at = this.tree.add(at, ids.subarray(entry * BLOCK_TOKENS, p + 1), blocks, () => undefined);
    }
    state.release();
    this.entered.push({ salt, tokens });
    return hit.length;
  }

  check(): void {
    for (const [g, { pool }] of this.memory.entries()) {
      assert.equal(pool.used, 0, `group ${g}: somebody holds blocks`);
      let references = 0;
      for (let block = 0; block < pool.size; block++) references += pool.references(block);
      assert.equal(references, pool.idle, `group ${g}`);
    }
  }
}

function draw(random: Random): { tokens: number[]; salt: string } {
  // Few different tokens, so that beginnings repeat.
  const tokens = Array.from({ length: random.between(1, 90) }, () => (random.below(20) === 0 ? random.below(3) : 0));
  return { tokens, salt: random.pick(["", "", "a"]) };
}

test("without a shortage a hit is the longest common beginning under the salt", () => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = new Random(seed);
    const model = new Model([KV], 4000);
    for (let i = 0; i < 60; i++) {
      const { tokens, salt } = draw(random);
      let longest = 0;
      for (const other of model.entered) {
        if (other.salt !== salt) continue;
        let same = 0;
        while (same < tokens.length - 1 && tokens[same] === other.tokens[same]) same += 1;
        longest = Math.max(longest, same);
      }
      assert.equal(model.run(tokens, salt), longest, `seed ${seed}, sequence ${i}`);
    }
    model.check();
    model.tree.clear();
    assert.equal(model.memory[0]?.pool.idle, 0);
    assert.equal(model.tree.size, 0);
  }
});

test("in a small memory hits stay true, whatever was taken, and every idle block can be had", () => {
  let hits = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const random = new Random(seed);
    const window: StateGroup = { ...SHAPE, kind: "window-kv", window: random.between(1, 60), states: ["near"] };
    const model = new Model([KV, window], random.between(8, 24));
    for (let i = 0; i < 120; i++) {
      const { tokens, salt } = draw(random);
      hits += model.run(tokens, salt) ?? 0;
      model.check();
    }
    for (const { pool } of model.memory) {
      const all = Array.from({ length: pool.size }, () => pool.allocate());
      assert.equal(new Set(all).size, pool.size, `seed ${seed}`);
    }
  }
  assert.ok(hits > 1000, `${hits} tokens were found`);
});

test("the least recently used prefix goes first", () => {
  const model = new Model([KV], 6);
  const prompt = (token: number): number[] => Array.from({ length: 32 }, () => token);
  model.run(prompt(1), "");
  model.run(prompt(2), "");
  model.run(prompt(1), "");
  model.run(prompt(3), "");
  model.run(prompt(4), "");
  const hit = (token: number): number => model.tree.match(Int32Array.from(prompt(token)), 31, "").length;
  assert.deepEqual([1, 2, 4].map(hit), [31, 0, 31]);
});

test("a picture of the tree: runs of blocks between branches", () => {
  const model = new Model([KV], 40);
  const words = (...letters: readonly number[]): number[] =>
    letters.flatMap((letter) => Array.from({ length: 16 }, () => letter));
  model.run(words(1, 2, 3, 4), "");
  model.run(words(1, 2, 5), "");
  model.run(words(9), "other");
  const runs = model.tree.runs(100).map(({ parent, blocks }) => [parent, blocks]);
  assert.deepEqual(runs, [
    [-1, 2],
    [-1, 1],
    [0, 2],
    [0, 1],
  ]);
  assert.equal(model.tree.runs(2).length, 2);
  assert.equal(
    model.tree.runs(100).some(({ inUse }) => inUse),
    false,
  );
});
