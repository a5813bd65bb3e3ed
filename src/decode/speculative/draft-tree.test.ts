import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../../test/support/random.ts";
import { chain, cut, depthsOf, type DraftTree, isChain, merge, pathTo, verify } from "./draft-tree.ts";

function randomTree(random: Random, nodes: number): DraftTree {
  const tokens = Array.from({ length: nodes }, () => random.below(4));
  const parents = tokens.map((_, i) => random.between(-1, i - 1));
  return { tokens, parents, chances: tokens.map(() => random.below(100) / 100) };
}

/** Every path from the root, as text. */
function paths(tree: DraftTree): Set<string> {
  return new Set(
    tree.tokens.map((_, node) =>
      pathTo(tree, node)
        .map((at) => tree.tokens[at])
        .join(),
    ),
  );
}

test("verification follows the samples from child to child", () => {
  const tree = { tokens: [5, 6, 7, 7, 8], parents: [-1, -1, 0, 1, 3] };
  const sampled = (samples: Record<number, number>) => verify(tree, (node) => samples[node] ?? -1);
  assert.deepEqual(sampled({ [-1]: 6, 1: 7, 3: 8, 4: 5 }), [1, 3, 4]);
  assert.deepEqual(sampled({ [-1]: 5, 0: 8 }), [0]);
  assert.deepEqual(sampled({ [-1]: 9, 0: 7 }), []);
});

test("a cut keeps the named nodes whose parents it keeps, with chances and predictions", () => {
  const random = new Random(5);
  for (let round = 0; round < 200; round++) {
    const tree = { ...randomTree(random, random.below(20)), predicted: new Set([0, 2, 3]) };
    const wanted = new Set(tree.tokens.flatMap((_, node) => (random.below(3) > 0 ? [node] : [])));
    const part = cut(tree, (node) => wanted.has(node));
    const survivors = tree.tokens.flatMap((_, node) =>
      pathTo(tree, node).every((at) => wanted.has(at)) ? [node] : [],
    );
    assert.deepEqual(
      part.tokens,
      survivors.map((node) => tree.tokens[node]),
    );
    assert.deepEqual(
      part.chances,
      survivors.map((node) => tree.chances?.[node]),
    );
    assert.deepEqual(
      depthsOf(part),
      survivors.map((node) => depthsOf(tree)[node]),
    );
    assert.deepEqual(
      [...(part.predicted ?? [])].map((node) => survivors[node]),
      survivors.filter((node) => tree.predicted.has(node)),
    );
  }
});

test("a merged tree has the paths of all, each once, with the best chance", () => {
  const random = new Random(6);
  for (let round = 0; round < 200; round++) {
    const trees = Array.from({ length: random.between(1, 3) }, () => randomTree(random, random.below(12)));
    const all = merge(trees);
    assert.ok(all);
    assert.deepEqual(paths(all), new Set(trees.flatMap((tree) => [...paths(tree)])));
    depthsOf(all);
  }
  const both = merge([
    chain([1, 2, 3], [0.5, 0.5, 0.5]),
    { ...chain([1, 2, 4], [0.9, 0.1, 0.2]), predicted: new Set([1, 2]) },
  ]);
  assert.deepEqual(both, {
    tokens: [1, 2, 3, 4],
    parents: [-1, 0, 1, 1],
    chances: [0.9, 0.5, 0.5, 0.2],
    predicted: new Set([1, 3]),
  });
  assert.ok(isChain(chain([4, 5])) && !isChain({ tokens: [1, 2], parents: [-1, -1] }));
  assert.equal(merge([]), undefined);
});
