import assert from "node:assert/strict";
import { test } from "node:test";

import { RequestError } from "../errors.ts";
import { ApiKeys, parseKeyFile } from "./api-keys.ts";

test("a key is known by its name, from either header", () => {
  const keys = new ApiKeys([
    { name: "a", key: "secret-one" },
    { name: "b", key: "secret-two" },
  ]);
  const nameOf = (headers: Record<string, string>): string | undefined => keys.nameOf(new Headers(headers));
  assert.equal(nameOf({ authorization: "Bearer secret-two" }), "b");
  assert.equal(nameOf({ "x-api-key": "secret-one" }), "a");
  for (const wrong of [{}, { authorization: "secret-two" }, { "x-api-key": "" }, { authorization: "Bearer secret" }]) {
    assert.equal(nameOf(wrong), undefined);
  }
  assert.equal(new ApiKeys([]).nameOf(new Headers()), "");
});

test("a file of keys: names, comments, and what is wrong", () => {
  assert.deepEqual(parseKeyFile("# team\nann:abcdefgh\n\n  ijklmnop\r\n"), [
    { name: "ann", key: "abcdefgh" },
    { name: "line 4", key: "ijklmnop" },
  ]);
  assert.throws(() => parseKeyFile("# none\n"), RequestError);
  assert.throws(() => parseKeyFile("two words"), /line 1/);
  assert.throws(() => new ApiKeys([{ name: "a", key: "short" }]), /fewer than 8/);
});
