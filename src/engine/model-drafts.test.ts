import assert from "node:assert/strict";
import { test } from "node:test";
import { CostModel } from "../decode/speculative/cost-model.ts";
import { chain } from "../decode/speculative/draft-tree.ts";
import { ModelDrafts } from "./model-drafts.ts";

/** Steps that cost so much for one row, and so much more for each further one. */
function costs(first: number, further: number): CostModel {
  const model = new CostModel();
  for (let i = 0; i < 40; i++) for (let rows = 1; rows <= 24; rows++) model.measure(rows, first + further * (rows - 1));
  return model;
}

const draft = (tokens: number) => chain(Array.from({ length: tokens }, () => 1));

test("a model drafts as deep as its steps pay", () => {
  const drafts = new ModelDrafts();
  const answering = costs(10, 1);
  assert.equal(drafts.depth(8, 1, [answering]), 8, "before it ran, it is tried");
  const cheap = drafts.depth(8, 1, [answering, costs(0.5, 0.1)]);
  const dear = drafts.depth(8, 1, [answering, costs(4, 1)]);
  assert.ok(cheap > dear && dear < 4, `${cheap}, ${dear}`);
  assert.equal(drafts.depth(8, 1, [answering, costs(12, 1)]), 0);
  // Where every row costs as much as a step there is nothing to win.
  assert.equal(drafts.depth(8, 16, [costs(10, 10), costs(1, 1)]), 0);
});

test("one that is mostly wrong is not asked any more, until it is right again", () => {
  const drafts = new ModelDrafts();
  const models = [costs(10, 2), costs(1, 0.2)];
  assert.ok(drafts.depth(8, 1, models) > 0);
  for (let i = 0; i < 100; i++) {
    drafts.made(3, true);
    drafts.verified(draft(3), []);
  }
  assert.equal(drafts.depth(8, 1, models), 0);
  for (let i = 0; i < 300; i++) {
    drafts.made(4, false);
    drafts.verified(draft(4), [0, 1, 2, 3]);
  }
  assert.ok(drafts.depth(8, 1, models) >= 4);
});
