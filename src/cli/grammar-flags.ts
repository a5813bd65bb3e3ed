/** The flags by which a command is given a grammar, and the grammar that they mean. */
import { readFile } from "node:fs/promises";

import type { GrammarSpec, JsonValue } from "../decode/grammar/spec.ts";
import { UsageError } from "./exit.ts";
import { textFlag, type Values } from "./flags.ts";

export const GRAMMAR = {
  title: "What the text must satisfy (one of these)",
  flags: {
    schema: textFlag("FILE", "a JSON Schema, drafts 2020-12 and 7"),
    regex: textFlag("PATTERN", "a JavaScript regular expression, matched from end to end"),
    choice: textFlag("A,B,…", "one of these texts"),
    grammar: textFlag("FILE", "a grammar: Lark's notation in FILE.lark, else GBNF, as llama.cpp writes it"),
  },
} as const;

/** Undefined where no flag gives one. */
export async function readGrammar(values: Values<(typeof GRAMMAR)["flags"]>): Promise<GrammarSpec | undefined> {
  const { schema, regex, choice, grammar } = values;
  if ([schema, regex, choice, grammar].filter((one) => one !== undefined).length > 1) {
    throw new UsageError("--schema, --regex, --choice and --grammar exclude each other");
  }
  if (regex !== undefined) return { regex };
  if (choice !== undefined) return { choice: choice.split(",") };
  if (grammar !== undefined) {
    const text = await readFile(grammar, "utf8");
    return grammar.endsWith(".lark") ? { lark: text } : { gbnf: text };
  }
  return schema === undefined ? undefined : { schema: (await readJson(schema)) as JsonValue };
}

/** What a file of JSON says. */
export async function readJson(file: string): Promise<unknown> {
  const text = await readFile(file, "utf8");
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new UsageError(`${file} is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}
