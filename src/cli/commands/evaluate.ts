/** `millrace evaluate`: what compression cost, model by model, beside the one that they were made of. */
import { writeFile } from "node:fs/promises";
import { basename } from "node:path";

import { readSmallFile } from "../../artifact/node-file.ts";
import { evaluate as evaluateModels, paretoFront } from "../../compress/evaluate.ts";
import { evaluationChart } from "../../compress/evaluation-chart.ts";
import type { Llm } from "../../engine/llm.ts";
import { defineCommand } from "../command.ts";
import { JSON_OUTPUT, MODEL } from "../common-flags.ts";
import { UsageError } from "../exit.ts";
import { limitFlag, textFlag, wholeFlag } from "../flags.ts";
import { formatBytes, ProgressLine } from "../progress.ts";
import { loadModel, openFiles } from "../session.ts";
import { decodeUtf8 } from "../terminal.ts";

const MAX_TEXT = 256 * 2 ** 20;
const DEFAULT_TOKENS = 16_384;
/** Tokens of the answer whose speed is measured. */
const SPEED_TOKENS = 48;

const { kv, threads, offline } = MODEL.flags;
const EVALUATE = {
  title: "Evaluate",
  flags: {
    against: textFlag("BASE", "the model that the others were made of (required)"),
    text: textFlag("FILE", "the text, UTF-8 (required)"),
    tokens: wholeFlag(2, `tokens of the text that count; default ${DEFAULT_TOKENS}`, 2 ** 24),
    window: limitFlag("window", "tokens in a window; default 512"),
    svg: textFlag("FILE", "write a picture: loss against size, the Pareto front marked"),
    json: JSON_OUTPUT,
  },
};

export const evaluate = defineCommand({
  name: "evaluate",
  summary: "compare compressed models with the one that they were made of",
  words: "MODEL…",
  about:
    "Runs the base and every model over the same text and compares what they predict, token by token: perplexity, " +
    "Kullback-Leibler divergence from the base (mean and the 99th percentile, nats), how often both find the same token " +
    "likeliest; and size, bytes that a token's step reads, tokens/s. All models are in memory at once. A * marks those to " +
    "which no other is better in both size and loss.",
  groups: [EVALUATE, { title: "Model", flags: { kv, threads, offline } }],
  flags: { ...EVALUATE.flags, kv, threads, offline },
  examples: ["millrace evaluate small.gguf smaller.gguf --against model.gguf --text wiki.txt --svg loss.svg"],
  async run({ values, words, terminal }) {
    if (words.length === 0) throw new UsageError("a model is expected");
    const { against, text: file } = values;
    if (against === undefined || file === undefined) throw new UsageError("--against BASE and --text FILE are needed");
    const text = decodeUtf8(await readSmallFile(file, MAX_TEXT), file);
    const names = [against, ...words];
    const models: Llm[] = [];
    const flags = { ...values, context: Math.max(values.window ?? 512, 64), backend: undefined };
    try {
      for (const model of names)
        models.push(await loadModel({ ...flags, model }, terminal, { maxSequences: 1, speculation: "off" }));
      const [base] = models;
      if (base === undefined) return;
      const wanted = values.tokens ?? DEFAULT_TOKENS;
      const ids = base.tokenizer.encode(text, { addSpecial: false, parseSpecial: false }).slice(0, wanted);
      const line = new ProgressLine(terminal);
      const measured = await evaluateModels(models, {
        ids,
        window: values.window,
        signal: terminal.signal,
        onProgress: ({ done, windows }) => line.update("windows", done, windows, "steps"),
      });
      line.clear();
      const results = [];
      for (const [i, model] of names.entries()) {
        const llm = models[i];
        const evaluation = measured[i];
        if (llm === undefined || evaluation === undefined) continue;
        const { bytes, bitsPerWeight } = await sizeOf({ ...values, model }, terminal);
        const tokensPerSecond = await speedOf(llm, ids);
        results.push({
          model,
          ...evaluation,
          bytes,
          bitsPerWeight,
          bytesPerToken: llm.info.weightBytes,
          tokensPerSecond,
        });
      }
      const points = results.map(({ model, bytes, meanKl }) => ({ name: basename(model), bytes, loss: meanKl }));
      const front = new Set(paretoFront(points));
      if (values.svg !== undefined) await writeFile(values.svg, evaluationChart(points));
      if (values.json) return terminal.writeJson(results.map((result, i) => ({ ...result, pareto: front.has(i) })));
      const rows = results.map((result, i) => [
        `${front.has(i) ? "*" : " "} ${basename(result.model)}`,
        result.perplexity.toFixed(3),
        result.meanKl.toFixed(5),
        result.p99Kl.toFixed(4),
        `${(100 * result.agreement).toFixed(2)} %`,
        formatBytes(result.bytes),
        result.bitsPerWeight.toFixed(2),
        formatBytes(result.bytesPerToken),
        result.tokensPerSecond.toFixed(1),
      ]);
      const head = [
        "  model",
        "perplexity",
        "mean KL",
        "p99 KL",
        "same top",
        "size",
        "bits",
        "bytes/token",
        "tokens/s",
      ];
      const table = [head, ...rows];
      const widths = head.map((_, i) => Math.max(...table.map((row) => (row[i] ?? "").length)));
      for (const row of table) {
        const cells = row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)));
        terminal.write(`${cells.join("  ")}\n`);
      }
      terminal.note(`${results[0]?.predicted ?? 0} predictions in windows of ${values.window ?? 512} tokens`);
    } finally {
      for (const llm of models) await llm.close();
    }
  },
});

async function sizeOf(
  flags: Parameters<typeof openFiles>[0],
  terminal: Parameters<typeof openFiles>[1],
): Promise<{ readonly bytes: number; readonly bitsPerWeight: number }> {
  const artifact = await openFiles(flags, terminal);
  let [bytes, weights] = [0, 0];
  for (const { byteLength, shape } of artifact.tensors.values()) {
    bytes += byteLength;
    weights += shape.reduce((product, n) => product * n, 1);
  }
  await artifact.close();
  return { bytes, bitsPerWeight: (8 * bytes) / weights };
}

async function speedOf(llm: Llm, ids: Int32Array): Promise<number> {
  const prompt = ids.slice(0, 8);
  const options = { maxTokens: SPEED_TOKENS, minTokens: SPEED_TOKENS, temperature: 0 };
  const { timings } = await llm.generate(prompt, options);
  return timings.tokensPerSecond;
}
