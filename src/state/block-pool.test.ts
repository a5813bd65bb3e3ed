import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../test/support/random.ts";
import { BLOCK_TOKENS, type StateGroup } from "../backend/contract.ts";
import { BlockPool } from "./block-pool.ts";
import { type BlockCopy, blocksNeeded, SequenceState } from "./sequence-state.ts";

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
  assert.throws(() => pool.allocate(), /beyond what admission reserved/);
});

test("random growth, forks, slides and releases agree with a naive model and stay within blocksNeeded", () => {
  for (let seed = 1; seed <= 200; seed++) {
    const draw = new Random(seed);
    const next = (below: number): number => draw.below(below);
    const groups: StateGroup[] = [
      { kind: "kv", states: [0] },
      { kind: "window-kv", window: 1 + next(60), states: [1] },
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
        const block = state.table(g)[Math.floor(position / BLOCK_TOKENS)];
        contents[g]?.set(`${block}:${position % BLOCK_TOKENS}`, value);
      }
    };
    const check = (state: SequenceState, values: readonly number[]): void => {
      for (const [g, group] of groups.entries()) {
        const first = group.window === undefined ? 0 : Math.max(0, values.length - group.window);
        for (let p = first; p < values.length; p++) {
          const block = state.table(g)[Math.floor(p / BLOCK_TOKENS)] ?? -1;
          assert.notEqual(block, -1, `seed ${seed}`);
          assert.equal(contents[g]?.get(`${block}:${p % BLOCK_TOKENS}`), values[p], `seed ${seed} group ${g} at ${p}`);
        }
      }
    };
    const root = new SequenceState(memory);
    const answers: { state: SequenceState; values: number[] }[] = [{ state: root, values: [] }];
    const extend = (answer: { state: SequenceState; values: number[] }, count: number): void => {
      answer.state.grow(answer.values.length + count);
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
    const copies: BlockCopy[] = [];
    for (let i = 1; i < n; i++) answers.push({ state: root.fork(prompt, copies), values: [...first.values] });
    for (const { group, from, to } of copies) {
      for (let i = 0; i < BLOCK_TOKENS; i++) {
        const value = contents[group]?.get(`${from}:${i}`);
        if (value !== undefined) contents[group]?.set(`${to}:${i}`, value);
      }
    }
    observe();
    for (let step = prompt; step < total; step++) for (const answer of answers) extend(answer, 1);
    for (const [g, group] of groups.entries()) {
      const need = blocksNeeded(group, prompt, total, n, chunk);
      assert.ok((peak[g] ?? 0) <= need, `seed ${seed} group ${g}: ${peak[g]} blocks held, ${need} reserved`);
    }
    for (const answer of answers) answer.state.release();
    for (const { pool } of memory) assert.equal(pool.used, 0, `seed ${seed}`);
  }
});
