import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../../test/support/random.ts";
import { RequestError } from "../../errors.ts";
import { buildDatastore, Datastore, vocabularyOf, type WordReader } from "./datastore.ts";
import { pathTo } from "./draft-tree.ts";
import { rest } from "./rest.ts";
import { suffixArray } from "./suffix-array.ts";

const ids = (text: string): Int32Array => Int32Array.from(text, (letter) => letter.charCodeAt(0));
const VOCABULARY = vocabularyOf(128, (id) => String.fromCharCode(id));

function inMemory(parts: readonly Int32Array[]): WordReader {
  const words = Int32Array.from(parts.flatMap((part) => [...part]));
  return {
    length: words.length,
    read: (first, count) => {
      assert.ok(first >= 0 && first + count <= words.length, `words ${first} to ${first + count} of ${words.length}`);
      return words.slice(first, first + count);
    },
    close: () => undefined,
  };
}

function open(...texts: readonly string[]): Datastore {
  return new Datastore(inMemory(buildDatastore(texts.map(ids), VOCABULARY)), "texts", VOCABULARY);
}

test("a suffix array has every place, in order of what stands there", () => {
  const random = new Random(7);
  for (let round = 0; round < 200; round++) {
    const tokens = Int32Array.from({ length: random.below(90) }, () => random.below(1 + random.below(9)));
    const places = [...suffixArray(tokens)];
    assert.deepEqual(
      [...places].sort((a, b) => a - b),
      [...tokens.keys()],
    );
    for (let i = 1; i < places.length; i++) {
      const [a, b] = [
        tokens.slice(places[i - 1], (places[i - 1] ?? 0) + 32),
        tokens.slice(places[i], (places[i] ?? 0) + 32),
      ];
      const d = a.findIndex((token, j) => token !== b[j]);
      assert.ok(d < 0 || (a[d] ?? -1) < (b[d] ?? -1), `round ${round}: ${a.join()} before ${b.join()}`);
    }
  }
});

test("the longest ending that the texts have is found, with all its places", () => {
  const random = new Random(8);
  for (let round = 0; round < 150; round++) {
    const letters = (length: number): string => Array.from({ length }, () => "abc"[random.below(3)] ?? "a").join("");
    const texts = [letters(30), letters(20), letters(1)];
    const tail = letters(12);
    const { length, from, to } = open(...texts).find(ids(tail), 9);
    const occurs = (part: string): number =>
      texts.reduce((sum, text) => sum + Array.from(ids(text)).filter((_, i) => text.startsWith(part, i)).length, 0);
    let longest = 9;
    while (longest > 0 && occurs(tail.slice(-longest)) === 0) longest -= 1;
    assert.equal(length, longest, `${tail} in ${texts.join(" ")}`);
    assert.equal(to - from, longest === 0 ? 0 : occurs(tail.slice(-longest)));
  }
});

test("what followed makes a tree by how often it did, and no text goes on into the next", () => {
  const drafter = rest(open("see the cat sit", "see the cat run", "see the dog", "the end")).follow({
    prompt: ids(""),
    tenant: "",
  });
  const tree = drafter.propose(ids("now see the "), 6);
  assert.ok(tree);
  const paths = tree.tokens.map((_, node) =>
    String.fromCharCode(...pathTo(tree, node).map((at) => tree.tokens[at] ?? 0)),
  );
  assert.equal(paths[0], "c");
  assert.ok(paths.includes("cat") && paths.includes("d"), paths.join());
  assert.equal(drafter.propose(ids("the end"), 6), undefined);
  assert.equal(drafter.propose(ids("zzz"), 6), undefined);
});

test("what is no datastore, or one of another model, is refused", () => {
  const words = buildDatastore([ids("some text")], VOCABULARY);
  const whole = words.flatMap((part) => [...part]);
  const refused = (file: readonly number[], reason: RegExp, vocabulary = VOCABULARY): void =>
    assert.throws(
      () => new Datastore(inMemory([Int32Array.from(file)]), "x", vocabulary),
      (error) => error instanceof RequestError && reason.test(error.message),
    );
  refused([], /x is no datastore/);
  refused(whole.slice(0, -1), /no datastore/);
  refused(whole.with(0, 1), /no datastore/);
  refused(whole.with(2, -5), /no datastore/);
  refused(whole.with(20, -1), /damaged/);
  refused(whole, /other tokens/, { ...VOCABULARY, check: 5 });
  // Numbers inside that lead nowhere give drafts that are worth nothing, and no error.
  const random = new Random(9);
  for (let round = 0; round < 200; round++) {
    const at = 5 + 130 + random.below(whole.length - 135);
    const file = inMemory([
      Int32Array.from(whole.with(at, random.below(2) === 0 ? -random.below(99) : random.below(2 ** 31))),
    ]);
    const drafter = rest(new Datastore(file, "x", VOCABULARY)).follow({ prompt: ids(""), tenant: "" });
    for (const token of drafter.propose(ids("some te"), 4)?.tokens ?? []) assert.ok(token >= 0 && token < 128);
  }
});
