/** `millrace embed`: texts → vectors. */
import { POOLINGS } from "../../engine/client.ts";
import { defineCommand } from "../command.ts";
import { JSON_OUTPUT, MODEL } from "../common-flags.ts";
import { choiceFlag, switchFlag, wholeFlag } from "../flags.ts";
import { loadModel } from "../session.ts";

const VECTORS = {
  title: "Vectors",
  flags: {
    pooling: choiceFlag(POOLINGS, "which tokens' rows become the vector; default: as the model's files say, else mean"),
    dimensions: wholeFlag(1, "keep only so many columns (models that are trained for it)"),
    "no-normalize": switchFlag("leave the vectors as they are; by default their length is 1"),
    json: JSON_OUTPUT,
  },
};

export const embed = defineCommand({
  name: "embed",
  summary: "turn texts into vectors",
  words: "[TEXT…]",
  about:
    "Prints one vector a line for each TEXT, or for each line of standard input: numbers with spaces between them. A text's " +
    "vector doesn't depend on the others.",
  groups: [VECTORS, MODEL],
  flags: { ...VECTORS.flags, ...MODEL.flags },
  examples: [
    'millrace embed --model hf:BAAI/bge-small-en-v1.5 "a cat" "a dog"',
    "millrace embed --model bge-small --json < sentences.txt",
  ],
  async run({ values, words, terminal }) {
    const texts = words.length > 0 ? words : (await terminal.readInput()).split("\n").filter((line) => line !== "");
    await using llm = await loadModel(values, terminal);
    const embeddings = await llm.embedCounted(texts, {
      pooling: values.pooling,
      dimensions: values.dimensions,
      ...(values["no-normalize"] && { normalize: false }),
      signal: terminal.signal,
    });
    const rows = embeddings.map(({ vector, tokens }) => ({ tokens, vector: [...vector] }));
    if (values.json) terminal.writeJson({ embeddings: rows });
    else for (const { vector } of rows) terminal.write(`${vector.map((x) => Number(x.toPrecision(8))).join(" ")}\n`);
  },
});
