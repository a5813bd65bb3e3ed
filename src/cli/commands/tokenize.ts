/** `millrace tokenize`: text → token ids. */
import { defineCommand } from "../command.ts";
import { JSON_OUTPUT, MODEL, RAW } from "../common-flags.ts";
import { inputText } from "../input-text.ts";
import { openTokenizer } from "../session.ts";

const { model, offline } = MODEL.flags;
const raw = {
  ...RAW,
  help: "as `run --raw` reads a prompt: special tokens are parsed, BOS is put before where the model wants it",
};
const groups = [
  { title: "Model", flags: { model, offline } },
  { title: "Input and output", flags: { raw, json: JSON_OUTPUT } },
];

export const tokenize = defineCommand({
  name: "tokenize",
  summary: "print the token ids of a text",
  words: "[TEXT]",
  about:
    "Prints the token ids of TEXT, or of standard input, to the letter. Special tokens written in the text are ordinary " +
    "text, and none is added, unless --raw is given. Only the tokenizer is loaded.",
  groups,
  flags: { model, offline, raw, json: JSON_OUTPUT },
  examples: ['millrace tokenize "Hello, world"', 'millrace tokenize --raw --json "<|im_start|>user"'],
  async run({ values, words, terminal }) {
    const text = await inputText(words, "text", terminal);
    const tokenizer = await openTokenizer(values, terminal);
    const ids = tokenizer.encode(text, { addSpecial: values.raw, parseSpecial: values.raw });
    if (values.json) terminal.writeJson({ tokens: [...ids] });
    else terminal.write(`${ids.join(" ")}\n`);
  },
});
