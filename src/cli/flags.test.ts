import assert from "node:assert/strict";
import { test } from "node:test";

import { UsageError } from "./exit.ts";
import { choiceFlag, listFlag, numberFlag, parseFlags, switchFlag, textFlag, wholeFlag } from "./flags.ts";

const FLAGS = {
  model: textFlag("REF", "", "m"),
  json: switchFlag(""),
  stop: listFlag("TEXT", ""),
  kv: choiceFlag(["f16", "q8"], ""),
  "max-tokens": wholeFlag(1, ""),
  temperature: numberFlag(0, 100, ""),
};

test("values come typed, words in order, and -- ends the flags", () => {
  const args = [
    "a",
    "-m",
    "x.gguf",
    "--stop",
    "\n",
    "--stop=--",
    "--kv",
    "q8",
    "--max-tokens=3",
    "--temperature",
    ".5",
  ];
  const { values, words, help } = parseFlags([...args, "--json", "--", "--b"], FLAGS);
  assert.deepEqual(values, {
    model: "x.gguf",
    json: true,
    stop: ["\n", "--"],
    kv: "q8",
    "max-tokens": 3,
    temperature: 0.5,
  });
  assert.deepEqual(words, ["a", "--b"]);
  assert.equal(help, false);
});

test("what isn't given is undefined, false or empty", () => {
  const { values } = parseFlags([], FLAGS);
  const none = {
    model: undefined,
    json: false,
    stop: [],
    kv: undefined,
    "max-tokens": undefined,
    temperature: undefined,
  };
  assert.deepEqual(values, none);
});

test("--help wins over everything that is wrong", () => {
  assert.equal(parseFlags(["--nonsense", "--max-tokens", "x", "-h"], FLAGS).help, true);
});

const WRONG: readonly [args: string[], message: RegExp][] = [
  [["--modle", "x"], /unknown flag --modle; did you mean --model\?/],
  [["--zzzzzz"], /^unknown flag --zzzzzz$/],
  [["-x"], /^unknown flag -x$/],
  [["--constructor", "x"], /^unknown flag --constructor$/],
  [["--__proto__"], /^unknown flag --__proto__$/],
  [["--model"], /--model needs a value/],
  [["--model", "--json"], /--model needs a value/],
  [["--json=yes"], /--json takes no value/],
  [["--kv", "q4"], /--kv is "q4"; it must be one of f16, q8/],
  [["--max-tokens", "0"], /it must be a whole number from 1 on/],
  [["--max-tokens", "1.5"], /it must be a whole number/],
  [["--max-tokens", "1e99"], /it must be a whole number/],
  [["--max-tokens", ""], /it must be a whole number/],
  [["--temperature", "0x10"], /it must be a number from 0 to 100/],
  [["--temperature", "-1"], /it must be a number from 0 to 100/],
  [["--model", "a", "--model", "b"], /--model is given 2 times/],
];

for (const [args, message] of WRONG) {
  test(`${args.join(" ")} is refused`, () => {
    assert.throws(
      () => parseFlags(args, FLAGS),
      (error) => error instanceof UsageError && message.test(error.message),
    );
  });
}
