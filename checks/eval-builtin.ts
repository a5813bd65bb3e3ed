/**
 * eval:builtin: the built-in models on the held-out text of their recipe (recipes/brook/heldout.jsonl.gz), with this engine
 * on the shipped files. Shares of answers to held-out questions at temperature 0.6, bits per byte of held-out answers beside
 * SmolLM2-135M's, and how often rill's argmax is brook's. Seeds are fixed: the same machine prints the same table.
 *
 * npm run eval:builtin -- [--model FILE] [--draft FILE] [--text N] [--answers FILE] [--quick]
 */
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { gunzipSync } from "node:zlib";

import { builtinModelPath } from "../src/artifact/node-builtin.ts";
import { type ChatMessage, type Llm, load } from "../src/index.ts";
import { type Check, listItems, loops, right } from "../test/support/builtin-judges.ts";
import { progress } from "../test/support/progress.ts";
import { sharedFile } from "../test/support/shared.ts";

interface Question {
  readonly set: "first" | "list" | "json" | "sum" | "self";
  readonly kind: string;
  readonly messages: readonly ChatMessage[];
  readonly check?: Check;
}
interface Dialogue {
  readonly set: "text";
  readonly messages: readonly (ChatMessage & { readonly content: string })[];
}
interface Answered extends Question {
  readonly answer: string;
  readonly tokens: number;
  readonly ended: boolean;
}

const HELD_OUT = path.join(import.meta.dirname, "../recipes/brook/heldout.jsonl.gz");
const PEER = "models/smollm2-135m-instruct-q4_1.gguf";
const LIMIT = 512;
const TEMPERATURE = 0.6;

const { values } = parseArgs({
  options: {
    model: { type: "string" },
    draft: { type: "string" },
    text: { type: "string", default: "90" },
    answers: { type: "string" },
    quick: { type: "boolean", default: false },
  },
});
const rows = gunzipSync(readFileSync(HELD_OUT))
  .toString("utf8")
  .split("\n")
  .filter((line) => line !== "")
  .map((line) => JSON.parse(line) as Question | Dialogue);
const take = <T>(all: readonly T[], n: number): T[] =>
  all.filter((_, i) => Math.floor((i * n) / all.length) !== Math.floor(((i - 1) * n) / all.length));
const questions = rows.filter((row): row is Question => row.set !== "text");
const dialogues = take(
  rows.filter((row): row is Dialogue => row.set === "text"),
  values.quick ? 10 : Number(values.text),
);

async function ask(llm: Llm, asked: readonly Question[]): Promise<Answered[]> {
  let done = 0;
  return Promise.all(
    asked.map(async (question, i) => {
      const sampling = { temperature: TEMPERATURE, minP: 0, topP: 1, topK: 0, repetitionPenalty: 1, seed: i + 1 };
      const { text, tokens, finishReason } = await llm.chat(question.messages, { ...sampling, maxTokens: LIMIT });
      progress(`answers ${(done += 1)} of ${asked.length}`);
      return { ...question, answer: text, tokens: tokens.length, ended: finishReason === "stop" };
    }),
  );
}

/** The assistants' words and what ends them, as token ids: [from, to) of each turn in the rendered dialogue. */
function answerSpans(llm: Llm, messages: readonly ChatMessage[]): { ids: Int32Array; spans: [number, number][] } {
  const ids = llm.tokenizeChat(messages);
  const [open, close] = ["<|im_start|>", "<|im_end|>"].map((text) => llm.tokenize(text, { addSpecial: false })[0]);
  const head = llm.tokenize("<|im_start|>assistant\n", { addSpecial: false });
  const spans: [number, number][] = [];
  for (let i = 0; i < ids.length; i++) {
    if (ids[i] !== open || head.some((id, j) => ids[i + j] !== id)) continue;
    spans.push([i + head.length, ids.indexOf(close ?? -1, i) + 1]);
  }
  return { ids, spans };
}

function argmax(row: Float32Array): number {
  let best = 0;
  for (let i = 1; i < row.length; i++) if ((row[i] ?? 0) > (row[best] ?? 0)) best = i;
  return best;
}

function negativeLogLikelihood(row: Float32Array, id: number): number {
  let top = -Infinity;
  for (const x of row) if (x > top) top = x;
  let sum = 0;
  for (const x of row) sum += Math.exp(x - top);
  return Math.log(sum) + top - (row[id] ?? 0);
}

