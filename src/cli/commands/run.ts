/** `millrace run`: one prompt, one answer. */
import { ADAPTER, adapterOptions } from "../adapter-flags.ts";
import { answerNumbers, generateOptions, jsonSeed } from "../answer-flags.ts";
import { AnswerPrinter } from "../answer-printer.ts";
import { defineCommand } from "../command.ts";
import { DRAFTS, JSON_OUTPUT, MODEL, RAW, SAMPLING } from "../common-flags.ts";
import { UsageError } from "../exit.ts";
import { GRAMMAR, readGrammar } from "../grammar-flags.ts";
import { inputText } from "../input-text.ts";
import { loadModel, speculationOf } from "../session.ts";
import { readTools, TOOLS } from "../tool-flags.ts";

const OUTPUT = { title: "Input and output", flags: { raw: RAW, json: JSON_OUTPUT } };

export const run = defineCommand({
  name: "run",
  summary: "answer one prompt",
  words: "[PROMPT]",
  about:
    "Answers PROMPT, or what stands on standard input, and prints the answer as it comes. The prompt is put into the " +
    "model's chat template, or with --raw taken as it is. Calls of tools are printed, each on a line of its own, and not run. " +
    "Numbers about speed go to stderr.",
  groups: [MODEL, ADAPTER, SAMPLING, DRAFTS, GRAMMAR, TOOLS, OUTPUT],
  flags: {
    ...MODEL.flags,
    ...ADAPTER.flags,
    ...SAMPLING.flags,
    ...DRAFTS.flags,
    ...GRAMMAR.flags,
    ...TOOLS.flags,
    ...OUTPUT.flags,
  },
  examples: [
    'millrace run "Name three rivers."',
    "millrace run --model hf:HuggingFaceTB/SmolLM2-135M-Instruct-GGUF:Q8_0 --temperature 0 < question.txt",
    'millrace run --choice yes,no "Is Paris in France?"',
    'millrace run --tools tools.json --tool-choice required "What is the weather in Paris?"',
    'millrace run --raw "Once upon a time" --max-tokens 64 --json',
  ],
  async run({ values, words, terminal }) {
    if (values.raw && values.system !== undefined)
      throw new UsageError("--raw uses no chat template, so it has no --system");
    if (values.raw && values["reasoning-budget"] !== undefined)
      throw new UsageError("--raw tells no reasoning from the answer, so it has no --reasoning-budget");
    if (values.raw && values.tools !== undefined)
      throw new UsageError("--raw uses no chat template, so it has no --tools");
    const given = await inputText(words, "prompt", terminal);
    // A line's own end is no part of what is asked; --raw takes the prompt to the letter.
    const prompt = values.raw ? given : given.replace(/\r?\n$/, "");
    if (prompt === "") throw new UsageError("the prompt is empty");

    const grammar = await readGrammar(values);
    const tools = await readTools(values);
    const { engine, request } = adapterOptions(values);
    await using llm = await loadModel(values, terminal, { speculation: speculationOf(values), ...engine });
    const options = { ...generateOptions(values), ...request, ...(grammar && { grammar }), signal: terminal.signal };
    const system = values.system === undefined ? [] : [{ role: "system" as const, content: values.system }];
    const answer = values.raw
      ? llm.generate(prompt, options)
      : llm.chat([...system, { role: "user", content: prompt }], { ...options, ...tools });

    const printer = new AnswerPrinter(terminal);
    try {
      for await (const part of answer) if (!values.json) printer.print(part);
    } finally {
      printer.end();
    }
    const result = await answer;
    if (values.json) {
      const { text, reasoning, toolCalls, tokens, promptTokens, finishReason, usage, timings } = result;
      const more = { ...(reasoning !== undefined && { reasoning }), ...(toolCalls !== undefined && { toolCalls }) };
      const seed = jsonSeed(result.seed);
      terminal.writeJson({ text, ...more, tokens, promptTokens, finishReason, usage, timings, seed });
    }
    terminal.note(answerNumbers(result));
  },
});
