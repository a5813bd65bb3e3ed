/** Granules of sequences and of the prefix tree against what was really written: a state is the text of its tokens. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../test/support/random.ts";
import { BLOCK_TOKENS, BORDER_TOKENS, HISTORY_TOKENS, type StateGroup } from "../backend/contract.ts";
import { BlockPool, type GroupMemory } from "./block-pool.ts";
import { GRANULES_PER_SEQUENCE } from "./granules.ts";
import { PrefixTree } from "./prefix-tree.ts";
import { releaseBlocks, SequenceState } from "./sequence-state.ts";

const GROUPS: readonly StateGroup[] = [
  { kind: "kv", kvHeads: 1, keyDim: 8, valueDim: 8, type: "f32", states: ["all"] },
  { kind: "recurrent", width: 4, states: ["scan"] },
  { kind: "rows", width: 4, window: HISTORY_TOKENS, states: ["history"] },
  { kind: "recurrent", width: 8, states: ["wide scan"] },
];
const SCANS = [1, 3] as const;

interface Running {
  readonly state: SequenceState;
  readonly tokens: number[];
}

class Model {
  readonly memory: readonly GroupMemory[];
  readonly tree: PrefixTree;
  /** By group: what each granule holds. */
  readonly contents = new Map<number, Map<number, string>>(SCANS.map((g) => [g, new Map()]));

  constructor(granules: number) {
    this.memory = GROUPS.map((group) => ({
      group,
      pool: new BlockPool(group.kind === "recurrent" ? granules : 4000),
    }));
    this.tree = new PrefixTree(this.memory);
  }

  /** The step's scans go on from a border that is near, and whose granules hold what they should. */
  #read({ state, tokens }: Running): void {
    const { border } = state;
    assert.ok(tokens.length - border * BORDER_TOKENS < HISTORY_TOKENS, `${tokens.length} tokens, border ${border}`);
    if (border === 0) return;
    for (const g of SCANS) {
      const granule = state.tables[g]?.[border - 1] ?? -1;
      const wanted = tokens.slice(0, border * BORDER_TOKENS).join();
      assert.equal(this.contents.get(g)?.get(granule), wanted, `border ${border}`);
    }
  }

  /** A step of `next` and a draft behind it, of which `accepted` tokens are right. False where there is no room. */
  step(one: Running, next: readonly number[], draft: readonly number[], accepted: number, isChain: boolean): boolean {
    const { state, tokens } = one;
    const known = tokens.length + next.length;
    const slots = isChain ? known + draft.length : known + 2 * draft.length;
    if (!state.grow(slots, known)) return false;
    this.#read(one);
    const { border } = state;
    const written = [...tokens, ...next, ...(isChain ? draft : [])];
    state.plan(known);
    releaseBlocks(state.takeOps().held);
    for (let b = border + 1; b * BORDER_TOKENS <= written.length; b++) {
      for (const g of SCANS) {
        const granule = state.tables[g]?.[b - 1] ?? -1;
        if (granule < 0) continue;
        const { pool } = this.memory[g] ?? assert.fail();
        assert.equal(pool.references(granule), 1, "a granule is written that others hold");
        this.contents.get(g)?.set(granule, written.slice(0, b * BORDER_TOKENS).join());
      }
    }
    tokens.push(...next, ...draft.slice(0, accepted));
    state.confirm(isChain ? tokens.length : known);
    if (draft.length > 0) {
      const first = known + draft.length;
      state.accept(isChain ? [] : Array.from({ length: accepted }, (_, i) => first + i), tokens.length);
    }
    return true;
  }

  /** Leaves the first full blocks in the tree. */
  enter({ state, tokens }: Running): void {
    let at = this.tree.root("");
    for (let entry = 0; (entry + 1) * BLOCK_TOKENS <= tokens.length; entry++) {
      const ids = Int32Array.from(tokens.slice(entry * BLOCK_TOKENS, (entry + 1) * BLOCK_TOKENS));
      at = this.tree.add(at, ids, state.blocksAt(entry), (g, own, shared) => {
        state.swap(g, entry, shared);
        this.memory[g]?.pool.release(own);
      });
    }
  }

  begin(prompt: readonly number[]): Running {
    const hit = this.tree.match(Int32Array.from(prompt), prompt.length, "");
    const state = SequenceState.withPrefix(this.memory, hit) ?? assert.fail();
    const one = { state, tokens: prompt.slice(0, hit.length) };
    this.#read(one);
    return one;
  }
}

test("whatever is planned, drafted, forked, shared and lost, a sequence goes on from a state that is its own", () => {
  let hits = 0;
  let forks = 0;
  for (let seed = 1; seed <= 120; seed++) {
    const random = new Random(seed);
    const model = new Model(random.between(3 * GRANULES_PER_SEQUENCE, 40));
    const text = Array.from({ length: 700 }, () => random.below(9));
    for (let i = 0; i < 12; i++) {
      // Mostly the beginning of one text, then something else.
      const prompt = [...text.slice(0, random.below(500)), ...Array.from({ length: random.below(90) }, () => 9)];
      let one = model.begin(prompt);
      hits += one.tokens.length > BORDER_TOKENS ? 1 : 0;
      while (one.tokens.length < prompt.length + 150) {
        const { length } = one.tokens;
        const isPrompt = length < prompt.length;
        const next = isPrompt ? prompt.slice(length, length + random.between(1, 200)) : [random.below(9)];
        const draft = isPrompt || random.below(2) === 0 ? [] : Array.from({ length: random.between(1, 64) }, () => 7);
        const accepted = random.below(draft.length + 1);
        if (!model.step(one, next, draft, accepted, random.below(2) === 0)) assert.fail("a sequence alone has room");
        if (random.below(8) === 0) one.state.rewind();
        if (draft.length === 0) model.enter(one);
        one.state.slide(one.tokens.length);
        if (draft.length > 0 || random.below(10) > 0) continue;
        const child = one.state.fork(one.tokens.length);
        assert.ok(child);
        one.state.release();
        one = { state: child, tokens: [...one.tokens] };
        forks += 1;
      }
      one.state.release();
    }
    for (const { pool } of model.memory) assert.equal(pool.used, 0, `seed ${seed}`);
    model.tree.clear();
    for (const { pool } of model.memory) assert.equal(pool.idle, 0, `seed ${seed}`);
  }
  assert.ok(hits > 300 && forks > 500, `${hits} hits, ${forks} forks`);
});

test("a granule more than is needed is taken only where there is room", () => {
  const memory = [{ group: GROUPS[1] ?? assert.fail(), pool: new BlockPool(8) }];
  const state = new SequenceState(memory);
  assert.ok(state.grow(20 * BORDER_TOKENS));
  assert.equal(memory[0]?.pool.free, 2);
  assert.ok((state.tables[0]?.[19] ?? -1) >= 0, "the last border has one");
  const other = new SequenceState(memory);
  assert.ok(other.grow(5 * BORDER_TOKENS));
  assert.equal(memory[0]?.pool.free, 1);
  state.release();
  other.release();
  assert.equal(memory[0]?.pool.used, 0);
});