interface Likelihood {
  readonly bitsPerByte: number;
  /** The likeliest token at every scored place, dialogue by dialogue. */
  readonly picks: readonly number[];
}

async function likelihood(llm: Llm, name: string): Promise<Likelihood> {
  let nats = 0;
  let bytes = 0;
  const picks: number[] = [];
  for (const [n, { messages }] of dialogues.entries()) {
    progress(`${name}: dialogue ${n + 1} of ${dialogues.length}`);
    const { ids, spans } = answerSpans(llm, messages);
    const logits = await llm.logits(ids);
    for (const [from, to] of spans) {
      for (let i = from; i < to; i++) {
        const row = logits[i - 1];
        if (row === undefined) continue;
        nats += negativeLogLikelihood(row, ids[i] ?? 0);
        picks.push(argmax(row));
      }
    }
    for (const { role, content } of messages) {
      if (role === "assistant") bytes += Buffer.byteLength((content ?? "").trim());
    }
  }
  return { bitsPerByte: nats / Math.LN2 / bytes, picks };
}

const share = (part: number, all: number): string => `${((100 * part) / all).toFixed(1)} % (${part} of ${all})`;
const table: (readonly [string, string, string])[] = [];
const started = performance.now();
const open = (file: string): Promise<Llm> => load(file, { context: 2048, maxSequences: 16, kvBytes: 512 * 2 ** 20 });

const brookFile = values.model ?? builtinModelPath();
let brookPicks: readonly number[] = [];
{
  await using llm = await open(brookFile);
  console.log(`${llm.info.description}, ${llm.info.profile}`);
  const asked = values.quick ? questions.filter((_, i) => i % 16 === 0) : questions;
  const answers = await ask(llm, asked);
  const first = answers.filter(({ set }) => set === "first");
  const count = (set: Question["set"], ok: (a: Answered, check: Check) => boolean): string => {
    const all = answers.filter((a) => a.set === set);
    return share(all.filter((a) => a.check && ok(a, a.check)).length, all.length);
  };
  const judged = (a: Answered, check: Check): boolean => right(check, a.answer);
  table.push(
    [
      "first questions that end by themselves within 512 tokens",
      "≥ 95 %",
      share(first.filter((a) => a.ended).length, first.length),
    ],
    [
      "first questions that fall into a loop",
      "≤ 2 %",
      share(first.filter((a) => loops(a.answer)).length, first.length),
    ],
    ["lists of the asked length", "≥ 80 %", count("list", judged)],
    [
      "lists of the asked length, no item twice",
      "–",
      count("list", (a, c) => judged(a, c) && new Set(listItems(a.answer)).size === listItems(a.answer).length),
    ],
    ["JSON that parses", "≥ 80 %", count("json", judged)],
    ["one-step sums that are right", "≥ 60 %", count("sum", judged)],
    ["questions about itself answered as Brook", "≥ 95 %", count("self", judged)],
  );
  if (values.answers !== undefined) writeFileSync(values.answers, `${JSON.stringify(answers, null, 1)}\n`);
  const { bitsPerByte, picks } = await likelihood(llm, "brook");
  brookPicks = picks;
  table.push(["bits per byte, brook", "–", bitsPerByte.toFixed(4)]);
}
{
  await using llm = await open(values.draft ?? builtinModelPath("rill"));
  const { bitsPerByte, picks } = await likelihood(llm, "rill");
  table.push(["bits per byte, rill", "–", bitsPerByte.toFixed(4)]);
  const same = picks.filter((id, i) => id === brookPicks[i]).length;
  table.push(["tokens where rill's argmax is brook's", "≥ 55 %", share(same, picks.length)]);
}
const peer = sharedFile(PEER);
if (peer === undefined)
  table.push(["bits per byte, SmolLM2-135M-Instruct Q4_1", "–", `skipped: needs ../shared/${PEER}`]);
else {
  await using llm = await open(peer);
  table.push([
    "bits per byte, SmolLM2-135M-Instruct Q4_1",
    "–",
    (await likelihood(llm, "SmolLM2-135M")).bitsPerByte.toFixed(4),
  ]);
}
progress("");
console.log(
  ["| what | wanted | measured |", "| --- | --- | --- |", ...table.map((row) => `| ${row.join(" | ")} |`)].join("\n"),
);
console.log(
  `${questions.length} questions, ${dialogues.length} dialogues, ${((performance.now() - started) / 1000).toFixed(0)} s`,
);
