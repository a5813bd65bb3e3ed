/** `millrace datastore build`: texts → a file that drafts are looked up in. */
import { readFile } from "node:fs/promises";

import { writeWords } from "../../artifact/node-words.ts";
import { buildDatastore, vocabularyOf } from "../../decode/speculative/datastore.ts";
import { defineCommand } from "../command.ts";
import { MODEL } from "../common-flags.ts";
import { UsageError } from "../exit.ts";
import { textFlag } from "../flags.ts";
import { openTokenizer } from "../session.ts";

const FLAGS = {
  model: MODEL.flags.model,
  offline: MODEL.flags.offline,
  out: textFlag("FILE", "where the datastore is written; default millrace.datastore", "o"),
};

export const datastore = defineCommand({
  name: "datastore",
  summary: "make a file of texts that drafts are looked up in",
  words: "build FILES…",
  about:
    "Reads texts, one a file, as the model's tokens, and writes them with their suffix array. Given as --datastore, what stands in " +
    "them is guessed ahead where an answer comes to say the same (REST): code, documents, earlier answers. It takes 8 bytes a token.",
  groups: [{ title: "Flags", flags: FLAGS }],
  flags: FLAGS,
  examples: [
    "millrace datastore build src/*.ts --out code.datastore",
    "millrace run --datastore code.datastore --temperature 0 < question.txt",
  ],
  async run({ values, words, terminal }) {
    const [verb, ...files] = words;
    if (verb !== "build") throw new UsageError(`datastore knows "build", not ${JSON.stringify(verb ?? "")}`);
    if (files.length === 0) throw new UsageError("datastore build needs files");
    const tokenizer = await openTokenizer(values, terminal);
    const texts: Int32Array[] = [];
    for (const file of files) texts.push(tokenizer.encode(await readFile(file, "utf8"), { addSpecial: false }));
    const vocabulary = vocabularyOf(tokenizer.vocabSize, (id) => tokenizer.tokenText(id));
    const out = values.out ?? "millrace.datastore";
    await writeWords(out, buildDatastore(texts, vocabulary));
    const tokens = texts.reduce((sum, text) => sum + text.length, 0);
    terminal.note(`${out}: ${files.length} texts, ${tokens} tokens`);
  },
});
