import assert from "node:assert/strict";
import { test } from "node:test";
import { type DraftTree, pathTo, verify } from "./draft-tree.ts";
import type { Drafter } from "./drafter.ts";
import { lookahead } from "./lookahead.ts";

/** A model that counts to ten and begins again, whatever came before its last token. */
const next = (token: number): number => (token + 1) % 10;

function step(drafter: Drafter, tokens: number[], part: (tree: DraftTree) => DraftTree): number {
  const draft = drafter.propose(Int32Array.from(tokens), 16);
  assert.ok(draft && draft.tokens.length <= 16);
  const tree = part(draft);
  const last = tokens.at(-1) ?? 0;
  const sampleAt = (node: number): number => next(node < 0 ? last : (tree.tokens[node] ?? 0));
  drafter.learn?.(tree, sampleAt);
  const path = verify(tree, sampleAt);
  tokens.push(...[-1, ...path].map(sampleAt));
  return path.length;
}

test("from its own samples it learns n-grams of the model, which are then right", () => {
  const drafter = lookahead.follow({ prompt: new Int32Array(), tenant: "" });
  const tokens = [3, 1, 4, 1, 5];
  const accepted = Array.from({ length: 60 }, () => step(drafter, tokens, (tree) => tree));
  for (const [i, token] of tokens.entries()) if (i > 4) assert.equal(token, next(tokens[i - 1] ?? 0));
  const late = accepted.slice(30).reduce((sum, count) => sum + count, 0);
  assert.ok(late >= 60, `${late} tokens right in 30 steps: ${accepted.join()}`);
});

test("a draft that was cut teaches as much as was left of it", () => {
  const drafter = lookahead.follow({ prompt: new Int32Array(), tenant: "" });
  const tokens = [2];
  for (let i = 0; i < 40; i++) {
    step(drafter, tokens, (tree) => {
      const short = tree.tokens.flatMap((_, node) => (pathTo(tree, node).length <= 2 ? [node] : []));
      const places = new Map(short.map((node, place) => [node, place]));
      return {
        tokens: short.map((node) => tree.tokens[node] ?? 0),
        parents: short.map((node) => places.get(tree.parents[node] ?? -1) ?? -1),
        chances: short.map((node) => tree.chances?.[node] ?? 0),
      };
    });
  }
  for (const [i, token] of tokens.entries()) if (i > 0) assert.equal(token, next(tokens[i - 1] ?? 0));
});
