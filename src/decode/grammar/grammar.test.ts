import assert from "node:assert/strict";
import { test } from "node:test";

import { RequestError, UnsupportedGrammarError } from "../../errors.ts";
import { compileGrammar } from "./compile.ts";
import type { GrammarSpec } from "./spec.ts";

const LANGUAGES: readonly [
  name: string,
  spec: GrammarSpec,
  accepted: readonly string[],
  rejected: readonly string[],
][] = [
  ["a regular expression, end to end", { regex: "a+b?" }, ["a", "aab"], ["", "b", "ab ", "aabb"]],
  ["anchors in groups", { regex: "(^a|b$)c?" }, ["ac", "a", "b"], ["bc", "c"]],
  ["a choice", { choice: ["yes", "no", "now"] }, ["yes", "no", "now"], ["n", "yesno", ""]],
  ["any text up to one", { until: "<x>" }, ["<x>", "a<<x>"], ["<x><x>", "a", "<x>a"]],
  ["text without some", { without: ["ab", "c"] }, ["", "aab".slice(0, 2), "ba"], ["xaby", "c"]],
  [
    "text, then a schema",
    { sequence: [{ until: "<call>" }, { schema: { type: "integer" } }, { text: "</call>" }] },
    ["hm <call>5</call>", "<call>-3</call>"],
    ["5", "<call>5</call> ", "<call></call>"],
  ],
  [
    "repetition of alternatives",
    { repeat: { anyOf: [{ text: "a" }, { text: "bc" }] }, min: 1, max: 2 },
    ["a", "bca"],
    ["", "aaa"],
  ],
  [
    "GBNF with left recursion",
    { gbnf: 'root ::= expr\nexpr ::= expr "+" term | term\nterm ::= [0-9]+ | "(" expr ")" # a comment' },
    ["1+2", "(1+2)+33"],
    ["1+", "()", "(1"],
  ],
  [
    "GBNF with rules that may be empty",
    { gbnf: 'root ::= "a" b c\nb ::= "b"?\nc ::= "c"*' },
    ["a", "ab", "abcc"],
    ["b", ""],
  ],
  ["GBNF escapes", { gbnf: 'root ::= "\\"\\n" [\\x41-C\\]] .' }, ['"\nB€', '"\n]x'], ['"\nD€', '"\nA']],
  [
    "Lark with ignored blanks",
    {
      lark:
        'start: NAME "=" sum\n?sum: sum "+" NUMBER -> add\n    | NUMBER\n// a comment\n%import common.CNAME -> NAME\n' +
        "%import common (NUMBER, WS)\n%ignore WS",
    },
    ["x = 1 + 2", "y=3"],
    ["= 3", "x=", "x=1 2"],
  ],
  [
    "Lark terminals, ranges, flags and repetitions",
    { lark: 'start: A ("x".."z")~2 "end"i [B]\nA: /[0-9]{2}/ | "q"\nB: A "!"' },
    ["12xyEND", "qzzend12!"],
    ["12xEND", "1xyend", "qzzend!"],
  ],
  [
    "Lark with a schema inside",
    { lark: 'start: "f(" arg ")"\narg: %json {"type": "boolean"}' },
    ["f(true)"],
    ["f(1)", "f()"],
  ],
];

for (const [name, spec, accepted, rejected] of LANGUAGES) {
  test(name, () => {
    const grammar = compileGrammar(spec);
    for (const text of accepted) assert.ok(grammar.accepts(text), `accepts ${JSON.stringify(text)}`);
    for (const text of rejected) assert.ok(!grammar.accepts(text), `rejects ${JSON.stringify(text)}`);
  });
}

test("a regular expression accepts what JavaScript's matches", () => {
  const patterns = [
    "[a-c]*\\d{2,3}|x",
    "(?:ab|a)(?:c|bc)",
    "[^a\\s]+",
    "\\w+@\\w+\\.(?:org|net)",
    "(a|b){0,2}?c+?",
    "[\\u00e0-\\u00ff€]|\\u{1F600}",
    ".\\x41[\\]\\-x]",
    "\\p{Lu}\\P{Lu}",
  ];
  const texts = [
    "",
    "x",
    "ab",
    "abc",
    "abbc",
    "a12",
    "b123",
    "c1234",
    "é",
    "€",
    "😀",
    "a@b.org",
    "c",
    "ac",
    "bbc",
    "?A]",
    "?A-",
    "Éa",
    "aa",
    " b",
  ];
  for (const pattern of patterns) {
    const grammar = compileGrammar({ regex: pattern });
    for (const text of texts) {
      assert.equal(
        grammar.accepts(text),
        new RegExp(`^(?:${pattern})$`, "u").test(text),
        `${pattern} on ${JSON.stringify(text)}`,
      );
    }
  }
});

