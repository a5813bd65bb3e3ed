import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../../test/support/random.ts";
import { type DraftTree, pathTo } from "./draft-tree.ts";
import { suffix } from "./suffix.ts";
import { ROOT, SuffixAutomaton } from "./suffix-automaton.ts";

const ids = (text: string): Int32Array => Int32Array.from(text, (letter) => letter.charCodeAt(0));

/** All paths of a tree, as texts. */
function paths(tree: DraftTree | undefined): string[] {
  return (tree?.tokens ?? []).map((_, node) =>
    pathTo(tree ?? { tokens: [], parents: [] }, node)
      .map((at) => String.fromCharCode(tree?.tokens[at] ?? 0))
      .join(""),
  );
}

test("an automaton knows every part of a text, how often it occurred and what followed", () => {
  const random = new Random(2);
  for (let round = 0; round < 150; round++) {
    const text = Array.from({ length: random.between(1, 40) }, () => "abc"[random.below(3)] ?? "a").join("");
    const automaton = new SuffixAutomaton();
    for (const letter of ids(text)) automaton.append(letter);
    const walk = (part: string): number => {
      let state = ROOT;
      for (const letter of ids(part)) if (state >= 0) state = automaton.next(state, letter);
      return state;
    };
    for (let from = 0; from < text.length; from++) {
      for (let to = from + 1; to <= text.length; to++) {
        const part = text.slice(from, to);
        const state = walk(part);
        let occurred = 0;
        const after = new Set<string>();
        for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + 1)) {
          occurred += 1;
          const next = text[at + part.length];
          if (next !== undefined) after.add(next);
        }
        assert.equal(automaton.count(state), occurred, `${part} in ${text}`);
        const followers = [...automaton.followers(state, 9)].map(({ token }) => String.fromCharCode(token));
        assert.deepEqual(new Set(followers), after, `behind ${part} in ${text}`);
      }
    }
    for (const absent of ["abcabcabcabcabcabcabcabcabcabcabcabcabcabc", "d"]) assert.equal(walk(absent), -1);
    let longest = text.length - 1;
    while (longest > 0 && text.lastIndexOf(text.slice(-longest), text.length - longest - 1) < 0) longest -= 1;
    assert.equal(automaton.lengthOf(automaton.repeated), longest, text);
  }
});

test("continuations make a tree, the frequent ones first", () => {
  const drafter = suffix().follow({ prompt: ids(""), tenant: "" });
  const tree = drafter.propose(ids("now the cat sat! the cat ran? the dog hid; the "), 5);
  const found = paths(tree);
  assert.equal(found[0], "c");
  assert.ok(found.includes("cat") && found.includes("d"), found.join());
  assert.ok((tree?.chances?.[0] ?? 0) > 0.4);
  assert.equal(
    suffix()
      .follow({ prompt: ids(""), tenant: "" })
      .propose(ids("abc"), 5),
    undefined,
  );
});

test("earlier answers are drafts for later sequences of the same tenant, and of no other", () => {
  const method = suffix();
  const first = method.follow({ prompt: ids("Q1:"), tenant: "mine" });
  first.propose(ids("Q1:"), 8);
  first.end?.(ids("Q1:All good things"));
  const draft = (tenant: string): string[] =>
    paths(method.follow({ prompt: ids("Q2:"), tenant }).propose(ids("Q2:All go"), 3));
  assert.deepEqual(draft("mine"), ["o", "od", "od "]);
  assert.deepEqual(draft("yours"), []);
});

test("what is kept of a tenant is bounded, the newest answers stay", () => {
  const method = suffix();
  const random = new Random(1);
  const answer = Int32Array.from({ length: 20_000 }, () => random.below(1000));
  const start = Int32Array.of(5);
  for (let i = 0; i < 4; i++) {
    const shifted = answer.map((token) => token + 1000 * i);
    method.follow({ prompt: start, tenant: "" }).end?.(Int32Array.of(5, ...shifted));
  }
  const behind = (i: number): readonly number[] | undefined => {
    const known = answer.subarray(700, 720).map((token) => token + 1000 * i);
    return method.follow({ prompt: start, tenant: "" }).propose(Int32Array.of(5, ...known), 1)?.tokens;
  };
  assert.deepEqual(behind(3), [(answer[720] ?? 0) + 3000]);
  assert.equal(behind(0), undefined);
});
