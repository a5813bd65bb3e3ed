import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "../../test/random-text.ts";
import { WordCache } from "./word-cache.ts";

test("what the cache finds is what was added, also after it has started anew", () => {
  const cache = new WordCache();
  const random = seededRandom(3);
  let hits = 0;
  for (let round = 0; round < 120_000; round++) {
    const word = String(random.below(2) === 0 ? random.below(500) : random.below(1_000_000));
    const text = `<${word}>`;
    const entry = cache.find(text, 1, text.length - 1);
    if (entry >= 0) {
      hits++;
      const ids = Array.from({ length: cache.idCount(entry) }, (_, i) => cache.id(cache.firstId(entry) + i));
      assert.deepEqual(ids, [Number(word), word.length]);
    } else {
      cache.add(cache.lastHash, text, 1, text.length - 1, Int32Array.of(Number(word), word.length));
      assert.ok(cache.find(text, 1, text.length - 1) >= 0);
    }
  }
  assert.ok(hits > 40_000);
});
