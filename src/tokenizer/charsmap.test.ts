/** Normaliser tables that are no tables; what real ones do is in recorded-pieces.test.ts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "../../test/random-text.ts";
import { ArtifactError } from "../errors.ts";
import { charsmapNormalizer } from "./charsmap.ts";

/** A table of `trie` units and some replacements. */
function table(trie: readonly number[], replacements: string): Uint8Array {
  const tail = new TextEncoder().encode(replacements);
  const bytes = new Uint8Array(4 + 4 * trie.length + tail.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 4 * trie.length, true);
  trie.forEach((unit, i) => view.setUint32(4 + 4 * i, unit, true));
  bytes.set(tail, 4 + 4 * trie.length);
  return bytes;
}

test("a table of one character: where it stands it is replaced, alone or in a grapheme", () => {
  // Node 1 holds the root's children (at 1 ^ byte); "A" is at 0x40, its leaf beside it at 0x40 ^ 2.
  const trie = Array.from({ length: 0x80 }, () => 0);
  trie[0] = 1 << 10;
  trie[0x40] = 0x41 | (1 << 8) | (2 << 10);
  trie[0x42] = 0x80000000;
  const normalize = charsmapNormalizer(table(trie, "xy\0"), "here");
  assert.equal(normalize("A"), "xy");
  assert.equal(normalize("BAB"), "BxyB");
  assert.equal(normalize("A\u0301B"), "xyB", "the whole grapheme goes with its beginning");
  assert.equal(normalize("\r\nA"), "\r\nxy");
  assert.equal(normalize(""), "");
});

test("a replacement that would let a text grow without bounds is refused", () => {
  assert.throws(() => charsmapNormalizer(table([0], `${"x".repeat(300)}\0`), "here"), ArtifactError);
});

test("random tables are refused or give some text, and always end", () => {
  const random = seededRandom(5);
  for (let i = 0; i < 300; i++) {
    const units = Array.from({ length: 1 + random.below(400) }, () => random.below(2 ** 32));
    try {
      assert.equal(typeof charsmapNormalizer(table(units, "a\0bc\0"), "here")("Aé\u0301 ﬁ 你好 \r\n"), "string");
    } catch (error) {
      assert.ok(error instanceof ArtifactError, String(error));
    }
  }
});
