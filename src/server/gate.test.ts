import assert from "node:assert/strict";
import { test } from "node:test";

import { HttpError } from "./failure.ts";
import { Gate } from "./gate.ts";

test("places are counted, given back once, and refused beyond the limit", () => {
  const gate = new Gate(2, 1);
  const leave = gate.enter(2);
  gate.enter(1);
  assert.throws(
    () => gate.enter(1),
    (error: unknown) => error instanceof HttpError && error.status === 429,
  );
  leave();
  leave();
  assert.equal(gate.inside, 1);
  gate.enter(2);
});

test("a key that floods the queue shuts no other out: up to an equal share everybody gets in", () => {
  const gate = new Gate(2, 4);
  const leaves = Array.from({ length: 6 }, () => gate.enter(1, "flood"));
  assert.throws(() => gate.enter(1, "flood"), HttpError);
  for (let i = 0; i < 3; i++) gate.enter(1, "calm");
  assert.throws(() => gate.enter(1, "calm"), HttpError, "half of six is three");
  gate.enter(2, "third");
  assert.throws(() => gate.enter(1, "third"), HttpError, "a third of six is two");
  for (const leave of leaves.splice(0, 5)) leave();
  assert.equal(gate.inside, 6);
  assert.throws(() => gate.enter(1, "calm"), HttpError);
  leaves[0]?.();
  gate.enter(1, "calm");
});

test("a request that could never run is let in, whoever is inside: the engine says what is wrong with it", () => {
  const gate = new Gate(1, 0);
  gate.enter(1);
  assert.throws(() => gate.enter(1), HttpError);
  gate.enter(9)();
  assert.equal(gate.inside, 1);
});

test("a draining gate lets nobody in, and tells when it is empty", async () => {
  const gate = new Gate(1, 0);
  const leave = gate.enter(1);
  gate.drain();
  assert.throws(
    () => gate.enter(1),
    (error: unknown) => error instanceof HttpError && error.status === 503,
  );
  let isEmpty = false;
  const empty = gate.empty().then(() => (isEmpty = true));
  await Promise.resolve();
  assert.equal(isEmpty, false);
  leave();
  await empty;
});
