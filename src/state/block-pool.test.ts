import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../test/support/random.ts";
import { BLOCK_TOKENS, type StateGroup } from "../backend/contract.ts";
import { BlockPool } from "./block-pool.ts";
import { blocksNeeded, releaseBlocks, SequenceState } from "./sequence-state.ts";

test("blocks are free, then held, then free again", () => {
  const pool = new BlockPool(3);
  const a = pool.allocate();
  pool.share(a);
  pool.release(a);
  assert.equal(pool.used, 1);
  pool.release(a);
  assert.equal(pool.used, 0);
  assert.throws(() => pool.release(a), /released twice/);
  for (let i = 0; i < 3; i++) pool.allocate();
  assert.throws(() => pool.allocate(), /where none is free/);
});

const SHAPE = { kvHeads: 1, keyDim: 8, valueDim: 8, type: "f32" } as const;

test("random growth, forks, slides and releases agree with a naive model and stay within blocksNeeded", () => {
  for (let seed = 1; seed <= 200; seed++) {
    const draw = new Random(seed);
    const next = (below: number): number => draw.below(below);
    const groups: StateGroup[] = [
      { ...SHAPE, kind: "kv", states: ["all"] },
      { ...SHAPE, kind: "window-kv", window: 1 + next(60), states: ["near"] },
    ];
    const memory = groups.map((group) => ({ group, pool: new BlockPool(4096) }));
    const prompt = 1 + next(200);
    const total = prompt + 1 + next(100);
    const chunk = 1 + next(40);
    const n = 1 + next(4);
    const peak = [0, 0];
    const observe = (): void => {
      for (const [g, { pool }] of memory.entries()) peak[g] = Math.max(peak[g] ?? 0, pool.used);
    };
    // What each position of each answer should hold: contents[g] maps a block and offset to the value written.
    const contents = groups.map(() => new Map<string, number>());
    const write = (state: SequenceState, position: number, value: number): void => {
      for (const [g] of groups.entries()) {
        const block = state.tables[g]?.[Math.floor(position / BLOCK_TOKENS)];
        contents[g]?.set(`${block}:${position % BLOCK_TOKENS}`, value);
      }
    };
    const check = (state: SequenceState, values: readonly number[]): void => {
      for (const [g, group] of groups.entries()) {
        const first = group.window === undefined ? 0 : Math.max(0, values.length - group.window);
        for (let p = first; p < values.length; p++) {
          const block = state.tables[g]?.[Math.floor(p / BLOCK_TOKENS)] ?? -1;
          assert.notEqual(block, -1, `seed ${seed}`);
          assert.equal(contents[g]?.get(`${block}:${p % BLOCK_TOKENS}`), values[p], `seed ${seed} group ${g} at ${p}`);
        }
      }
    };
    const root = new SequenceState(memory);
    const answers: { state: SequenceState; values: number[] }[] = [{ state: root, values: [] }];
    const extend = (answer: { state: SequenceState; values: number[] }, count: number): void => {
      assert.ok(answer.state.grow(answer.values.length + count));
      observe();
      for (let i = 0; i < count; i++) {
        const value = next(1 << 30);
        write(answer.state, answer.values.length, value);
        answer.values.push(value);
      }
      check(answer.state, answer.values);
      answer.state.slide(answer.values.length);
    };
    const first = answers[0];
    assert.ok(first);
    while (first.values.length < prompt) extend(first, Math.min(chunk, prompt - first.values.length));
    for (let i = 1; i < n; i++) {
      const child = root.fork(prompt);
      assert.ok(child);
      answers.push({ state: child, values: [...first.values] });
    }
    observe();
    for (const { state } of answers) {
      // Before a child's first rows, and while its source is held, whoever else goes on.
      const { copies, held } = state.takeOps();
      for (const [group, from, to] of copies) {
        for (let i = 0; i < BLOCK_TOKENS; i++) {
          const value = contents[group]?.get(`${from}:${i}`);
          if (value !== undefined) contents[group]?.set(`${to}:${i}`, value);
        }
      }
      releaseBlocks(held);
    }
    for (let step = prompt; step < total; step++) for (const answer of answers) extend(answer, 1);
    for (const [g, group] of groups.entries()) {
      const need = blocksNeeded(group, prompt, total, n, chunk);
      assert.ok((peak[g] ?? 0) <= need, `seed ${seed} group ${g}: ${peak[g]} blocks held, ${need} reserved`);
    }
    for (const answer of answers) answer.state.release();
    for (const { pool } of memory) assert.equal(pool.used, 0, `seed ${seed}`);
  }
});

test("a memory that is full gives nothing, and takes nothing", () => {
  const group: StateGroup = { ...SHAPE, kind: "kv", states: ["all"] };
  const memory = [{ group, pool: new BlockPool(3) }];
  const state = new SequenceState(memory);
  assert.ok(state.grow(40));
  assert.equal(state.grow(49), false);
  assert.equal(state.fork(20), undefined);
  assert.ok(state.fork(32), "full blocks are shared");
  assert.equal(memory[0]?.pool.used, 3);
});

test("an accepted draft is moved before the next rows; its blocks are held until then", () => {
  const group: StateGroup = { ...SHAPE, kind: "kv", states: ["all"] };
  const memory = [{ group, pool: new BlockPool(8) }];
  const pool = memory[0]?.pool;
  const state = new SequenceState(memory);
  // 15 known, a tree of 40 nodes behind its deepest place, 20; nodes 3 and 30 are accepted.
  assert.ok(state.grow(60));
  const [blocks = []] = [...state.tables].map((ids) => [...ids]);
  state.accept([23, 50], 17);
  assert.deepEqual(state.tables[0], blocks.slice(0, 2));
  assert.equal(pool?.used, 3, "the second block is kept, the fourth is read");
  const { moves, held } = state.takeOps();
  assert.deepEqual(moves, [
    [0, blocks[1], 7, blocks[0], 15],
    [0, blocks[3], 2, blocks[1], 0],
  ]);
  releaseBlocks(held);
  assert.equal(pool?.used, 2);
  assert.deepEqual(state.takeOps().moves, []);
  state.release();
  assert.equal(pool?.used, 0);
});

test("each block is free, kept alone, one sequence's or several sequences'", () => {
  const pool = new BlockPool(4);
  const [one, two, three] = [pool.allocate(), pool.allocate(), pool.allocate()];
  pool.share(two);
  pool.cache(two);
  pool.cache(three);
  pool.release(three);
  const states = pool.states();
  assert.deepEqual(
    [one, two, three].map((block) => states[block]),
    ["private", "shared", "cached"],
  );
  assert.equal(states.filter((state) => state === "free").length, 1);
});
