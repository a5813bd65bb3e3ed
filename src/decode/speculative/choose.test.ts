import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../../test/support/random.ts";
import { Acceptance } from "./acceptance.ts";
import { behindFirst, choose, couldPay } from "./choose.ts";
import { CostModel } from "./cost-model.ts";
import { chain, type DraftTree } from "./draft-tree.ts";

const certain = (tokens: number, chance: number): DraftTree =>
  chain(
    Array.from({ length: tokens }, (_, i) => i),
    Array.from({ length: tokens }, () => chance),
  );
const sizes = (drafts: readonly (DraftTree | undefined)[]): number[] => drafts.map((tree) => tree?.tokens.length ?? 0);

test("drafts are as deep as they pay, and not at all where they don't", () => {
  const third = (rows: number): number => 1 + 0.33 * (rows - 1);
  assert.deepEqual(sizes(choose([certain(16, 1)], 1, 16, third).drafts), [16]);
  assert.deepEqual(sizes(choose([certain(16, 0.2)], 1, 16, third).drafts), [0]);
  const [some = 0] = sizes(choose([certain(16, 0.8)], 1, 16, third).drafts);
  assert.ok(some > 1 && some < 6, `${some} tokens`);
  // Where every row costs as much as a step, nothing pays; where rows are free, everything does.
  assert.deepEqual(sizes(choose([certain(9, 1)], 1, 16, (rows) => rows).drafts), [0]);
  assert.deepEqual(sizes(choose([certain(9, 0.5), certain(9, 0.5)], 2, 99, () => 1).drafts), [9, 9]);
  assert.equal(choose([undefined], 1, 9, third).gain, 1);
  assert.ok(couldPay(1, 16, third) && !couldPay(1, 16, (rows) => rows) && !couldPay(1, 0, third));
});

test("a kernel's step in the costs is used to its edge", () => {
  const cost = (rows: number): number => (rows <= 4 ? 1.1 : 9);
  assert.deepEqual(sizes(choose([certain(16, 0.9)], 1, 16, cost).drafts), [3]);
});

test("no part of the trees makes more tokens a millisecond than the chosen one", () => {
  const random = new Random(3);
  for (let round = 0; round < 200; round++) {
    const trees = [1, 2].map((): DraftTree => {
      const tokens = Array.from({ length: random.between(0, 5) }, (_, i) => i);
      return {
        tokens,
        parents: tokens.map((i) => random.between(-1, i - 1)),
        chances: tokens.map(() => random.below(100) / 99),
      };
    });
    const costs = Array.from({ length: 20 }, (_, i) => 1 + i * (0.05 + random.below(40) / 100));
    const { gain } = choose(trees, 3, 10, (rows) => costs[rows] ?? Infinity);
    // Every set of nodes that has its parents.
    const nodes = trees.flatMap(({ tokens }, t) => tokens.map((node) => [t, node] as const));
    let best = 0;
    for (let set = 0; set < 2 ** nodes.length; set++) {
      const chances = nodes.map(([t, node], i) => {
        const tree = trees[t];
        if ((set & (1 << i)) === 0 || tree === undefined) return 0;
        let chance = 1;
        for (let at = node; at >= 0; at = tree.parents[at] ?? -1) {
          const place = nodes.findIndex(([u, one]) => u === t && one === at);
          if ((set & (1 << place)) === 0) return -1;
          chance *= tree.chances?.[at] ?? 0;
        }
        return chance;
      });
      if (chances.includes(-1)) continue;
      const rows = 3 + nodes.filter((_, i) => (set & (1 << i)) !== 0).length;
      best = Math.max(
        best,
        (3 + chances.reduce((a, b) => a + b, 0)) / (costs[rows] ?? Infinity) / (3 / (costs[3] ?? 1)),
      );
    }
    assert.ok(Math.abs(Math.max(gain, 1.05) - Math.max(best, 1.05)) < 1e-9, `round ${round}: ${gain}, not ${best}`);
  }
});

test("behind a first token stand its children, at the chance that it comes", () => {
  const tree = { tokens: [1, 2, 3, 4], parents: [-1, 0, 1, -1], chances: [0.5, 0.8, 0.9, 0.1] };
  assert.deepEqual(behindFirst(tree), { tokens: [2, 3], parents: [-1, 0], chances: [0.4, 0.9] });
  assert.equal(behindFirst({ tokens: [1, 2], parents: [-1, -1] }), undefined);
});

test("chances become what was measured, by class; a sequence's own count more than all others'", () => {
  const all = new Acceptance();
  const [good, bad] = [new Acceptance(all), new Acceptance(all)];
  const text = (length: number, offset: number): Int32Array => Int32Array.from({ length }, (_, i) => i + offset);
  for (let length = 1; length < 60; length += 3) {
    good.watch(chain([length, length + 1], [0.5, 0.9]), length);
    good.compare(text(length + 3, 0));
    bad.watch(chain([length, length + 1], [0.5, 0.9]), length);
    bad.compare(text(length + 3, 7));
  }
  assert.ok(good.chance(0.5) > 0.8 && good.chance(0.9) > 0.85, `${good.chance(0.5)}, ${good.chance(0.9)}`);
  assert.ok(bad.chance(0.5) < 0.2, `${bad.chance(0.5)}`);
  assert.ok(Math.abs(all.chance(0.5) - 0.5) < 0.1);
  // Nothing was learned of its second tokens: their parents never came true.
  assert.ok(Math.abs(bad.chance(0.9) - all.chance(0.9)) < 1e-9);
  assert.equal(all.chance(0.25), 0.25);
});

test("a proposal is watched until the text decides it", () => {
  const acceptance = new Acceptance();
  acceptance.watch(chain([5, 6], [0.5, 0.5]), 1);
  acceptance.compare(Int32Array.of(4, 5));
  acceptance.watch(chain([9], [0.5]), 2);
  acceptance.compare(Int32Array.of(4, 5, 6, 9));
  // Two hits upon a prior of four trials at a half.
  assert.equal(acceptance.chance(0.5), 4 / 6);
});

test("costs are learned from steps: a line, and what was measured at a number of rows", () => {
  const model = new CostModel();
  assert.equal(model.cost(1), undefined);
  model.measure(1, 2);
  assert.ok((model.cost(9) ?? 0) > 2 && (model.cost(9) ?? 0) < 9, `${model.cost(9)}`);
  const truth = (rows: number): number => 2 + 0.7 * (rows - 1) + (rows > 8 ? 5 : 0);
  const random = new Random(2);
  for (let i = 0; i < 400; i++) {
    const rows = random.between(1, 16);
    // Now and then something else takes the processor.
    model.measure(rows, random.below(20) === 0 ? 10 * truth(rows) : truth(rows));
  }
  for (const rows of [1, 5, 8, 9, 16]) {
    const cost = model.cost(rows) ?? 0;
    assert.ok(Math.abs(cost / truth(rows) - 1) < 0.3, `${rows} rows: ${cost}, not ${truth(rows)}`);
  }
  assert.ok((model.cost(40) ?? 0) > (model.cost(16) ?? 0));
});