test("a schema's pattern is searched for", () => {
  const patterns = ["a", "^a", "a$", "^(?:a|bc)$", "(^a|b)c$", "^$", "x{2}"];
  const texts = ["", "a", "ba", "ab", "bc", "abc", "ac", "xbc", "axx", "x"];
  for (const pattern of patterns) {
    const grammar = compileGrammar({ schema: { type: "string", pattern } });
    for (const text of texts) {
      assert.equal(
        grammar.accepts(JSON.stringify(text)),
        new RegExp(pattern, "u").test(text),
        `${pattern} in ${JSON.stringify(text)}`,
      );
    }
  }
});

test("what can't be enforced is refused by name", () => {
  const refusals: readonly [GrammarSpec, keyword: string, path: string | RegExp][] = [
    [{ regex: "a(?=b)" }, "look-around", "/regex"],
    [{ regex: "(a)\\1" }, "back-reference", "/regex"],
    [{ regex: "a\\b" }, "\\b", "/regex"],
    [{ gbnf: "root ::= <think>" }, "token reference", /character/],
    [{ lark: "start: a{b}" }, "template", /character/],
    [{ schema: { properties: { a: { type: "array", uniqueItems: true } } } }, "uniqueItems", "/properties/a"],
    [{ schema: { type: "string", format: "color" } }, "format", "/format"],
    [{ schema: { $ref: "https://example.com/other" } }, "$ref", "/$ref"],
    [{ schema: { $dynamicRef: "#a" } }, "$dynamicRef", "/$dynamicRef"],
    [{ schema: false }, "unsatisfiable", ""],
    [{ schema: { type: "object", properties: { a: { $ref: "#" } }, required: ["a"] } }, "unsatisfiable", ""],
    [{ schema: { $ref: "#" } }, "$ref", ""],
    [{ schema: { type: "number", minimum: "3" } }, "minimum", "/minimum"],
  ];
  for (const [spec, keyword, path] of refusals) {
    assert.throws(
      () => compileGrammar(spec),
      (error) => {
        assert.ok(error instanceof UnsupportedGrammarError, String(error));
        assert.equal(error.keyword, keyword);
        if (typeof path === "string") assert.equal(error.path, path);
        else assert.match(error.path, path);
        return true;
      },
    );
  }
});

test("malformed notation says where", () => {
  for (const spec of [
    { regex: "(a" },
    { regex: "[z-a]" },
    { gbnf: 'root ::= "a' },
    { gbnf: "a ::= b" },
    { lark: 'start: "a' },
  ]) {
    assert.throws(() => compileGrammar(spec), RequestError);
  }
  assert.throws(() => compileGrammar({ gbnf: 'root ::= "a"\nb = "c"' }), /line 2, column 3/);
});

test("forced text is all that may come, to the next choice", () => {
  const grammar = compileGrammar({
    schema: {
      type: "object",
      properties: { name: { type: "string" }, kind: { enum: ["cat", "cow"] } },
      required: ["name", "kind"],
      additionalProperties: false,
    },
  });
  const forced = (before: string): string => {
    const state = grammar.advance(grammar.start, before);
    assert.ok(state !== undefined);
    return new TextDecoder().decode(grammar.forced(state));
  };
  assert.equal(forced(""), '{"name":"');
  assert.equal(forced('{"name":"x'), "");
  assert.equal(forced('{"name":"x"'), ',"kind":"c');
  assert.equal(forced('{"name":"x","kind":"co'), 'w"}');
  assert.equal(forced('{"name":"x","kind":"cow"}'), "");
});

test("a long pattern is taken apart without a call for each of its parts", () => {
  const grammar = compileGrammar({ schema: { type: "string", pattern: `^${"(a|b)".repeat(20_000)}$` } });
  assert.ok(grammar.accepts(`"${"ab".repeat(10_000)}"`));
  assert.ok(!grammar.accepts(`"${"ab".repeat(9_999)}"`));
});
