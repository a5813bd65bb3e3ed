/** `millrace grammar`: does a text satisfy a grammar, and is the grammar supported at all? */
import { readFile } from "node:fs/promises";
import process from "node:process";

import { compileGrammar } from "../../decode/grammar/compile.ts";
import type { GrammarSpec, JsonValue, SchemaOptions } from "../../decode/grammar/spec.ts";
import { RequestError, UnsupportedGrammarError } from "../../errors.ts";
import { defineCommand } from "../command.ts";
import { JSON_OUTPUT } from "../common-flags.ts";
import { UsageError } from "../exit.ts";
import { choiceFlag, switchFlag, textFlag, type Values } from "../flags.ts";
import { inputText } from "../input-text.ts";

const GRAMMAR = {
  title: "Grammar (one of these)",
  flags: {
    schema: textFlag("FILE", "a JSON Schema, drafts 2020-12 and 7"),
    regex: textFlag("PATTERN", "a JavaScript regular expression, matched from end to end"),
    gbnf: textFlag("FILE", "a GBNF grammar, as llama.cpp writes it"),
    lark: textFlag("FILE", "a Lark grammar"),
  },
};
const SCHEMA = {
  title: "How a schema is read",
  flags: {
    whitespace: choiceFlag(["compact", "flexible"], "white space between JSON's tokens (default compact)"),
    "key-order": choiceFlag(["schema", "any"], "order of an object's keys (default schema)"),
    formats: choiceFlag(["enforce", "annotate"], "whether `format` is enforced (default enforce)"),
    "one-of": choiceFlag(["exact", "anyOf"], "whether `oneOf` may be read as `anyOf` (default exact)"),
    strict: switchFlag("objects with `properties` take no other keys where the schema leaves it open"),
  },
};
const flags = { ...GRAMMAR.flags, ...SCHEMA.flags, json: JSON_OUTPUT };

/** Beside the codes of every command: the text isn't in the language; the grammar can't be enforced. */
const REJECTED = 1;
const UNSUPPORTED = 2;

export const grammar = defineCommand({
  name: "grammar",
  summary: "check a text, or the grammar itself",
  words: "[TEXT|-]",
  about:
    "Says whether TEXT, or standard input with -, is accepted by a grammar; without a text, whether the grammar is supported. " +
    "Exit codes: 0 accepted, 1 rejected, 2 the grammar is malformed or can't be enforced (the reason is printed).",
  groups: [GRAMMAR, SCHEMA, { title: "Output", flags: { json: JSON_OUTPUT } }],
  flags,
  examples: ["millrace grammar --schema person.json", `millrace grammar --schema person.json '{"name":"Ada"}'`],
  async run({ values, words, terminal }) {
    const spec = await readSpec(values);
    let compiled;
    try {
      compiled = compileGrammar(spec);
    } catch (error) {
      if (!(error instanceof UnsupportedGrammarError) && !(error instanceof RequestError)) throw error;
      const { keyword, path } = error instanceof UnsupportedGrammarError ? error : { keyword: "syntax", path: "" };
      if (values.json) terminal.writeJson({ supported: false, keyword, path, message: error.message });
      else terminal.write(`unsupported: ${error.message}\n`);
      process.exitCode = UNSUPPORTED;
      return;
    }
    if (words.length === 0) {
      if (values.json) terminal.writeJson({ supported: true });
      else terminal.write("supported\n");
      return;
    }
    const text = await inputText(words[0] === "-" ? words.slice(1) : words, "text", terminal);
    const accepted = compiled.accepts(text);
    if (values.json) terminal.writeJson({ supported: true, accepted });
    else terminal.write(accepted ? "accepted\n" : "rejected\n");
    if (!accepted) process.exitCode = REJECTED;
  },
});

async function readSpec(values: Values<typeof flags>): Promise<GrammarSpec> {
  const { schema, regex, gbnf, lark } = values;
  if ([schema, regex, gbnf, lark].filter((one) => one !== undefined).length !== 1) {
    throw new UsageError("one of --schema, --regex, --gbnf and --lark is needed");
  }
  if (regex !== undefined) return { regex };
  if (gbnf !== undefined) return { gbnf: await readFile(gbnf, "utf8") };
  if (lark !== undefined) return { lark: await readFile(lark, "utf8") };
  const options: SchemaOptions = {
    whitespace: values.whitespace,
    keyOrder: values["key-order"],
    formats: values.formats,
    oneOf: values["one-of"],
    strict: values.strict,
  };
  return { schema: parseSchema(await readFile(schema ?? "", "utf8"), schema ?? ""), ...options };
}

function parseSchema(text: string, file: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue;
  } catch (error) {
    throw new UsageError(`${file} is no JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}
