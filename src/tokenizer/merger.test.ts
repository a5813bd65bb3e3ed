import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "../../test/random-text.ts";
import { mergeTableFromList, mergeTableFromScores } from "./merge-table.ts";
import { Merger } from "./merger.ts";

/** What byte-pair merging means: again and again the pair of the lowest rank, the leftmost of equals. */
function mergeNaively(
  symbols: readonly number[],
  rankOf: (left: number, right: number) => readonly [number, number] | undefined,
): number[] {
  const word = [...symbols];
  for (;;) {
    let best: { at: number; rank: number; result: number } | undefined;
    for (let at = 0; at + 1 < word.length; at++) {
      const found = rankOf(word[at] ?? 0, word[at + 1] ?? 0);
      if (found !== undefined && (best === undefined || found[0] < best.rank))
        best = { at, rank: found[0], result: found[1] };
    }
    if (best === undefined) return word;
    word.splice(best.at, 2, best.result);
  }
}

test("short and long words merge as the definition says", () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = seededRandom(seed);
    const triples: number[] = [];
    const ranks = new Map<string, readonly [number, number]>();
    for (let id = 4; id < 40; id++) {
      const left = random.below(id);
      const right = random.below(id);
      ranks.set(`${left} ${right}`, [triples.length / 3, id]);
      triples.push(left, right, id);
    }
    const merger = new Merger(mergeTableFromList(Int32Array.from(triples)));
    for (const length of [0, 1, 2, 5, 23, 24, 25, 26, 60, 300]) {
      const word = Array.from({ length }, () => random.below(4));
      const symbols = Int32Array.from(word);
      const count = merger.merge(symbols, length);
      assert.deepEqual(
        [...symbols.subarray(0, count)],
        mergeNaively(word, (left, right) => ranks.get(`${left} ${right}`)),
        `seed ${seed}, ${length} symbols`,
      );
    }
  }
});

test("equal scores merge from the left, in short and long words", () => {
  const texts = ["a", "b", "ab", "ba", "aba", "bab", "abab"];
  const scores = Float32Array.of(0, 0, -1, -1, -1, -2, -0.5);
  const idOf = (text: string): number | undefined => (texts.includes(text) ? texts.indexOf(text) : undefined);
  const ranked = [...new Set(scores)].toSorted((x, y) => y - x);
  const rankOf = (left: number, right: number): readonly [number, number] | undefined => {
    const id = idOf(`${texts[left] ?? ""}${texts[right] ?? ""}`);
    return id === undefined ? undefined : [ranked.indexOf(scores[id] ?? 0), id];
  };
  const merger = new Merger(mergeTableFromScores(texts, idOf, scores));
  const random = seededRandom(7);
  for (let round = 0; round < 200; round++) {
    const word = Array.from({ length: 1 + random.below(60) }, () => random.below(2));
    const symbols = Int32Array.from(word);
    const count = merger.merge(symbols, symbols.length);
    assert.deepEqual([...symbols.subarray(0, count)], mergeNaively(word, rankOf));
  }
});
