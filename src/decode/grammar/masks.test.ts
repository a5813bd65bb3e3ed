/** Masks of JSON grammars: each must say of every token what reading its bytes says. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { Random } from "../../../test/support/random.ts";
import { compileGrammar } from "./compile.ts";
import { GrammarCursor, GrammarVocabulary } from "./grammar.ts";
import type { GrammarSpec, JsonValue } from "./spec.ts";
import { allows, type TokenTable } from "./vocabulary.ts";

const PERSON: JsonValue = {
  type: "object",
  properties: {
    name: { type: "string", minLength: 2, maxLength: 40 },
    age: { type: "integer", minimum: 0, maximum: 150 },
    score: { type: "number", multipleOf: 0.25 },
    tags: { type: "array", items: { enum: ["x", "yz", "über"] }, maxItems: 3 },
    zip: { type: "string", pattern: "^[0-9]{5}$" },
    born: { type: "string", format: "date" },
  },
  required: ["name"],
};
const ANSWERS = [
  '{"name":"Ada \\"Lovelace\\"","age":36,"score":1.25,"tags":["x","über"],"zip":"12345","born":"1815-12-10","more":{"a":[null,true]}}',
  '{"name":"Zoë\\u00e9 \\ud83d\\ude00","nameless":[1,-2.5e3,{"":"x"}],"x":false}',
  '{"names":{"a":1,"b":{"a":2}},"name2":"日本語 text"}',
  '[1,"two",{"three":[3,3.0,"\\n"]},null,[]]',
];
const SPECS: readonly GrammarSpec[] = [
  { schema: PERSON },
  { schema: PERSON, keyOrder: "any", whitespace: "flexible" },
  { json: true },
  { json: true, whitespace: "flexible" },
  { sequence: [{ until: "{" }, { text: '"name":' }, { json: true }] },
  { schema: { patternProperties: { "^n": true }, additionalProperties: false } },
];

/** Single bytes, pieces of the answers, and two special tokens. */
function pieces(): TokenTable {
  const random = new Random(7);
  const encoder = new TextEncoder();
  const tokens = Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte));
  for (let i = 0; i < 1500; i++) {
    const bytes = encoder.encode(random.pick(ANSWERS as [string, ...string[]]));
    const from = random.below(bytes.length);
    tokens.push(bytes.slice(from, from + random.between(1, 8)));
  }
  const [end, other] = [tokens.length, tokens.length + 1];
  return {
    vocabSize: tokens.length + 2,
    stopIds: new Set([end]),
    tokenBytes: (id) => tokens[id] ?? encoder.encode('{"name":'),
    isSpecial: (id) => id === other,
    tokenText: () => "<|other|>",
  };
}

const TABLE = pieces();
const VOCABULARY = new GrammarVocabulary(TABLE);

for (const spec of SPECS) {
  test(`the masks of ${JSON.stringify(spec).slice(0, 60)}…`, () => {
    const grammar = compileGrammar(spec);
    const random = new Random(11);
    let [compared, scarce] = [0, 0];
    for (const answer of ANSWERS) {
      const cursor = new GrammarCursor(grammar.over(VOCABULARY));
      const bytes = new TextEncoder().encode(answer);
      for (let at = 0; at < bytes.length; at++) {
        if (random.below(3) === 0) {
          const mask = cursor.mask();
          for (let id = 0; id < TABLE.vocabSize; id++) {
            const expected = TABLE.stopIds.has(id)
              ? cursor.state.accepting
              : !TABLE.isSpecial(id) &&
                grammar.advance(cursor.state, String.fromCharCode(...TABLE.tokenBytes(id))) !== undefined;
            assert.equal(
              allows(mask, id),
              expected,
              `token ${JSON.stringify(new TextDecoder().decode(TABLE.tokenBytes(id)))} at ${at} of ${answer}`,
            );
            compared++;
          }
          const allowed = Array.from({ length: TABLE.vocabSize }, (_, id) => id).filter((id) => allows(mask, id));
          const few = compileGrammar(spec).over(VOCABULARY);
          let state = few.start;
          for (const byte of bytes.subarray(0, at)) state = few.advance(state, byte) ?? state;
          const listed = few.few(state);
          assert.deepEqual(new Set(listed), new Set(allowed.length > 16 ? [] : allowed), `at ${at} of ${answer}`);
          if (listed.length > 0) scarce++;
        }
        if (!cursor.advance(bytes[at] ?? 0)) break;
      }
    }
    assert.ok(compared > 10_000);
    assert.ok(scarce > 0, "few tokens were never in sight");
  });
}

test("random tokens under the mask lead to valid answers", () => {
  const schema: JsonValue = {
    type: "object",
    properties: {
      a: { type: "integer", minimum: 7, maximum: 23 },
      b: { type: "array", items: { type: "number", minimum: 0.5, exclusiveMaximum: 2 }, minItems: 1, maxItems: 2 },
      c: { enum: ["p", "q", null] },
      d: { type: "string", maxLength: 4 },
    },
    required: ["a", "c"],
    additionalProperties: false,
  };
  const tokens = compileGrammar({ schema }).over(VOCABULARY);
  const random = new Random(3);
  for (let round = 0; round < 50; round++) {
    const cursor = new GrammarCursor(tokens);
    let text = "";
    while (!cursor.accepting) {
      const mask = cursor.mask();
      // Of long numbers the shortest end is taken.
      const allowed = Array.from({ length: text.length > 400 ? 256 : TABLE.vocabSize }, (_, id) => id).filter((id) =>
        allows(mask, id),
      );
      const [first, ...more] = allowed;
      assert.ok(first !== undefined, `no way on after ${text}`);
      const token =
        text.length > 400
          ? (allowed.find((id) => ',]}"'.includes(String.fromCharCode(id))) ?? first)
          : random.pick([first, ...more]);
      assert.ok(cursor.advance(token));
      text += Buffer.from(TABLE.tokenBytes(token)).toString("latin1");
    }
    const value: { a: number; b?: number[]; c: string | null } = JSON.parse(Buffer.from(text, "latin1").toString());
    assert.ok(Number.isInteger(value.a) && value.a >= 7 && value.a <= 23, text);
    assert.ok(["p", "q", null].includes(value.c), text);
    assert.ok(
      (value.b ?? [1]).every((one) => one >= 0.5 && one < 2),
      text,
    );
  }
});

test("going back, a state gives the mask that it gave", () => {
  const cursor = new GrammarCursor(compileGrammar({ schema: PERSON }).over(VOCABULARY));
  const masks: Uint32Array[] = [];
  for (const byte of new TextEncoder().encode(ANSWERS[0])) {
    masks.push(cursor.mask().slice());
    assert.ok(cursor.advance(byte));
  }
  assert.ok(cursor.accepting);
  for (let at = masks.length - 1; at >= 0; at -= 5) {
    cursor.rollback(cursor.length - at);
    assert.deepEqual(cursor.mask(), masks[at]);
  }
});
