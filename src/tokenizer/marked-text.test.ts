import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../test/support/random.ts";
import { MarkedText, type Origin } from "./marked-text.ts";

const ORIGINS: readonly Origin[] = ["template", "assistant", "content"];

/** The oracle: a list of characters, each with its origin. */
type Characters = readonly (readonly [string, Origin])[];

function charactersOf(text: MarkedText): Characters {
  return text.segments().flatMap((segment) => Array.from(segment.text).map((char) => [char, segment.origin] as const));
}

function textOf(characters: Characters): MarkedText {
  return MarkedText.join(characters.map(([char, origin]) => MarkedText.of(char, origin)));
}

function randomCharacters(random: Random): Characters {
  return Array.from({ length: random.below(12) }, () => {
    return ["abc".charAt(random.below(3)), ORIGINS[random.below(3)] ?? "content"] as const;
  });
}

test("cutting, joining and rewriting keep every character's origin", () => {
  for (let seed = 1; seed <= 2000; seed++) {
    const random = new Random(seed);
    const characters = randomCharacters(random);
    const text = textOf(characters);
    assert.deepEqual(charactersOf(text), characters, `seed ${seed}`);
    const from = random.below(characters.length + 1);
    const to = from + random.below(characters.length + 1 - from);
    const part = characters.slice(from, to);
    assert.deepEqual(charactersOf(text.slice(from, to)), part, `seed ${seed}, slice ${from} to ${to}`);
    assert.equal(text.slice(from, to).value, part.map(([char]) => char).join(""));

    const others = randomCharacters(random);
    assert.deepEqual(charactersOf(MarkedText.join([text, textOf(others), text])), [
      ...characters,
      ...others,
      ...characters,
    ]);
    const doubled = characters.flatMap(([char, origin]) => [[char, origin] as const, [char, origin] as const]);
    assert.deepEqual(charactersOf(text.map((run) => run.replaceAll(/./g, "$&$&"))), doubled);

    const seen = new Set(part.map(([, origin]) => origin));
    const worst = seen.has("content") ? "content" : seen.has("assistant") ? "assistant" : "template";
    assert.equal(text.worst(from, to), worst, `seed ${seed}, worst of ${from} to ${to}`);
    assert.equal(text.isUniform(from, to), seen.size <= 1, `seed ${seed}, uniform from ${from} to ${to}`);
  }
});
