import assert from "node:assert/strict";
import { test } from "node:test";
import { RequestError } from "../../errors.ts";
import { METHOD_NAMES } from "./methods.ts";
import { DEFAULT_NODES, parseSpeculation } from "./option.ts";

test("names, several names, and settings become a plan", () => {
  assert.deepEqual(parseSpeculation("off"), { methods: [], nodes: DEFAULT_NODES });
  assert.ok(parseSpeculation("auto").methods.length > 0);
  for (const name of METHOD_NAMES) assert.deepEqual(parseSpeculation(name).methods, [name]);
  assert.deepEqual(parseSpeculation(METHOD_NAMES.join("+")).methods, METHOD_NAMES);
  assert.deepEqual(parseSpeculation("ngram+ngram").methods, ["ngram"]);
  assert.deepEqual(parseSpeculation({ drafter: "ngram", depth: 40 }), { methods: ["ngram"], depth: 40, nodes: 40 });
  assert.deepEqual(parseSpeculation({ drafter: "ngram", tree: 5 }), { methods: ["ngram"], nodes: 5 });
});

test("what isn't there is refused by name, with what there is", () => {
  const wrong: readonly [option: unknown, message: RegExp][] = [
    ["medusa", /"medusa" isn't built yet; there is auto, off, ngram/],
    ["ngrm", /no speculation "ngrm" \(did you mean ngram\?\); there is auto/],
    ["", /no speculation ""/],
    ["ngram+", /no speculation ""/],
    ["ngram+off", /stands alone/],
    [7, /a name or an object, not 7/],
    [null, /not null/],
    [{}, /drafter must be a name, not undefined/],
    [{ drafter: "ngram", deep: 3 }, /has no "deep"/],
    [{ drafter: "draft", model: 3 }, /speculation\.model must be a string, not 3/],
    [{ drafter: "ngram", depth: 0 }, /speculation\.depth must be a whole number from 1 to 64, not 0/],
    [{ drafter: "ngram", tree: "8" }, /speculation\.tree must be/],
  ];
  for (const [option, message] of wrong)
    assert.throws(
      () => parseSpeculation(option),
      (error) => error instanceof RequestError && message.test(error.message),
      JSON.stringify(option),
    );
});
