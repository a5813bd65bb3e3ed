/** `millrace perplexity`: how well a model predicts a text. */
import { readSmallFile } from "../../artifact/node-file.ts";
import { defineCommand } from "../command.ts";
import { JSON_OUTPUT, MODEL } from "../common-flags.ts";
import { UsageError } from "../exit.ts";
import { limitFlag, textFlag } from "../flags.ts";
import { ProgressLine, formatSeconds } from "../progress.ts";
import { loadModel } from "../session.ts";
import { decodeUtf8 } from "../terminal.ts";

/** Bytes; a JavaScript text can't be much longer. */
const MAX_TEXT = 256 * 2 ** 20;

const MEASURE = {
  title: "Measure",
  flags: {
    text: textFlag("FILE", "the text, UTF-8 (required)"),
    window: limitFlag("window", "tokens in a window; default 1024, or the context where that is less"),
    limit: limitFlag("limit", "the most windows; default: all of the text"),
    json: JSON_OUTPUT,
  },
};

export const perplexity = defineCommand({
  name: "perplexity",
  summary: "measure how well a model predicts a text",
  words: "--text FILE",
  about:
    "Cuts the text's tokens into windows that don't overlap, without BOS, and predicts every token but a window's first. " +
    "Prints perplexity, negative log-likelihood (nats), the number of predictions, and bits per byte of text.",
  groups: [MEASURE, MODEL],
  flags: { ...MEASURE.flags, ...MODEL.flags },
  examples: [
    "millrace perplexity --text wiki.txt --model model.gguf",
    "millrace perplexity --text wiki.txt --limit 20 --json",
  ],
  async run({ values, words, terminal }) {
    if (words.length > 0) throw new UsageError(`"${words[0]}" is one word too many; the file is named by --text`);
    if (values.text === undefined) throw new UsageError("--text FILE is needed");
    const text = decodeUtf8(await readSmallFile(values.text, MAX_TEXT), values.text);
    if (text === "") throw new Error(`${values.text} is empty`);

    await using llm = await loadModel(values, terminal);
    const line = new ProgressLine(terminal);
    const started = performance.now();
    const result = await llm.perplexity(text, {
      ...(values.window === undefined ? {} : { window: values.window }),
      ...(values.limit === undefined ? {} : { limit: values.limit }),
      signal: terminal.signal,
      onProgress: ({ done, windows }) => line.update("windows", done, windows, "steps"),
    });
    line.clear();
    const { perplexity, nll, predicted, bitsPerByte, windows } = result;
    if (values.json) terminal.writeJson({ perplexity, nll, predicted, bitsPerByte });
    else {
      terminal.write(`perplexity   ${perplexity.toFixed(4)}\nnll          ${nll.toFixed(4)}\n`);
      terminal.write(`predicted    ${predicted}\nbits/byte    ${bitsPerByte.toFixed(4)}\n`);
    }
    const seconds = (performance.now() - started) / 1000;
    const rate = (predicted + windows.length) / seconds;
    terminal.note(`${windows.length} windows in ${formatSeconds(seconds)}, ${rate.toFixed(1)} tokens/s`);
  },
});
