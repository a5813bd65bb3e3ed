/**
 * Calls of tools, as published templates write them (../shared) and by hand where none does: read back however the text is
 * cut, and accepted by the grammar that holds the model to them. `checks/tool-calls.ts` does the same with many more streams.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { missing } from "../../../test/support/shared.ts";
import { Random } from "../../../test/support/random.ts";
import { formatOf, readCalls, roundTrips, TOOL_CASES, TOOLS } from "../../../test/support/tool-streams.ts";
import { compileGrammar } from "../../decode/grammar/compile.ts";
import type { GrammarSpec } from "../../decode/grammar/spec.ts";
import { answerFormat } from "../answer-format.ts";
import { toolFormat } from "./formats.ts";
import { toolGrammar } from "./grammar.ts";

test("every template's calls are read back, however they are cut", { skip: missing("data/templates") }, () => {
  const told = roundTrips(new Random(5), 3, 3);
  assert.deepEqual(told.failures, []);
  assert.ok(told.streams >= 480, `${told.streams} streams`);
  assert.equal(told.templates, 55);
});

test("formats that no template of ours writes are read, and held to by their grammars", () => {
  for (const { mark, text, calls, before = "" } of TOOL_CASES) {
    const format = toolFormat(mark);
    for (const size of [1, 3, 1000]) {
      const read = readCalls(answerFormat(formatOf(mark)).parser(), text, () => size);
      assert.deepEqual(read.calls, calls, `${format.name} by ${size}`);
      assert.equal(read.text, before, format.name);
    }
    const grammar = compileGrammar(
      toolGrammar(format, { tools: TOOLS, choice: "auto", parallel: true }, undefined, []),
    );
    assert.ok(grammar.accepts(text), `${format.name}: ${text}`);
    assert.ok(grammar.accepts("Just text."), format.name);
  }
});

test("arguments that a schema forbids are forbidden in every notation", () => {
  for (const { mark, text } of TOOL_CASES) {
    const format = toolFormat(mark);
    const grammar = compileGrammar(
      toolGrammar(format, { tools: TOOLS, choice: "required", parallel: true }, undefined, []),
    );
    assert.ok(grammar.accepts(text.trimStart().replace(/^Let me see\.\n?/, "")), format.name);
    // `days` is an integer from 1 to 14.
    const wrong = text.replace(/(days(?:"?[:=]|<\/arg_key>\n?<arg_value>|>\n?|" string="false">) ?)3/, "$199");
    assert.notEqual(wrong, text, format.name);
    assert.ok(!grammar.accepts(wrong), `${format.name}: ${wrong}`);
    assert.ok(!grammar.accepts(text.replaceAll("get_weather", "get_money")), format.name);
  }
});

test("Harmony's messages are told apart, and its grammar takes what gpt-oss writes", () => {
  const source = "<|channel|> <|message|>";
  const { parser, grammar, budget } = answerFormat(formatOf(source));
  assert.ok(grammar !== undefined);
  const mark = (text: string): string => text.replaceAll(/<\|[a-z]+\|>/g, (name) => `\xff${name}\xfe`);
  const accepts = (spec: GrammarSpec, text: string): boolean => {
    const compiled = compileGrammar(spec);
    return compiled.advance(compiled.start, mark(text))?.accepting === true;
  };
  const thoughts = "<|channel|>analysis<|message|>Let me < think.<|end|><|start|>assistant";
  const final = "<|channel|>final<|message|>It is <b>clear</b>.";
  const call = '<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city": "K", "days": 3}';
  for (const size of [1, 3, 7, 1000]) {
    const read = readCalls(parser(), thoughts + final, () => size);
    assert.deepEqual([read.text, read.reasoning, read.calls], ["It is <b>clear</b>.", "Let me < think.", []]);
    const called = readCalls(parser(), thoughts + call, () => size);
    assert.deepEqual(called.calls, [{ name: "get_weather", arguments: { city: "K", days: 3 } }]);
    assert.deepEqual([called.text, called.reasoning], ["", "Let me < think."]);
  }
  for (const text of [final, thoughts + final, thoughts + call]) assert.ok(accepts(grammar, text), text);
  assert.ok(!accepts(grammar, call.replace("3}", "99}")));
  const cut = budget(5);
  assert.ok(cut !== undefined && accepts(cut.thoughts, "<|channel|>analysis<|message|>Let me"));
  assert.ok(accepts(cut.rest, `<|end|><|start|>assistant${final}`));
});

test("Functionary's messages are told apart by their recipients, and its grammar takes what it writes", () => {
  const { parser, grammar } = answerFormat(formatOf(">>>all"));
  assert.ok(grammar !== undefined);
  const compiled = compileGrammar(grammar);
  const text = "all\nLet > me >> see.\nNow.";
  const calls = 'get_weather\n{"city": "Köln", "days": 3}>>>get_time\n{}';
  const read = [
    { name: "get_weather", arguments: { city: "Köln", days: 3 } },
    { name: "get_time", arguments: {} },
  ];
  for (const size of [1, 3, 1000]) {
    const at = (answer: string): unknown[] => {
      const { text, calls } = readCalls(parser(), answer, () => size);
      return [text, calls];
    };
    assert.deepEqual(at(text), ["Let > me >> see.\nNow.", []]);
    assert.deepEqual(at(calls), ["", read]);
    assert.deepEqual(at(`${text}>>>${calls}`), ["Let > me >> see.\nNow.", read]);
    // A model that forgets the recipient, or makes one up.
    assert.deepEqual(at("allow me\nto say"), ["allow me\nto say", []]);
    assert.deepEqual(at("get_money\n{}"), ["get_money\n{}", []]);
    assert.deepEqual(at("al"), ["", []]);
  }
  for (const answer of [text, calls, `${text}>>>${calls}`]) assert.ok(compiled.accepts(answer), answer);
  for (const answer of [calls.replace("3}", "99}"), "Hello", "get_money\n{}"])
    assert.ok(!compiled.accepts(answer), answer);
  const held = answerFormat({ ...formatOf(">>>all"), tools: undefined, grammar: { choice: ["yes", "no"] } }).grammar;
  assert.ok(held !== undefined && compileGrammar(held).accepts("all\nyes"));
});

test("what isn't a call is text", () => {
  const cases: readonly (readonly [text: string, expected: string])[] = [
    ["a < b and <tool", "a < b and <tool"],
    ["<tool_call>\nnothing</tool_call> x", "<tool_call>\nnothing</tool_call> x"],
    [
      '<tool_call>\n{"name": "unknown", "arguments": {}}\n</tool_call>',
      '<tool_call>\n{"name": "unknown", "arguments": {}}\n</tool_call>',
    ],
    ["  spaces  ", "  spaces  "],
  ];
  for (const [text, expected] of cases) {
    for (const size of [1, 4, 100]) {
      const read = readCalls(answerFormat(formatOf("<tool_call>")).parser(), text, () => size);
      assert.equal(read.text, expected);
      assert.deepEqual(read.calls, []);
    }
  }
});

test("a call that breaks off is no call, and its arguments were told as they came", () => {
  const text = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Par';
  const read = readCalls(answerFormat(formatOf("<tool_call>")).parser(), text, () => 2);
  assert.deepEqual(read.calls, []);
  assert.deepEqual(read.begun, ["get_weather"]);
  assert.equal(read.text, "");
});
