/** `millrace detokenize`: token ids → text. */
import { defineCommand } from "../command.ts";
import { JSON_OUTPUT, MODEL } from "../common-flags.ts";
import { UsageError } from "../exit.ts";
import { openTokenizer } from "../session.ts";

const { model, offline } = MODEL.flags;

export const detokenize = defineCommand({
  name: "detokenize",
  summary: "print the text of token ids",
  words: "[ID …]",
  about:
    "Prints the text of the ids, given as words or on standard input, apart by spaces, commas or lines (so what tokenize " +
    "prints, also with --json, can be fed back). Special tokens are shown as they are written.",
  groups: [
    { title: "Model", flags: { model, offline } },
    { title: "Input and output", flags: { json: JSON_OUTPUT } },
  ],
  flags: { model, offline, json: JSON_OUTPUT },
  examples: ["millrace detokenize 19556 905", 'millrace tokenize "Hello" | millrace detokenize'],
  async run({ values, words, terminal }) {
    const given = words.length > 0 ? words.join(" ") : await terminal.readInput();
    const ids = parseIds(given);
    const tokenizer = await openTokenizer(values, terminal);
    const bad = ids.find((id) => id >= tokenizer.vocabSize);
    if (bad !== undefined) {
      throw new UsageError(`${bad} is no token id; the vocabulary has the ids 0 to ${tokenizer.vocabSize - 1}`);
    }
    const text = tokenizer.decode(ids, { skipSpecial: false });
    if (values.json) terminal.writeJson({ text });
    else terminal.write(terminal.outputIsSeen ? `${text}\n` : text);
  },
});

function parseIds(text: string): number[] {
  const list = text
    .trim()
    .replace(/^\{\s*"tokens"\s*:(.*)\}$/s, "$1")
    .replaceAll(/[[\]]/g, " ");
  return list
    .split(/[\s,]+/)
    .filter((word) => word !== "")
    .map((word) => {
      if (!/^\d{1,10}$/.test(word)) throw new UsageError(`"${word}" is no token id; a whole number is expected`);
      return Number(word);
    });
}
