/** What the options of a schema change, each against its default. The keywords themselves are check:grammar's, by the suite. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { UnsupportedGrammarError } from "../../../errors.ts";
import { compileGrammar } from "../compile.ts";
import type { JsonValue, SchemaOptions } from "../spec.ts";

const PAIR: JsonValue = {
  type: "object",
  properties: { a: { type: "integer" }, b: { type: "array", items: { type: "boolean" } } },
  required: ["a"],
};

interface OptionCase {
  readonly name: string;
  readonly schema: JsonValue;
  readonly options: SchemaOptions;
  /** Accepted either way; by default alone; with the option alone; never. */
  readonly both?: readonly string[];
  readonly plain?: readonly string[];
  readonly changed?: readonly string[];
  readonly never?: readonly string[];
}

const CASES: readonly OptionCase[] = [
  {
    name: "spaced white space",
    schema: PAIR,
    options: { whitespace: "spaced" },
    plain: ['{"a":1,"b":[true,false]}'],
    changed: ['{"a": 1, "b": [true, false]}'],
    never: ['{"a":  1}', '{ "a": 1}'],
  },
  {
    name: "flexible white space",
    schema: PAIR,
    options: { whitespace: "flexible" },
    both: ['{"a":1,"b":[true]}'],
    changed: [' {\n\t"a" : 1 ,\r\n"b":[ true ] } '],
    never: ['{"a":1 2}', '{"a":1}\u00a0'],
  },
  {
    name: "any order of keys",
    schema: PAIR,
    options: { keyOrder: "any" },
    both: ['{"a":1,"b":[]}', '{"a":1,"other":0}'],
    changed: ['{"b":[],"a":1}', '{"other":0,"b":[],"more":1,"a":1}'],
    never: ['{"b":[],"a":1,"b":[]}', '{"b":[]}', '{"a":1,"\\u0061":2}'],
  },
  {
    name: "strict objects",
    schema: { type: "object", properties: { inner: PAIR }, additionalProperties: true },
    options: { strict: true },
    both: ['{"inner":{"a":1}}', '{"inner":{"a":1},"said":"open"}'],
    plain: ['{"inner":{"a":1,"other":0}}'],
    never: ['{"inner":{}}'],
  },
  {
    name: "formats that are notes",
    schema: { type: "string", format: "date" },
    options: { formats: "annotate" },
    both: ['"2026-02-28"'],
    changed: ['"tomorrow"', '"2026-02-30"'],
    never: ["20260228"],
  },
  {
    name: "an older draft",
    schema: { type: "array", items: [{ type: "integer" }, { type: "string" }], additionalItems: false },
    options: { draft: "7" },
    changed: ['[1,"x"]', "[]"],
    never: ['["x"]', '[1,"x",2]'],
  },
];

for (const { name, schema, options, both = [], plain = [], changed = [], never = [] } of CASES) {
  test(name, () => {
    const optioned = compileGrammar({ schema, ...options });
    for (const text of [...both, ...changed]) assert.ok(optioned.accepts(text), `with the option: ${text}`);
    for (const text of [...plain, ...never]) assert.ok(!optioned.accepts(text), `with the option: ${text}`);
    // A list of schemas under `items` is no schema of the newer draft.
    if (options.draft === "7") return;
    const usual = compileGrammar({ schema });
    for (const text of [...both, ...plain]) assert.ok(usual.accepts(text), `by default: ${text}`);
    for (const text of [...changed, ...never]) assert.ok(!usual.accepts(text), `by default: ${text}`);
  });
}

test("alternatives that overlap are refused, or read as anyOf where that is asked for", () => {
  const open = (key: string): JsonValue => ({
    type: "object",
    required: [key],
    additionalProperties: { type: "null" },
  });
  const schema = { oneOf: [open("a"), open("b")] };
  // What stands in the way of telling them apart is what is named.
  const refused = (error: unknown): boolean =>
    error instanceof UnsupportedGrammarError && error.keyword === "additionalProperties" && error.path === "/oneOf";
  assert.throws(() => compileGrammar({ schema }), refused);
  const loose = compileGrammar({ schema, oneOf: "anyOf" });
  for (const text of ['{"a":null}', '{"b":null}', '{"a":null,"b":null}']) assert.ok(loose.accepts(text), text);
  assert.ok(!loose.accepts("{}"));
  const apart = {
    oneOf: [
      { type: "integer", multipleOf: 3 },
      { type: "integer", multipleOf: 5 },
    ],
  };
  const exact = compileGrammar({ schema: apart });
  for (const text of ["9", "10"]) assert.ok(exact.accepts(text), text);
  assert.ok(!exact.accepts("15"), "both match");
});

test("keys are told apart as they are read, and their number is bounded", () => {
  const names = compileGrammar({
    schema: { type: "object", propertyNames: { pattern: "^[a-c]+$" }, minProperties: 1, maxProperties: 2 },
  });
  for (const text of ['{"a":1}', '{"ab":1,"c":{}}']) assert.ok(names.accepts(text), text);
  for (const text of ["{}", '{"d":1}', '{"a":1,"b":1,"c":1}', '{"a":1,"\\u0061":1}'])
    assert.ok(!names.accepts(text), text);
  const unique = compileGrammar({ schema: { type: "array", items: { enum: ["x", 1, null] }, uniqueItems: true } });
  for (const text of ["[]", '["x",1,null]', '[null,"x"]']) assert.ok(unique.accepts(text), text);
  for (const text of ['["x","x"]', "[1,null,1]"]) assert.ok(!unique.accepts(text), text);
});
