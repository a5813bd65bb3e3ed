import assert from "node:assert/strict";
import { test } from "node:test";
import { RequestError } from "../../errors.ts";
import { checkGrammarSpec } from "./check-spec.ts";

test("every kind of grammar passes", () => {
  for (const spec of [
    { schema: { type: "object", properties: { a: { enum: [1, null, "x"] } } }, keyOrder: "any", strict: true },
    { json: "object", whitespace: "flexible" },
    { regex: "a+", flags: "i" },
    { gbnf: 'root ::= "a"' },
    { choice: ["a", "b"] },
    { sequence: [{ text: "a" }, { repeat: { until: "b" }, min: 0, max: 3 }, { without: ["c"] }] },
  ])
    checkGrammarSpec(spec);
});

test("what is no grammar is named", () => {
  const cycle: Record<string, unknown> = {};
  cycle["a"] = cycle;
  let deep: unknown = { text: "a" };
  for (let i = 0; i < 200; i++) deep = { repeat: deep };
  const cases: readonly (readonly [unknown, RegExp])[] = [
    [true, /grammar must be an object, not true/],
    [null, /grammar must be an object/],
    [{}, /grammar must have one of schema, /],
    [{ constructor: 1 }, /must have one of/],
    [{ schema: cycle }, /grammar\.schema must be nested 100 levels at most/],
    [{ schema: { minimum: Number.NaN } }, /finite numbers, not NaN/],
    [{ schema: 5n }, /plain JSON, not 5/],
    [{ schema: {}, keyOrder: {} }, /grammar\.keyOrder must be an option/],
    [{ json: 1 }, /grammar\.json must be true or "object"/],
    [{ regex: 5 }, /grammar\.regex must be a text, not 5/],
    [{ regex: "a", flags: 5 }, /grammar\.flags must be a text/],
    [{ choice: "ab" }, /grammar\.choice must be a list of texts/],
    [{ sequence: [{ text: "a" }, 5] }, /grammar\.sequence\[1\] must be an object, not 5/],
    [{ repeat: { text: "a" }, min: -1 }, /grammar\.min must be a whole number, not -1/],
    [deep, /nested 100 levels/],
  ];
  for (const [spec, expected] of cases)
    assert.throws(
      () => checkGrammarSpec(spec),
      (error) => error instanceof RequestError && expected.test(error.message),
      String(expected),
    );
});
