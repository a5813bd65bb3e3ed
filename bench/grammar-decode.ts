/**
 * The second half of `npm run bench -- grammar`: answers held to a schema beside free ones, on brook and SmolLM2 (../shared), one, 16
 * and 32 together. "step by step" drafts nothing, so that both take a step a token; "as it is" is the engine as users have it. The two
 * sides take turns, of the pairs' speed ratios the median is printed and the middle half of them; and what JavaScript's thread
 * spent on a step by its own clock, which other work of the machine changes little.
 */
import { existsSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import path from "node:path";
import process from "node:process";
import type { JsonValue } from "../src/decode/grammar/spec.ts";
import { assemble } from "../src/engine/assemble.ts";
import type { AssembleOptions } from "../src/engine/options.ts";
import type { Llm } from "../src/engine/llm.ts";
import { createBackend, openReference } from "../src/engine/load.ts";

const TOKENS = 128;
const SMOLLM = path.resolve(import.meta.dirname, "../../shared/models/smollm2-135m-instruct-q4_1.gguf");

const PERSON = {
  name: { type: "string", minLength: 3, maxLength: 60 },
  age: { type: "integer", minimum: 0, maximum: 150 },
  role: { enum: ["admin", "editor", "viewer"] },
  email: { type: "string", format: "email" },
  active: { type: "boolean" },
  notes: { type: "string", maxLength: 200 },
};
/** A list that no answer comes to the end of. */
const SCHEMA: JsonValue = {
  type: "array",
  minItems: 100,
  items: { type: "object", properties: PERSON, required: Object.keys(PERSON), additionalProperties: false },
};

const ENGINES: Readonly<Record<string, AssembleOptions>> = {
  "step by step": { maxDraft: 0, speculation: "off" },
  "as it is": {},
};

interface Run {
  /** Tokens a millisecond, behind each answer's first. */
  readonly rate: number;
  readonly tokensPerStep: number;
  /** Microseconds of JavaScript's thread. */
  readonly perStep: number;
}

export async function benchGrammarDecode(pairs: number): Promise<void> {
  console.log(`\n${cpus()[0]?.model ?? "?"}, ${cpus().length} cores; ${TOKENS} tokens an answer, ${pairs} pairs`);
  for (const [name, reference] of [["brook", undefined] as const, ["SmolLM2", SMOLLM] as const]) {
    if (reference !== undefined && !existsSync(reference)) {
      console.log(`skipped: ${name} (needs ${reference})`);
      continue;
    }
    for (const [how, options] of Object.entries(ENGINES)) {
      const llm = await open(reference, options);
      for (const sequences of [1, 16, 32]) console.log(await compare(llm, `${name}, ${how}`, sequences, pairs));
      await llm.close();
    }
  }
}

async function open(reference: string | undefined, options: AssembleOptions): Promise<Llm> {
  const sizes = { context: 512, maxSequences: 32 };
  return assemble(await openReference(reference), await createBackend({}), { ...sizes, ...options });
}

async function compare(llm: Llm, name: string, sequences: number, pairs: number): Promise<string> {
  const [free, held]: [Run[], Run[]] = [[], []];
  for (let pair = -1; pair < pairs; pair++) {
    const runs: [Run[], JsonValue | undefined][] = [
      [free, undefined],
      [held, SCHEMA],
    ];
    if (pair % 2 === 0) runs.reverse();
    // The first pair warms up.
    for (const [into, schema] of runs) {
      const one = await run(llm, sequences, pair, schema);
      if (pair >= 0) into.push(one);
    }
  }
  const ratios = held.map(({ rate }, i) => rate / (free[i]?.rate ?? Number.NaN));
  const both = (of: (run: Run) => number, digits: number): string =>
    `${quantile(free.map(of), 0.5).toFixed(digits)} → ${quantile(held.map(of), 0.5).toFixed(digits)}`;
  return (
    `  ${name.padEnd(22)} × ${String(sequences).padEnd(2)}  held ÷ free ${quantile(ratios, 0.5).toFixed(2)} ` +
    `(${quantile(ratios, 0.25).toFixed(2)} to ${quantile(ratios, 0.75).toFixed(2)}); tokens/s ${both(({ rate }) => 1000 * rate, 0)}; ` +
    `tokens a step and answer ${both((one) => one.tokensPerStep, 2)}; JavaScript ${both((one) => one.perStep, 0)} µs a step; ` +
    `load ${loadavg()[0]?.toFixed(1)}`
  );
}

async function run(llm: Llm, sequences: number, pair: number, schema: JsonValue | undefined): Promise<Run> {
  let steps = 0;
  const stop = llm.watch(() => (steps += 1));
  const before = process.threadCpuUsage();
  const answers = await Promise.all(
    Array.from({ length: sequences }, (_, i) =>
      llm.generate(`Members of club ${pair}, table ${i}: `, {
        maxTokens: TOKENS,
        minTokens: TOKENS,
        temperature: 0.8,
        seed: 100 * pair + i,
        ...(schema !== undefined && { schema }),
      }),
    ),
  );
  const { user, system } = process.threadCpuUsage(before);
  stop();
  const timings = answers.map((answer) => answer.timings);
  const ms = Math.max(...timings.map((one) => one.totalMs)) - Math.max(...timings.map((one) => one.firstTokenMs));
  const tokens = answers.reduce((sum, answer) => sum + answer.tokens.length - 1, 0);
  const answerSteps = timings.reduce((sum, one) => sum + one.steps - 1, 0);
  return { rate: tokens / ms, tokensPerStep: tokens / answerSteps, perStep: (user + system) / steps };
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}
