/** The tier against a naive one that keeps whole prefixes as texts. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { Random } from "../../test/support/random.ts";
import { HostTier } from "./host-tier.ts";

const BLOCK = 16;

/** Prefixes that branch often: two kinds of blocks, which begin alike. */
function tokensOf(random: Random, blocks: number): Int32Array {
  return Int32Array.from(
    Array.from({ length: blocks }, () => random.below(2)).flatMap((kind) =>
      Array.from({ length: BLOCK }, (_, i) => (i === 9 ? kind : i)),
    ),
  );
}

test("random puts and gets are those of a naive tier", () => {
  const random = new Random(11);
  const budget = 4000;
  const tier = new HostTier(budget);
  /** In order of use. */
  const naive = new Map<string, { bytes: number[]; models: number }>();
  const keyOf = (salt: string, tokens: Int32Array): string => `${salt} ${tokens.join(",")}`;
  const total = (): number => [...naive.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
  let [hits, evictions] = [0, 0];
  for (let i = 0; i < 50_000; i++) {
    const salt = random.pick(["", "a"]);
    const tokens = tokensOf(random, 1 + random.below(6));
    if (random.below(2) === 0) {
      const bytes = Array.from({ length: 50 + random.below(300) }, () => random.below(256));
      const models = random.below(4);
      tier.put(salt, tokens, { groups: [undefined, Uint8Array.from(bytes)], models });
      const key = keyOf(salt, tokens);
      naive.delete(key);
      naive.set(key, { bytes, models });
      for (const oldest of naive.keys()) {
        if (total() <= budget) break;
        naive.delete(oldest);
        evictions += 1;
      }
    } else {
      const from = random.below(3);
      const limit = random.below(tokens.length + BLOCK);
      const expected: number[][] = [];
      for (let entry = from; (entry + 1) * BLOCK <= Math.min(limit, tokens.length); entry++) {
        const key = keyOf(salt, tokens.subarray(0, (entry + 1) * BLOCK));
        const found = naive.get(key);
        if (found === undefined) break;
        naive.delete(key);
        naive.set(key, found);
        expected.push([found.models, ...found.bytes]);
      }
      const got = tier.get(salt, tokens, from, limit);
      assert.deepEqual(
        got.map(({ groups, models }) => [models, ...(groups[1] ?? [])]),
        expected,
        `operation ${i}`,
      );
      hits += got.length;
    }
    assert.equal(tier.blocks, naive.size);
    assert.equal(tier.bytes, total());
  }
  assert.ok(hits > 1000 && evictions > 1000, `${hits} hits, ${evictions} evictions`);
});

test("what is put again keeps the groups that it lacks now; a block beyond the budget leaves nothing", () => {
  const tier = new HostTier(100);
  const tokens = new Int32Array(BLOCK);
  tier.put("", tokens, { groups: [Uint8Array.of(1), undefined], models: 1 });
  tier.put("", tokens, { groups: [undefined, Uint8Array.of(2)], models: 3 });
  assert.deepEqual(tier.get("", tokens, 0, BLOCK), [{ groups: [Uint8Array.of(1), Uint8Array.of(2)], models: 3 }]);
  tier.put("", new Int32Array(2 * BLOCK), { groups: [new Uint8Array(200), undefined], models: 0 });
  assert.equal(tier.bytes, 0);
  assert.deepEqual(tier.get("", tokens, 0, BLOCK), []);
});
