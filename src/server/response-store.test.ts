import assert from "node:assert/strict";
import { test } from "node:test";

import { ResponseStore, type StoredResponse } from "./response-store.ts";

function stored(id: string, text = ""): StoredResponse {
  return { body: { id } as StoredResponse["body"], messages: [{ role: "user", content: text }] };
}

test("a response is its key's own, until it is deleted or an hour has passed", () => {
  let now = 0;
  const store = new ResponseStore(() => now);
  store.put("ann", stored("a"));
  assert.equal(store.get("ann", "a")?.body.id, "a");
  assert.equal(store.get("bob", "a"), undefined);
  assert.equal(store.delete("bob", "a"), false);
  store.put("ann", stored("b"));
  assert.equal(store.delete("ann", "b"), true);
  assert.equal(store.get("ann", "b"), undefined);
  now = 3_600_001;
  assert.equal(store.get("ann", "a"), undefined);
});

test("so many, and so much text, are kept at most; the oldest go first", () => {
  const store = new ResponseStore(() => 0);
  for (let i = 0; i < 1200; i++) store.put("", stored(String(i)));
  assert.equal(store.get("", "199"), undefined);
  assert.equal(store.get("", "200")?.body.id, "200");
  for (let i = 0; i < 5; i++) store.put("", stored(`large ${i}`, "x".repeat(8 * 2 ** 20)));
  assert.equal(store.get("", "1199"), undefined);
  assert.equal(store.get("", "large 1"), undefined);
  assert.equal(store.get("", "large 4")?.body.id, "large 4");
});
