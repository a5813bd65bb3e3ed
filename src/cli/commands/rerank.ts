/** `millrace rerank`: documents in the order of how well they answer a query. */
import { defineCommand } from "../command.ts";
import { JSON_OUTPUT, MODEL } from "../common-flags.ts";
import { UsageError } from "../exit.ts";
import { textFlag } from "../flags.ts";
import { loadModel } from "../session.ts";

const OUTPUT = {
  title: "Ranking",
  flags: {
    instruction: textFlag("TEXT", "what to look for, for models that are asked in words (Qwen3-Reranker)"),
    json: JSON_OUTPUT,
  },
};

export const rerank = defineCommand({
  name: "rerank",
  summary: "order documents by how well they answer a query",
  words: "QUERY [DOCUMENT…]",
  about:
    "Scores each DOCUMENT, or each line of standard input, together with QUERY by a model that reads both (a cross-encoder), " +
    "or one that is asked whether it answers (Qwen3-Reranker), and prints score and document, the best first.",
  groups: [OUTPUT, MODEL],
  flags: { ...OUTPUT.flags, ...MODEL.flags },
  examples: [
    'millrace rerank --model hf:BAAI/bge-reranker-base "what is a panda?" "a bear of China" "a kind of bread"',
  ],
  async run({ values, words, terminal }) {
    const [query, ...given] = words;
    if (query === undefined) throw new UsageError("QUERY is needed");
    const documents = given.length > 0 ? given : (await terminal.readInput()).split("\n").filter((line) => line !== "");
    await using llm = await loadModel(values, terminal);
    const ranked = await llm.rerank(query, documents, { signal: terminal.signal, instruction: values.instruction });
    const results = ranked.map(({ index, score }) => ({ index, score, document: documents[index] ?? "" }));
    if (values.json) terminal.writeJson({ results });
    else for (const { score, document } of results) terminal.write(`${score.toFixed(6)}  ${document}\n`);
  },
});
