/** `millrace grammar`: does a text satisfy a grammar, and is the grammar supported at all? */
import process from "node:process";

import { compileGrammar } from "../../decode/grammar/compile.ts";
import type { GrammarSpec, SchemaOptions } from "../../decode/grammar/spec.ts";
import { RequestError, UnsupportedGrammarError } from "../../errors.ts";
import { defineCommand } from "../command.ts";
import { JSON_OUTPUT } from "../common-flags.ts";
import { UsageError } from "../exit.ts";
import { choiceFlag, switchFlag, type Values } from "../flags.ts";
import { GRAMMAR, readGrammar } from "../grammar-flags.ts";
import { inputText } from "../input-text.ts";

const SCHEMA = {
  title: "How a schema is read",
  flags: {
    whitespace: choiceFlag(["compact", "spaced", "flexible"], "white space between JSON's tokens (default compact)"),
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
  const spec = await readGrammar(values);
  if (spec === undefined) throw new UsageError("one of --schema, --regex, --choice and --grammar is needed");
  if (!("schema" in spec)) return spec;
  const options: SchemaOptions = {
    whitespace: values.whitespace,
    keyOrder: values["key-order"],
    formats: values.formats,
    oneOf: values["one-of"],
    strict: values.strict,
  };
  return { ...spec, ...options };
}
