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
